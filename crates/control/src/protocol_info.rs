//! The reply to `PROTOCOLINFO`: control-spec section 3.21; feature/control/control_cmd.c:1249-1344.

use std::path::{Path, PathBuf};

use crate::text::{Argument, arguments, split_word};
use crate::{Error, Reply};

/// Tor's ways to admit controllers, and its version.
///
/// ```
/// use onionweave_control::{ProtocolInfo, Reply};
///
/// let reply = b"250-PROTOCOLINFO 1\r\n\
///     250-AUTH METHODS=COOKIE,SAFECOOKIE COOKIEFILE=\"/run/tor/control.authcookie\"\r\n\
///     250-VERSION Tor=\"0.4.9.11\"\r\n250 OK\r\n";
/// let info = ProtocolInfo::from_reply(Reply::parse(reply)?)?;
/// assert_eq!(info.cookie_file().unwrap().to_str(), Some("/run/tor/control.authcookie"));
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProtocolInfo {
    methods: Vec<AuthMethod>,
    cookie_file: Option<PathBuf>,
    tor_version: Option<String>,
}

impl ProtocolInfo {
    /// Reads the reply to `PROTOCOLINFO 1`. Lines and keywords that are not known are ignored, as
    /// the specification demands.
    ///
    /// # Errors
    /// [`Error::Rejected`] if it is negative; [`Error::UnexpectedReply`] if it is no reply to
    /// PROTOCOLINFO, has no methods, or is quoted wrongly.
    pub fn from_reply(reply: Reply) -> Result<Self, Error> {
        let reply = reply.into_result("PROTOCOLINFO")?;
        let unexpected = |problem: String| Error::UnexpectedReply {
            command: "PROTOCOLINFO".to_owned(),
            problem,
        };

        let mut lines = reply.lines().iter();
        let first = lines.next().map(|line| line.text()).unwrap_or_default();
        if split_word(first).is_none_or(|(word, _)| word != b"PROTOCOLINFO") {
            return Err(unexpected(format!(
                "expected the line PROTOCOLINFO first, got \"{}\"",
                first.escape_ascii()
            )));
        }
        let mut info = Self::default();
        for line in lines {
            let Some((word, rest)) = split_word(line.text()) else {
                continue;
            };
            if !matches!(word, b"AUTH" | b"VERSION") {
                continue;
            }
            let arguments = arguments(rest)
                .ok_or_else(|| unexpected(format!("bad quoting in \"{}\"", line.text().escape_ascii())))?;
            for argument in arguments {
                info.set(word, argument);
            }
        }
        if info.methods.is_empty() {
            return Err(unexpected("it names no method of authentication".to_owned()));
        }
        Ok(info)
    }

    fn set(&mut self, line: &[u8], argument: Argument) {
        match (line, argument.key.as_deref()) {
            (b"AUTH", Some(b"METHODS")) => {
                let methods = argument
                    .value
                    .split(|&byte| byte == b',')
                    .filter(|method| !method.is_empty());
                self.methods.extend(methods.map(AuthMethod::from_word));
            }
            (b"AUTH", Some(b"COOKIEFILE")) => self.cookie_file = Some(path_from_bytes(argument.value)),
            (b"VERSION", Some(b"Tor")) => {
                self.tor_version = Some(String::from_utf8_lossy(&argument.value).into_owned())
            }
            _ => {}
        }
    }

    /// The methods that Tor offers, in its order. Never empty in what
    /// [`from_reply`](Self::from_reply) gives.
    pub fn methods(&self) -> impl Iterator<Item = &AuthMethod> {
        self.methods.iter()
    }

    /// Whether Tor offers this method.
    pub fn offers(&self, method: &AuthMethod) -> bool {
        self.methods.contains(method)
    }

    /// The cookie file as Tor sees it.
    pub fn cookie_file(&self) -> Option<&Path> {
        self.cookie_file.as_deref()
    }

    /// Tor's version, such as `0.4.5.9` or `0.4.5.9 (git-...)`.
    pub fn tor_version(&self) -> Option<&str> {
        self.tor_version.as_deref()
    }
}

/// A way to authenticate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthMethod {
    /// `NULL`: anyone may.
    Null,
    /// `HASHEDPASSWORD`: a password.
    HashedPassword,
    /// `COOKIE`: the content of a file.
    Cookie,
    /// `SAFECOOKIE`: knowledge of the content of a file, proved by both sides.
    SafeCookie,
    /// Another word.
    Unknown(String),
}

impl AuthMethod {
    fn from_word(word: &[u8]) -> Self {
        match word {
            b"NULL" => Self::Null,
            b"HASHEDPASSWORD" => Self::HashedPassword,
            b"COOKIE" => Self::Cookie,
            b"SAFECOOKIE" => Self::SafeCookie,
            _ => Self::Unknown(String::from_utf8_lossy(word).into_owned()),
        }
    }

    /// The name in the protocol.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Null => "NULL",
            Self::HashedPassword => "HASHEDPASSWORD",
            Self::Cookie => "COOKIE",
            Self::SafeCookie => "SAFECOOKIE",
            Self::Unknown(word) => word,
        }
    }
}

/// A path is any bytes on Unix.
#[cfg(unix)]
fn path_from_bytes(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(not(unix))]
fn path_from_bytes(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[&str]) -> Result<ProtocolInfo, Error> {
        let wire = lines.join("\r\n") + "\r\n";
        ProtocolInfo::from_reply(Reply::parse(wire.as_bytes()).unwrap())
    }

    #[test]
    fn escaped_paths() {
        let info = parse(&[
            "250-PROTOCOLINFO 1",
            r#"250-AUTH METHODS=COOKIE,SAFECOOKIE,HASHEDPASSWORD,NEW COOKIEFILE="/a \"b\" \\c/\303\244" SOMETHING=else"#,
            "250-NOISE x=\"",
            r#"250-VERSION Tor="0.4.5.9 (git-\tabc)" More"#,
            "250 OK",
        ])
        .unwrap();
        assert_eq!(info.cookie_file(), Some(Path::new("/a \"b\" \\c/ä")));
        assert_eq!(info.tor_version(), Some("0.4.5.9 (git-\tabc)"));
        let methods: Vec<_> = info.methods().map(AuthMethod::as_str).collect();
        assert_eq!(methods, ["COOKIE", "SAFECOOKIE", "HASHEDPASSWORD", "NEW"]);
    }

    #[cfg(unix)]
    #[test]
    fn paths_that_are_not_utf8() {
        use std::os::unix::ffi::OsStrExt;

        let info = parse(&[
            "250-PROTOCOLINFO 1",
            r#"250-AUTH METHODS=COOKIE COOKIEFILE="/\377""#,
            "250 OK",
        ])
        .unwrap();
        assert_eq!(info.cookie_file().unwrap().as_os_str().as_bytes(), b"/\xff");
    }

    #[test]
    fn other_replies() {
        let table: &[(&[&str], &str)] = &[
            (&["250 OK"], "expected the line PROTOCOLINFO first, got \"OK\""),
            (&["250-PROTOCOLINFO 1", "250 OK"], "no method"),
            (&["250-PROTOCOLINFO 1", "250-AUTH METHODS=", "250 OK"], "no method"),
            (
                &[
                    "250-PROTOCOLINFO 1",
                    "250-AUTH METHODS=COOKIE COOKIEFILE=\"/a",
                    "250 OK",
                ],
                "bad quoting in \"AUTH",
            ),
            (&["514 Authentication required."], "Tor answered 514"),
        ];
        for (lines, message) in table {
            let error = parse(lines).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
