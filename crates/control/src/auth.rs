//! Proving to Tor who we are, and with SAFECOOKIE Tor to us: control-spec sections 3.5, 3.21, 3.24; feature/control/control_auth.c.

use std::fmt;
use std::path::{Path, PathBuf};

use data_encoding::HEXUPPER_PERMISSIVE;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::command::forbidden;
use crate::protocol_info::{AuthMethod, ProtocolInfo};
use crate::text::{arguments, split_word};
use crate::{Command, Error, Reply};

/// `SAFECOOKIE_SERVER_TO_CONTROLLER_CONSTANT`, feature/control/control_auth.h.
const SERVER_TO_CONTROLLER: &[u8] = b"Tor safe cookie authentication server-to-controller hash";
/// `SAFECOOKIE_CONTROLLER_TO_SERVER_CONSTANT`, feature/control/control_auth.h.
const CONTROLLER_TO_SERVER: &[u8] = b"Tor safe cookie authentication controller-to-server hash";

/// A control password, wiped when dropped and never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes a password, in the encoding in which Tor hashed it.
    ///
    /// # Errors
    /// [`Error::Argument`] for CR, LF or NUL, which can't be sent.
    pub fn new(password: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let password = Zeroizing::new(password.into());
        match forbidden(&password) {
            Some(problem) => Err(Error::Argument {
                command: "AUTHENTICATE".to_owned(),
                argument: "password",
                problem,
            }),
            None => Ok(Self(password)),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// An authentication cookie: 32 random bytes that Tor writes to a file at start. Wiped when dropped and never shown.
#[derive(Clone)]
pub struct Cookie(Zeroizing<[u8; 32]>);

impl Cookie {
    /// Takes the content of a cookie file.
    ///
    /// # Errors
    /// [`Error::CookieLength`] unless it has exactly 32 bytes.
    pub fn new(content: &[u8]) -> Result<Self, Error> {
        let mut cookie = Zeroizing::new([0; 32]);
        if content.len() != cookie.len() {
            return Err(Error::CookieLength { length: content.len() });
        }
        cookie.copy_from_slice(content);
        Ok(Self(cookie))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// HMAC-SHA256 over cookie, client nonce and server nonce (feature/control/control_auth.c:190-215).
    fn hash(&self, key: &[u8], client_nonce: &[u8; 32], server_nonce: &[u8]) -> [u8; 32] {
        #[allow(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(self.as_bytes());
        mac.update(client_nonce);
        mac.update(server_nonce);
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie(..)")
    }
}

/// With what to authenticate. Of what Tor offers and the credentials allow, the best is taken: SAFECOOKIE, COOKIE, password, nothing.
///
/// A Tor that asks for nothing is always taken at its word, and then gets to see no password.
///
/// ```
/// use onionweave_control::Credentials;
///
/// let credentials = Credentials::password("correct horse")?.with_cookie_file("/run/tor/control.authcookie");
/// assert!(!format!("{credentials:?}").contains("horse"));
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    cookie: CookieSource,
    password: Option<Password>,
}

impl Credentials {
    /// What Tor offers: the cookie file that PROTOCOLINFO names, or nothing if it asks for nothing.
    pub fn auto() -> Self {
        Self {
            cookie: CookieSource::Offered,
            password: None,
        }
    }

    /// Nothing: only for a Tor that asks for nothing.
    pub fn null() -> Self {
        Self {
            cookie: CookieSource::None,
            password: None,
        }
    }

    /// A password.
    ///
    /// # Errors
    /// [`Error::Argument`] for CR, LF or NUL in the password.
    pub fn password(password: impl Into<Vec<u8>>) -> Result<Self, Error> {
        Ok(Self {
            cookie: CookieSource::None,
            password: Some(Password::new(password)?),
        })
    }

    /// The cookie in this file, wherever Tor says it is: for a Tor in a container or under another root.
    pub fn cookie_file(path: impl Into<PathBuf>) -> Self {
        Self {
            cookie: CookieSource::File(path.into()),
            password: None,
        }
    }

    /// The same credentials and a password, used if Tor offers no cookie.
    #[must_use]
    pub fn with_password(self, password: Password) -> Self {
        Self {
            password: Some(password),
            ..self
        }
    }

    /// The same credentials and a cookie file, preferred if Tor offers cookies.
    #[must_use]
    pub fn with_cookie_file(self, path: impl Into<PathBuf>) -> Self {
        Self {
            cookie: CookieSource::File(path.into()),
            ..self
        }
    }

    fn allowed(&self) -> &'static str {
        match (&self.cookie, &self.password) {
            (CookieSource::None, None) => "none",
            (CookieSource::None, Some(_)) => "a password",
            (_, None) => "a cookie",
            (_, Some(_)) => "a cookie or a password",
        }
    }
}

#[derive(Clone, Debug, Default)]
enum CookieSource {
    None,
    /// The file that PROTOCOLINFO names.
    #[default]
    Offered,
    File(PathBuf),
}

/// What the handshake asks of its driver next.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Step {
    /// Send this command and give its reply to [`Handshake::reply`].
    Send(Command),
    /// Read this file and give its content to [`Handshake::cookie`].
    ReadCookie(PathBuf),
    /// Tor lets us in.
    Done(ProtocolInfo),
}

