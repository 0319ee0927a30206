//! Errors of the whole crate.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Everything that this crate reports as a failure.
///
/// It is `Clone`, because when a connection breaks, every waiting caller is told the same reason.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument can't be written into a command: nothing was sent.
    #[error("{command}: the {argument} {problem}")]
    #[non_exhaustive]
    Argument {
        /// The command's keyword, such as `HSFETCH`.
        command: String,
        /// The argument, in words.
        argument: &'static str,
        /// The fault in it.
        problem: ArgumentProblem,
    },

    /// A command is longer than Tor accepts (`MAX_COMMAND_LINE_LENGTH`,
    /// feature/control/control.c:280): nothing was sent.
    #[error("{command}: the command has {length} bytes; Tor accepts at most {limit}")]
    #[non_exhaustive]
    CommandTooLong {
        /// The command's keyword.
        command: String,
        /// The length of the whole command with its body, in bytes.
        length: usize,
        /// The limit, in bytes.
        limit: usize,
    },

    /// Tor answered the command with an error.
    #[error("{command}: Tor answered {code} {text}")]
    #[non_exhaustive]
    Rejected {
        /// The keyword of the command that was refused.
        command: String,
        /// Tor's status code, 400 to 599 (control-spec section 4).
        code: u16,
        /// Tor's text without the code; the lines of a longer answer are joined by `; `. Bytes that
        /// are not UTF-8 are replaced.
        text: String,
    },

    /// Tor accepted the command, but the reply has not the form that this command's replies have.
    ///
    /// As replies carry no identifier, this may be the reply to another command; the tokio client
    /// closes the connection.
    #[error("{command}: unexpected reply: {problem}")]
    #[non_exhaustive]
    UnexpectedReply {
        /// The keyword of the command.
        command: String,
        /// The expectation, and the text that came instead.
        problem: String,
    },

    /// A value asked for as text is not UTF-8.
    #[error("the value of {key} is not UTF-8: byte {at} is invalid")]
    #[non_exhaustive]
    NotUtf8 {
        /// The key of the value.
        key: String,
        /// Offset of the first invalid byte in the value.
        at: usize,
    },

    /// The other side does not speak the control protocol.
    #[error("line {line} of the control connection: {problem}")]
    #[non_exhaustive]
    Malformed {
        /// Number of the line on this connection, from 1.
        line: u64,
        /// The expectation, and the text that came instead.
        problem: String,
    },

    /// A limit of [`Limits`](crate::codec::Limits) was passed.
    #[error("line {line} of the control connection: {what} is longer than the limit of {limit} bytes")]
    #[non_exhaustive]
    TooLong {
        /// Number of the line on this connection, from 1.
        line: u64,
        /// The thing that is too long: a line, a reply or an event.
        what: &'static str,
        /// The limit, in bytes.
        limit: usize,
    },

    /// The connection ended inside a line, a reply or an event.
    #[error("the control connection ended inside {what}, after {lines} whole lines")]
    #[non_exhaustive]
    Truncated {
        /// The thing that was cut: a line, a reply or an event.
        what: &'static str,
        /// Number of whole lines that came before.
        lines: u64,
    },

    /// A reply came while no command was waiting for one. Some commands of Tor give two final
    /// replies.
    #[error("Tor sent a reply that no command was waiting for: {code} {text}")]
    #[non_exhaustive]
    StrayReply {
        /// The reply's status code.
        code: u16,
        /// Its text.
        text: String,
    },

    /// None of the ways to authenticate that Tor offers can be used with the credentials given.
    #[error("cannot authenticate: Tor offers {offered}, and the credentials allow {allowed}")]
    #[non_exhaustive]
    NoUsableMethod {
        /// Tor's methods, separated by commas.
        offered: String,
        /// The methods that the credentials allow.
        allowed: &'static str,
    },

    /// The other side could not prove that it knows the cookie, so it was told nothing about it.
    #[error(
        "SAFECOOKIE: the server's hash is wrong: whoever answers on this control port does not know the cookie in the cookie file"
    )]
    WrongServerHash,

    /// The cookie file can't be used.
    #[error("cookie file {}: {problem}", path.display())]
    #[non_exhaustive]
    CookieFile {
        /// The file.
        path: PathBuf,
        /// The fault in it.
        problem: CookieProblem,
    },

    /// A cookie has the wrong length: `AUTHENTICATION_COOKIE_LEN`,
    /// feature/control/control_auth.c:28.
    #[error("an authentication cookie has 32 bytes, not {length}")]
    #[non_exhaustive]
    CookieLength {
        /// The length found, in bytes.
        length: usize,
    },

    /// An endpoint's text has neither the form `unix:PATH` nor `HOST:PORT`.
    #[error("{text:?} is no control endpoint: {problem}")]
    #[non_exhaustive]
    Endpoint {
        /// The text.
        text: String,
        /// The fault in it.
        problem: &'static str,
    },

    /// A text is no relay's name of the form `$FINGERPRINT~nickname`.
    #[error("{text:?} is no relay name: {problem}")]
    #[non_exhaustive]
    RelayName {
        /// The text.
        text: String,
        /// The fault in it.
        problem: &'static str,
    },

    /// The socket could not be connected.
    #[error("cannot connect to the control port {endpoint}: {source}")]
    #[non_exhaustive]
    Connect {
        /// The endpoint as text.
        endpoint: String,
        /// The system's reason.
        source: Arc<std::io::Error>,
    },

    /// Connecting and authenticating took longer than allowed. A Tor that is stopped accepts
    /// connections and answers nothing.
    #[error("the control port {endpoint} did not let us in within {after:?}")]
    #[non_exhaustive]
    ConnectDeadline {
        /// The endpoint as text.
        endpoint: String,
        /// The time that was allowed.
        after: Duration,
    },

    /// No reply came in time. Since replies carry no identifier, the connection is closed.
    #[error("{command}: no reply within {after:?}")]
    #[non_exhaustive]
    Deadline {
        /// The keyword of the command.
        command: String,
        /// The time that was allowed.
        after: Duration,
    },

    /// Tor did not finish its bootstrap in time.
    #[error("Tor has not finished its bootstrap within {after:?}{}", phase.as_ref().map(|phase| format!(": {phase}")).unwrap_or_default())]
    #[non_exhaustive]
    NotBootstrapped {
        /// The time that was allowed.
        after: Duration,
        /// The last phase that Tor announced meanwhile, if it announced any.
        phase: Option<String>,
    },

    /// A text is no number of a circuit, stream or connection.
    #[error("{text:?} is no number of a {of}")]
    #[non_exhaustive]
    Id {
        /// The text.
        text: String,
        /// The kind of thing that it would name.
        of: &'static str,
    },

    /// An upload to this directory for this service is on its way already, and Tor's answer to the
    /// one could not be told from that to the other. Nothing was sent.
    #[error("an upload to ${directory} for this service is on its way already")]
    #[non_exhaustive]
    UploadInFlight {
        /// The directory's fingerprint in hexadecimal digits.
        directory: String,
    },

    /// The connection is closed, so no reply will come. The command may or may not have been
    /// carried out.
    #[error("the control connection is closed: {0}")]
    Closed(CloseReason),
}

