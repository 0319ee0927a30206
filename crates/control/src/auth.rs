//! Proving to Tor who we are, and with SAFECOOKIE Tor to us: control-spec sections 3.5, 3.21, 3.24;
//! feature/control/control_auth.c.

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
use crate::{Command, CookieProblem, Error, Reply};

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

/// An authentication cookie: 32 random bytes that Tor writes to a file at start. Wiped when dropped
/// and never shown.
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

    /// HMAC-SHA256 over cookie, client nonce and server nonce
    /// (feature/control/control_auth.c:190-215).
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

/// With what to authenticate. Of what Tor offers and the credentials allow, the best is taken:
/// SAFECOOKIE, COOKIE, password, nothing.
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
    /// Tor's offer: the cookie file that PROTOCOLINFO names, or nothing if it asks for nothing.
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

    /// The cookie in this file, wherever Tor says it is: for a Tor in a container or under another
    /// root.
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

    /// Each way to authenticate by itself, in the order of preference; at least one.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "for the supervisor"))]
    pub(crate) fn methods(&self) -> Vec<Self> {
        match (&self.cookie, &self.password) {
            (CookieSource::None, _) | (_, None) => vec![self.clone()],
            (_, Some(_)) => vec![
                Self {
                    cookie: self.cookie.clone(),
                    password: None,
                },
                Self {
                    cookie: CookieSource::None,
                    password: self.password.clone(),
                },
            ],
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

/// Next demand of the handshake on its driver.
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

/// The steps of authentication, without IO: `PROTOCOLINFO`, the cookie file, `AUTHCHALLENGE`,
/// `AUTHENTICATE`.
///
/// Tor closes the connection after every failure, so another attempt needs another connection.
///
/// ```
/// use onionweave_control::{Handshake, Step};
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
    /// The end, in success or failure.
    Over,
}

impl Handshake {
    /// Begins; the command is to be sent first. `client_nonce` must be random and never be used
    /// again.
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
    /// [`Error::Rejected`] if Tor refuses, [`Error::NoUsableMethod`], [`Error::WrongServerHash`],
    /// [`Error::UnexpectedReply`] for a reply of another form or when none is waited for. None of
    /// them can be put right on this connection.
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
    /// [`Error::CookieFile`] unless it has exactly 32 bytes; [`Error::UnexpectedReply`] if no
    /// cookie was asked for.
    pub fn cookie(&mut self, content: &[u8]) -> Result<Step, Error> {
        let State::Cookie { path, safe } = std::mem::replace(&mut self.state, State::Over) else {
            return Err(out_of_order("a cookie"));
        };
        let cookie = Cookie::new(content).map_err(|_| Error::CookieFile {
            path,
            problem: CookieProblem::Length(content.len()),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(methods: &str) -> Reply {
        let wire =
            format!("250-PROTOCOLINFO 1\r\n250-AUTH METHODS={methods}\r\n250-VERSION Tor=\"0.4.5.9\"\r\n250 OK\r\n");
        Reply::parse(wire.as_bytes()).unwrap()
    }

    fn start(credentials: &Credentials, methods: &str) -> (Handshake, Result<Step, Error>) {
        let (mut handshake, _) = Handshake::start(credentials.clone(), [7; 32]);
        let step = handshake.reply(offer(methods));
        (handshake, step)
    }

    #[test]
    fn chooses_the_best_that_both_know() {
        let auto = Credentials::auto();
        let null = Credentials::null();
        let password = Credentials::password("pw").unwrap();
        let file = Credentials::cookie_file("/mine");
        let both = Credentials::cookie_file("/mine").with_password(Password::new("pw").unwrap());
        let cookies = "COOKIE,SAFECOOKIE COOKIEFILE=\"/tor \\\"s\"";
        let all = "COOKIE,SAFECOOKIE,HASHEDPASSWORD COOKIEFILE=\"/tors\"";

        let table: &[(&str, &Credentials, &str, &str)] = &[
            ("auto, nothing", &auto, "NULL", "AUTHENTICATE\r\n"),
            ("auto, cookies", &auto, cookies, "read /tor \"s"),
            ("auto, cookies and password", &auto, all, "read /tors"),
            (
                "auto, password",
                &auto,
                "HASHEDPASSWORD",
                "error Tor offers HASHEDPASSWORD, and the credentials allow a cookie",
            ),
            (
                "auto, a cookie nobody knows where",
                &auto,
                "COOKIE,SAFECOOKIE",
                "error Tor offers COOKIE, SAFECOOKIE",
            ),
            ("nothing, nothing", &null, "NULL", "AUTHENTICATE\r\n"),
            (
                "nothing, cookies",
                &null,
                cookies,
                "error Tor offers COOKIE, SAFECOOKIE, and the credentials allow none",
            ),
            (
                "password, password",
                &password,
                "HASHEDPASSWORD",
                "AUTHENTICATE \"pw\"\r\n",
            ),
            (
                "password, cookies and password",
                &password,
                all,
                "AUTHENTICATE \"pw\"\r\n",
            ),
            ("password, cookies", &password, cookies, "error "),
            (
                "password, nothing: it is not shown",
                &password,
                "NULL",
                "AUTHENTICATE\r\n",
            ),
            ("own file, cookies", &file, cookies, "read /mine"),
            ("own file, cookies without a file", &file, "SAFECOOKIE", "read /mine"),
            ("own file, nothing", &file, "NULL", "AUTHENTICATE\r\n"),
            ("both, both", &both, all, "read /mine"),
            ("both, password", &both, "HASHEDPASSWORD", "AUTHENTICATE \"pw\"\r\n"),
            (
                "both, a method of the future",
                &both,
                "RETINA",
                "error Tor offers RETINA, and the credentials allow a cookie or a password",
            ),
        ];
        for (name, credentials, methods, expected) in table {
            let (_, step) = start(credentials, methods);
            let found = match step {
                Ok(Step::Send(command)) => String::from_utf8(command.as_bytes().to_vec()).unwrap(),
                Ok(Step::ReadCookie(path)) => format!("read {}", path.display()),
                Ok(Step::Done(_)) => "done".to_owned(),
                Err(error) => error.to_string().replace("cannot authenticate: ", "error "),
            };
            assert!(found.starts_with(expected), "{name}: {found}");
        }
    }

    /// Hashes made with another implementation (Python's hmac) for cookie 0x01 * 32, client nonce
    /// 0x07 * 32, server nonce 0x09 * 32.
    const SERVER_HASH: &str = "D2D210F8B83E6897ACAB1065A3657989139F104CB23D7E67D078D7B7D7079736";
    const CONTROLLER_HASH: &str = "24BDC8C2E1BA7229FD3E8417DEDA9CA0148986B6737CC6422FA364011FFEDD9E";

    fn challenge(hash: &str) -> Reply {
        let wire = format!(
            "250 AUTHCHALLENGE SERVERHASH={hash} SERVERNONCE={}\r\n",
            "09".repeat(32)
        );
        Reply::parse(wire.as_bytes()).unwrap()
    }

    fn challenged() -> Handshake {
        let (mut handshake, step) = start(&Credentials::auto(), "COOKIE,SAFECOOKIE COOKIEFILE=\"/c\"");
        assert!(matches!(step, Ok(Step::ReadCookie(_))));
        let Ok(Step::Send(command)) = handshake.cookie(&[1; 32]) else {
            panic!()
        };
        assert_eq!(command, Command::auth_challenge(&[7; 32]));
        handshake
    }

    #[test]
    fn safe_cookie() {
        let mut handshake = challenged();
        let Ok(Step::Send(command)) = handshake.reply(challenge(SERVER_HASH)) else {
            panic!()
        };
        assert_eq!(
            command.as_bytes(),
            format!("AUTHENTICATE {CONTROLLER_HASH}\r\n").as_bytes()
        );
        let Ok(Step::Done(info)) = handshake.reply(Reply::parse(b"250 OK\r\n").unwrap()) else {
            panic!()
        };
        assert_eq!(info.tor_version(), Some("0.4.5.9"));
        assert!(matches!(
            handshake.reply(Reply::parse(b"250 OK\r\n").unwrap()),
            Err(Error::UnexpectedReply { .. })
        ));
    }

    #[test]
    fn a_server_without_the_cookie_learns_nothing() {
        let last = SERVER_HASH.chars().last().unwrap();
        let wrong = SERVER_HASH.replace(last, if last == '0' { "1" } else { "0" });
        for hash in [wrong, "00".repeat(32)] {
            assert!(
                matches!(challenged().reply(challenge(&hash)), Err(Error::WrongServerHash)),
                "{hash}"
            );
        }
        for hash in ["", "00", &"0G".repeat(32), &"00".repeat(33)] {
            assert!(
                matches!(challenged().reply(challenge(hash)), Err(Error::UnexpectedReply { .. })),
                "{hash}"
            );
        }
        let refused = Reply::parse(b"515 Cookie authentication is disabled\r\n").unwrap();
        assert!(matches!(
            challenged().reply(refused),
            Err(Error::Rejected { code: 515, .. })
        ));
    }

    #[test]
    fn old_cookies_are_sent_as_they_are() {
        let (mut handshake, _) = start(&Credentials::auto(), "COOKIE COOKIEFILE=\"/c\"");
        let Ok(Step::Send(command)) = handshake.cookie(&[0xab; 32]) else {
            panic!()
        };
        assert_eq!(
            command.as_bytes(),
            format!("AUTHENTICATE {}\r\n", "AB".repeat(32)).as_bytes()
        );
    }

    #[test]
    fn a_cookie_has_32_bytes() {
        for length in [0, 31, 33] {
            let (mut handshake, _) = start(&Credentials::auto(), "COOKIE,SAFECOOKIE COOKIEFILE=\"/c\"");
            let error = handshake.cookie(&vec![1; length]).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("cookie file /c: an authentication cookie has 32 bytes, not {length}")
            );
        }
    }
}