/// The steps of authentication, without IO: `PROTOCOLINFO`, the cookie file, `AUTHCHALLENGE`, `AUTHENTICATE`.
///
/// Tor closes the connection after every failure, so another attempt needs another connection.
///
/// ```
/// use onionweave_control::auth::{Handshake, Step};
/// use onionweave_control::{Credentials, Reply};
///
/// let (mut handshake, command) = Handshake::start(Credentials::auto(), [7; 32]);
/// assert_eq!(command.as_bytes(), b"PROTOCOLINFO 1\r\n");
/// let offer = b"250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250-VERSION Tor=\"0.4.5.9\"\r\n250 OK\r\n";
/// let Step::Send(command) = handshake.reply(Reply::parse(offer)?)? else { panic!() };
/// assert_eq!(command.as_bytes(), b"AUTHENTICATE\r\n");
/// let Step::Done(info) = handshake.reply(Reply::parse(b"250 OK\r\n")?)? else { panic!() };
/// assert_eq!(info.tor_version(), Some("0.4.5.9"));
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Handshake {
    credentials: Credentials,
    client_nonce: [u8; 32],
    info: ProtocolInfo,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// The reply to PROTOCOLINFO is to come.
    Offer,
    /// The content of the cookie file is to come.
    Cookie { path: PathBuf, safe: bool },
    /// The reply to AUTHCHALLENGE is to come.
    Challenge { cookie: Cookie },
    /// The reply to AUTHENTICATE is to come.
    Verdict,
    /// It has succeeded or failed.
    Over,
}

impl Handshake {
    /// Begins; the command is to be sent first. `client_nonce` must be random and never be used again.
    pub fn start(credentials: Credentials, client_nonce: [u8; 32]) -> (Self, Command) {
        let handshake = Self {
            credentials,
            client_nonce,
            info: ProtocolInfo::default(),
            state: State::Offer,
        };
        (handshake, Command::protocol_info())
    }