impl Error {
    /// Whether the same command, unchanged, may succeed later: after a reconnect where the
    /// connection is closed, or once Tor knows more.
    ///
    /// For what Tor answered, these are 451 (resources exhausted), 551 (an internal error, such as
    /// a descriptor that is not there yet) and `552 Server "X" not found`, which a newer consensus
    /// may change.
    ///
    /// ```
    /// use onionweave_control::{Reply, Error};
    ///
    /// let reply = Reply::parse(b"551 Not found in cache\r\n")?;
    /// assert!(reply.into_result("GETINFO").unwrap_err().is_retryable());
    /// let reply = Reply::parse(b"554 Invalid descriptor\r\n")?;
    /// assert!(!reply.into_result("+HSPOST").unwrap_err().is_retryable());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Connect { .. } | Error::ConnectDeadline { .. } | Error::Deadline { .. } => true,
            Error::NotBootstrapped { .. } => true,
            Error::Truncated { .. } | Error::UploadInFlight { .. } => true,
            // On another connection, replies and commands agree again.
            Error::StrayReply { .. } | Error::UnexpectedReply { .. } => true,
            Error::Closed(reason) => match reason {
                CloseReason::Protocol(error) => error.is_retryable(),
                _ => true,
            },
            Error::Rejected { code, text, .. } => match code {
                451 | 551 => true,
                552 => text.starts_with("Server "),
                _ => false,
            },
            _ => false,
        }
    }
}

/// Fault of an argument that can't be written into a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentProblem {
    /// A CR or LF in it, which would end the command and begin another.
    #[error("has a line break at byte {at}")]
    #[non_exhaustive]
    LineBreak {
        /// Offset of the byte.
        at: usize,
    },
    /// A NUL in it, where Tor would cut it short.
    #[error("has a NUL at byte {at}")]
    #[non_exhaustive]
    Nul {
        /// Offset of the byte.
        at: usize,
    },
    /// Emptiness.
    #[error("is empty")]
    Empty,
    /// Another form than Tor expects; the text describes that.
    #[error("{0}")]
    Form(&'static str),
}

/// Fault of a cookie file.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CookieProblem {
    /// A file that cannot be read, for the system's reason.
    #[error("{0}")]
    Unreadable(Arc<std::io::Error>),
    /// A folder, a pipe or a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// A length other than that of a cookie; of longer files one byte more is read.
    #[error("an authentication cookie has 32 bytes, not {0}")]
    Length(usize),
}

/// Reason for which a connection ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// Tor closed the connection between two replies: it exited, was killed, or refused to
    /// authenticate.
    #[error("Tor closed it")]
    Eof,
    /// A command's deadline passed without a reply.
    #[error("{command} got no reply within {after:?}")]
    #[non_exhaustive]
    Deadline {
        /// The keyword of that command.
        command: String,
        /// The time that was allowed.
        after: Duration,
    },
    /// Bytes that are not the control protocol, passed a limit, or could not be matched to a
    /// command.
    #[error("{0}")]
    Protocol(Arc<Error>),
    /// The socket failed.
    #[error("{0}")]
    Io(Arc<std::io::Error>),
    /// This side closed it, or dropped the last handle to it.
    #[error("this side closed it")]
    Local,
}