    /// Takes the reply to the command that was sent last.
    ///
    /// # Errors
    /// [`Error::Rejected`] if Tor refuses, [`Error::NoUsableMethod`], [`Error::WrongServerHash`], [`Error::UnexpectedReply`] for a reply
    /// of another form or when none is waited for. None of them can be mended on this connection.
    pub fn reply(&mut self, reply: Reply) -> Result<Step, Error> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Offer => {
                self.info = ProtocolInfo::from_reply(reply)?;
                self.choose()
            }
            State::Challenge { cookie } => {
                let challenge = Challenge::from_reply(reply)?;
                let expected = cookie.hash(SERVER_TO_CONTROLLER, &self.client_nonce, &challenge.server_nonce);
                if !bool::from(expected.ct_eq(&challenge.server_hash)) {
                    return Err(Error::WrongServerHash);
                }
                let answer = cookie.hash(CONTROLLER_TO_SERVER, &self.client_nonce, &challenge.server_nonce);
                self.state = State::Verdict;
                Ok(Step::Send(Command::authenticate_safe_cookie(&answer)))
            }
            State::Verdict => {
                reply.into_result("AUTHENTICATE")?;
                Ok(Step::Done(std::mem::take(&mut self.info)))
            }
            State::Cookie { .. } | State::Over => Err(out_of_order("a reply")),
        }
    }

    /// Takes the content of the cookie file that [`Step::ReadCookie`] asked for.
    ///
    /// # Errors
    /// [`Error::CookieFile`] unless it has exactly 32 bytes; [`Error::UnexpectedReply`] if no cookie was asked for.
    pub fn cookie(&mut self, content: &[u8]) -> Result<Step, Error> {
        let State::Cookie { path, safe } = std::mem::replace(&mut self.state, State::Over) else {
            return Err(out_of_order("a cookie"));
        };
        let cookie = Cookie::new(content).map_err(|error| Error::CookieFile {
            path,
            problem: error.to_string(),
        })?;
        if safe {
            self.state = State::Challenge { cookie };
            Ok(Step::Send(Command::auth_challenge(&self.client_nonce)))
        } else {
            self.state = State::Verdict;
            Ok(Step::Send(Command::authenticate_cookie(&cookie)))
        }
    }

    /// The best method that both sides know.
    fn choose(&mut self) -> Result<Step, Error> {
        let safe = self.info.offers(&AuthMethod::SafeCookie);
        let path: Option<&Path> = match &self.credentials.cookie {
            CookieSource::None => None,
            CookieSource::Offered => self.info.cookie_file(),
            CookieSource::File(path) => Some(path),
        };
        if let Some(path) = path
            && (safe || self.info.offers(&AuthMethod::Cookie))
        {
            let path = path.to_owned();
            self.state = State::Cookie {
                path: path.clone(),
                safe,
            };
            return Ok(Step::ReadCookie(path));
        }
        if let Some(password) = &self.credentials.password
            && self.info.offers(&AuthMethod::HashedPassword)
        {
            self.state = State::Verdict;
            return Ok(Step::Send(Command::authenticate_password(password)));
        }
        if self.info.offers(&AuthMethod::Null) {
            self.state = State::Verdict;
            return Ok(Step::Send(Command::authenticate_null()));
        }
        let offered: Vec<_> = self.info.methods().map(AuthMethod::as_str).collect();
        Err(Error::NoUsableMethod {
            offered: offered.join(", "),
            allowed: self.credentials.allowed(),
        })
    }
}

/// The reply to AUTHCHALLENGE (feature/control/control_auth.c:217-227).
struct Challenge {
    server_hash: [u8; 32],
    server_nonce: [u8; 32],
}

impl Challenge {
    fn from_reply(reply: Reply) -> Result<Self, Error> {
        let reply = reply.into_result("AUTHCHALLENGE")?;
        Self::parse(&reply).ok_or_else(|| Error::UnexpectedReply {
            command: "AUTHCHALLENGE".to_owned(),
            problem: format!(
                "expected SERVERHASH and SERVERNONCE of 64 digits each, got {:?}",
                reply.text()
            ),
        })
    }

    fn parse(reply: &Reply) -> Option<Self> {
        let [line] = reply.lines() else { return None };
        let (b"AUTHCHALLENGE", rest) = split_word(line.text())? else {
            return None;
        };
        let arguments = arguments(rest)?;
        let value = |key: &[u8]| {
            let argument = arguments.iter().find(|argument| argument.key.as_deref() == Some(key))?;
            let bytes = HEXUPPER_PERMISSIVE.decode(&argument.value).ok()?;
            <[u8; 32]>::try_from(bytes).ok()
        };
        Some(Self {
            server_hash: value(b"SERVERHASH")?,
            server_nonce: value(b"SERVERNONCE")?,
        })
    }
}

fn out_of_order(what: &str) -> Error {
    Error::UnexpectedReply {
        command: "AUTHENTICATE".to_owned(),
        problem: format!("the handshake is not waiting for {what}"),
    }
}
