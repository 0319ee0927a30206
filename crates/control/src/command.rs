//! Commands, checked and written out.
//!
//! A [`Command`] can only be built from arguments that stay within their line: a CR, LF or NUL in
//! one is an [`Error::Argument`], so nobody's input becomes another command. The formats are those
//! of control-spec section 3.

use std::borrow::Cow;
use std::fmt;

use data_encoding::HEXUPPER;
use zeroize::Zeroizing;

use crate::auth::{Cookie, Password};
use crate::codec::data;
use crate::text::push_quoted;
use crate::{ArgumentProblem, Error};

/// One command with its body, ready to be sent.
///
/// The bytes are wiped when it is dropped, as some hold secrets; `Debug` shows arguments only where
/// they never are any.
///
/// ```
/// use onionweave_control::Command;
///
/// let command = Command::get_info(["version", "process/pid"])?;
/// assert_eq!(command.as_bytes(), b"GETINFO version process/pid\r\n");
/// assert!(Command::get_info(["version\r\nSIGNAL HALT"]).is_err());
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    name: Cow<'static, str>,
    /// All bytes, line ends and body included.
    bytes: Zeroizing<Vec<u8>>,
}

impl Command {
    /// The longest command that Tor takes, in bytes with line ends and body: a longer one is
    /// answered by `500 Line too long.` and the end of the connection
    /// (feature/control/control.c:280,454-458; lib/buf/buffers.c:886).
    pub const MAX_BYTES: usize = (1 << 20) - 1;

    /// `PROTOCOLINFO 1`: how to authenticate. Tor answers it once on a connection
    /// (feature/control/control.c:261-275).
    pub fn protocol_info() -> Self {
        Self::fixed("PROTOCOLINFO", "PROTOCOLINFO 1\r\n")
    }

    /// `AUTHCHALLENGE SAFECOOKIE`: asks the other side to prove that it knows the cookie.
    pub fn auth_challenge(client_nonce: &[u8; 32]) -> Self {
        let line = format!("AUTHCHALLENGE SAFECOOKIE {}\r\n", HEXUPPER.encode(client_nonce));
        Self::fixed("AUTHCHALLENGE", &line)
    }

    /// `AUTHENTICATE` without argument, for a Tor that asks for nothing.
    pub fn authenticate_null() -> Self {
        Self::fixed("AUTHENTICATE", "AUTHENTICATE\r\n")
    }

    /// `AUTHENTICATE` with a password.
    pub fn authenticate_password(password: &Password) -> Self {
        // Twice the length is the most that quoting can need: the buffer never moves and leaves no
        // copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(password.as_bytes().len() * 2 + 32));
        bytes.extend_from_slice(b"AUTHENTICATE ");
        push_quoted(&mut bytes, password.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        Self {
            name: Cow::Borrowed("AUTHENTICATE"),
            bytes,
        }
    }

    /// `AUTHENTICATE` with the cookie itself. This shows the cookie to whoever answers; SAFECOOKIE
    /// does not.
    pub fn authenticate_cookie(cookie: &Cookie) -> Self {
        Self::authenticate_hex(cookie.as_bytes())
    }

    /// `AUTHENTICATE` with the controller's hash, the last step of SAFECOOKIE.
    pub fn authenticate_safe_cookie(controller_hash: &[u8; 32]) -> Self {
        Self::authenticate_hex(controller_hash)
    }

    /// `GETINFO` with one or more keys. Without any, Tor answers a bare `250 OK`.
    ///
    /// # Errors
    /// [`Error::Argument`] for an empty key or one with spaces or control characters,
    /// [`Error::CommandTooLong`].
    pub fn get_info<K: AsRef<str>>(keys: impl IntoIterator<Item = K>) -> Result<Self, Error> {
        let mut line = Line::new("GETINFO");
        for key in keys {
            line.word("key", key.as_ref())?;
        }
        line.end()
    }

    /// `SETEVENTS`: exactly these events from now on, replacing what was set
    /// (feature/control/control_cmd.c:388-428). None ends all.
    ///
    /// # Errors
    /// [`Error::Argument`] if an [`EventKind::Other`] is not one word.
    pub fn set_events(kinds: &[EventKind]) -> Result<Self, Error> {
        let mut line = Line::new("SETEVENTS");
        for kind in kinds {
            line.word("event", kind.as_str())?;
        }
        line.end()
    }

    /// `HSFETCH`: asks directories for a descriptor. The answers come as `HS_DESC` and
    /// `HS_DESC_CONTENT` events, or not at all.
    ///
    /// # Errors
    /// [`Error::CommandTooLong`] with tens of thousands of servers.
    pub fn hs_fetch(fetch: &HsFetch) -> Result<Self, Error> {
        let mut line = Line::new("HSFETCH");
        line.word("target", &fetch.target)?;
        line.servers(&fetch.servers);
        line.end()
    }

    /// `+HSPOST`: uploads a descriptor to `servers`, relays named by their fingerprint.
    ///
    /// `hs_address` is the 56-character address of a v3 service, with or without `.onion`; without
    /// it Tor takes the body for v2. Then a Tor that has no v2 **gives no reply at all** (seen on
    /// 0.4.9.11), and only the deadline ends the wait. Without servers Tor chooses, wrongly so for
    /// a v3 descriptor of the next period (feature/hs/hs_control.c:228-237).
    ///
    /// `body` is the descriptor's text. It is sent as it is, but ended by exactly one LF: with an
    /// empty line after the descriptor, C Tor's directories store it so and other implementations
    /// refuse it.
    ///
    /// # Errors
    /// [`Error::Argument`] for a malformed address, an empty body, one that begins with an
    /// annotation (`@`, which Tor answers with 554), or one that holds a NUL (where Tor would cut
    /// it); [`Error::CommandTooLong`].
    pub fn hs_post(servers: &[[u8; 20]], hs_address: Option<&str>, body: &[u8]) -> Result<Self, Error> {
        let mut line = Line::new("+HSPOST");
        line.servers(servers);
        if let Some(address) = hs_address {
            let address = address.strip_suffix(".onion").unwrap_or(address);
            if !is_base32(address, 56) {
                return Err(line.refuse(
                    "address",
                    ArgumentProblem::Form("is not 56 characters of lower-case base32"),
                ));
            }
            line.key_value("HSADDRESS", address);
        }
        if body.first() == Some(&b'@') {
            return Err(line.refuse(
                "body",
                ArgumentProblem::Form("begins with an annotation, which Tor refuses"),
            ));
        }
        let end = body
            .iter()
            .rposition(|byte| !matches!(byte, b'\n' | b'\r'))
            .map_or(0, |last| last + 1);
        line.end_with_body(body.get(..end).unwrap_or(body))
    }

    /// `SIGNAL`.
    pub fn signal(signal: Signal) -> Self {
        let line = format!("SIGNAL {}\r\n", signal.as_str());
        Self::fixed("SIGNAL", &line)
    }

    /// `SETCONF`: sets options, all or none (feature/control/control_cmd.c:571-616). A key named
    /// several times becomes a list.
    ///
    /// # Errors
    /// [`Error::Argument`] for a key that is not letters, digits and `_`, or a value with CR, LF or
    /// NUL; [`Error::CommandTooLong`].
    ///
    /// ```
    /// use onionweave_control::Command;
    ///
    /// let command = Command::set_conf(&[("Nickname", "a"), ("ContactInfo", "\"me\"")])?;
    /// assert_eq!(command.as_bytes(), b"SETCONF Nickname=\"a\" ContactInfo=\"\\\"me\\\"\"\r\n");
    /// # Ok::<(), onionweave_control::Error>(())
    /// ```
    pub fn set_conf(options: &[(&str, &str)]) -> Result<Self, Error> {
        let mut line = Line::new("SETCONF");
        if options.is_empty() {
            return Err(line.refuse("list of options", ArgumentProblem::Empty));
        }
        for (key, value) in options {
            line.option(key)?;
            line.check("value", value.as_bytes())?;
            line.bytes.push(b'=');
            push_quoted(&mut line.bytes, value.as_bytes());
        }
        line.end()
    }

    /// `RESETCONF`: sets options back to their defaults.
    ///
    /// # Errors
    /// [`Error::Argument`] for a key that is not letters, digits and `_`;
    /// [`Error::CommandTooLong`].
    pub fn reset_conf(options: &[&str]) -> Result<Self, Error> {
        let mut line = Line::new("RESETCONF");
        if options.is_empty() {
            return Err(line.refuse("list of options", ArgumentProblem::Empty));
        }
        for key in options {
            line.option(key)?;
        }
        line.end()
    }

    /// `TAKEOWNERSHIP`: Tor exits when this connection ends (feature/control/control_cmd.c:500-514,
    /// control.c:220-257).
    pub fn take_ownership() -> Self {
        Self::fixed("TAKEOWNERSHIP", "TAKEOWNERSHIP\r\n")
    }

    /// `QUIT`: Tor answers `250 closing connection` and closes.
    pub fn quit() -> Self {
        Self::fixed("QUIT", "QUIT\r\n")
    }

    /// Any other command of one line, given without its line end.
    ///
    /// # Errors
    /// [`Error::Argument`] for CR, LF or NUL, an empty line, or a first character `+`, which would
    /// begin a body; [`Error::CommandTooLong`].
    ///
    /// ```
    /// use onionweave_control::Command;
    ///
    /// let command = Command::raw("GETCONF SocksPort")?;
    /// assert_eq!(command.name(), "GETCONF");
    /// # Ok::<(), onionweave_control::Error>(())
    /// ```
    pub fn raw(text: &str) -> Result<Self, Error> {
        let line = Line::raw(text)?;
        if text.starts_with('+') {
            return Err(line.refuse("line", ArgumentProblem::Form("begins with '+' but has no body")));
        }
        line.end()
    }

    /// Any other command with a body. `text` is its line with or without the `+`; the body is
    /// escaped here, and a last line without LF gets one.
    ///
    /// # Errors
    /// [`Error::Argument`] for CR, LF or NUL in the line, an empty line, an empty body or one with
    /// a NUL; [`Error::CommandTooLong`].
    pub fn raw_with_body(text: &str, body: &[u8]) -> Result<Self, Error> {
        let line = if text.starts_with('+') {
            Line::raw(text)?
        } else {
            Line::raw(&format!("+{text}"))?
        };
        line.end_with_body(body)
    }

    /// The keyword, such as `GETINFO` or `+HSPOST`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bytes to send.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn fixed(name: &'static str, line: &str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            bytes: Zeroizing::new(line.as_bytes().to_vec()),
        }
    }

    fn authenticate_hex(secret: &[u8; 32]) -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(128));
        bytes.extend_from_slice(b"AUTHENTICATE ");
        bytes.extend_from_slice(Zeroizing::new(HEXUPPER.encode(secret)).as_bytes());
        bytes.extend_from_slice(b"\r\n");
        Self {
            name: Cow::Borrowed("AUTHENTICATE"),
            bytes,
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The arguments of others may be secrets: passwords, private keys, options.
        const SHOWN: [&str; 6] = ["GETINFO", "SETEVENTS", "HSFETCH", "+HSPOST", "SIGNAL", "GETCONF"];
        if SHOWN.contains(&&*self.name) {
            let line = self.bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
            return write!(f, "Command({}, {} bytes)", line.escape_ascii(), self.bytes.len());
        }
        write!(f, "Command({} ..., {} bytes)", self.name, self.bytes.len())
    }
}

/// What `HSFETCH` asks for, and whom.
///
/// ```
/// use onionweave_control::{Command, HsFetch};
///
/// let fetch = HsFetch::v2_descriptor("lhrcprndbm75osvtwkzuo5pdj7666cz7")?.server([0xab; 20]);
/// assert_eq!(
///     Command::hs_fetch(&fetch)?.as_bytes(),
///     b"HSFETCH v2-lhrcprndbm75osvtwkzuo5pdj7666cz7 SERVER=$ABABABABABABABABABABABABABABABABABABABAB\r\n",
/// );
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HsFetch {
    target: String,
    servers: Vec<[u8; 20]>,
}

impl HsFetch {
    /// The v2 descriptor with this ID, 32 characters of lower-case base32.
    ///
    /// Tor refuses it without a server. Each server is asked once
    /// (feature/rend/rendclient.c:616-674).
    ///
    /// # Errors
    /// [`Error::Argument`] if the ID has another form.
    pub fn v2_descriptor(descriptor_id: &str) -> Result<Self, Error> {
        if !is_base32(descriptor_id, 32) {
            return Err(Self::refuse(
                "descriptor ID",
                descriptor_id,
                "is not 32 characters of lower-case base32",
            ));
        }
        Ok(Self {
            target: format!("v2-{descriptor_id}"),
            servers: Vec::new(),
        })
    }

    /// The descriptor of a service by its address, 16 (v2) or 56 (v3) characters of lower-case
    /// base32, with or without `.onion`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the address has another form.
    pub fn address(address: &str) -> Result<Self, Error> {
        let id = address.strip_suffix(".onion").unwrap_or(address);
        if !is_base32(id, 16) && !is_base32(id, 56) {
            return Err(Self::refuse(
                "address",
                address,
                "is not 16 or 56 characters of lower-case base32",
            ));
        }
        Ok(Self {
            target: id.to_owned(),
            servers: Vec::new(),
        })
    }

    /// Adds a directory to ask, by its fingerprint. Without any, Tor chooses.
    #[must_use]
    pub fn server(mut self, fingerprint: [u8; 20]) -> Self {
        self.servers.push(fingerprint);
        self
    }

    fn refuse(argument: &'static str, value: &str, form: &'static str) -> Error {
        let problem = match forbidden(value.as_bytes()) {
            Some(problem) => problem,
            None if value.is_empty() => ArgumentProblem::Empty,
            None => ArgumentProblem::Form(form),
        };
        Error::Argument {
            command: "HSFETCH".to_owned(),
            argument,
            problem,
        }
    }
}

/// A kind of event to ask for with `SETEVENTS`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// `HS_DESC`: what happens to onion service descriptors.
    HsDesc,
    /// `HS_DESC_CONTENT`: descriptors that were fetched.
    HsDescContent,
    /// `STATUS_CLIENT`: Tor as a client, its progress at start among it.
    StatusClient,
    /// `NEWCONSENSUS`: a new list of relays is in use.
    NewConsensus,
    /// `NETWORK_LIVENESS`: whether the network seems reachable.
    NetworkLiveness,
    /// `CONF_CHANGED`: options were changed.
    ConfChanged,
    /// `CIRC`: circuits.
    Circ,
    /// `CIRC_MINOR`: circuits that change their purpose.
    CircMinor,
    /// Any other, by its name.
    Other(String),
}

impl EventKind {
    /// The name in the protocol.
    pub fn as_str(&self) -> &str {
        match self {
            EventKind::HsDesc => "HS_DESC",
            EventKind::HsDescContent => "HS_DESC_CONTENT",
            EventKind::StatusClient => "STATUS_CLIENT",
            EventKind::NewConsensus => "NEWCONSENSUS",
            EventKind::NetworkLiveness => "NETWORK_LIVENESS",
            EventKind::ConfChanged => "CONF_CHANGED",
            EventKind::Circ => "CIRC",
            EventKind::CircMinor => "CIRC_MINOR",
            EventKind::Other(name) => name,
        }
    }
}

/// A signal to send with `SIGNAL` (feature/control/control.c:176-197).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// Read the configuration again. A Tor whose torrc is broken exits.
    Reload,
    /// Exit: a client at once, a relay after `ShutdownWaitLength`.
    Shutdown,
    /// Write statistics to the log.
    Dump,
    /// Log everything from now on.
    Debug,
    /// Exit at once.
    Halt,
    /// New circuits for new streams, and empty caches of descriptors. At most once in ten seconds,
    /// later ones are put off and merged.
    NewNym,
    /// Forget the addresses that were looked up.
    ClearDnsCache,
    /// Write a heartbeat to the log.
    Heartbeat,
    /// Leave dormant mode.
    Active,
    /// Enter dormant mode.
    Dormant,
}

impl Signal {
    /// The name in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Signal::Reload => "RELOAD",
            Signal::Shutdown => "SHUTDOWN",
            Signal::Dump => "DUMP",
            Signal::Debug => "DEBUG",
            Signal::Halt => "HALT",
            Signal::NewNym => "NEWNYM",
            Signal::ClearDnsCache => "CLEARDNSCACHE",
            Signal::Heartbeat => "HEARTBEAT",
            Signal::Active => "ACTIVE",
            Signal::Dormant => "DORMANT",
        }
    }
}

/// A command being written: its line so far, without end.
struct Line {
    name: Cow<'static, str>,
    bytes: Vec<u8>,
}

impl Line {
    fn new(name: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            bytes: name.as_bytes().to_vec(),
        }
    }

    fn raw(text: &str) -> Result<Self, Error> {
        let name = text.split(' ').next().unwrap_or_default();
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        let line = Self {
            name: Cow::Owned(name),
            bytes: text.as_bytes().to_vec(),
        };
        line.check("line", text.as_bytes())?;
        if matches!(&*line.name, "" | "+") {
            return Err(line.refuse("keyword", ArgumentProblem::Empty));
        }
        Ok(line)
    }

    /// Appends an argument that must be one word.
    fn word(&mut self, argument: &'static str, word: &str) -> Result<(), Error> {
        self.check(argument, word.as_bytes())?;
        if word.is_empty() {
            return Err(self.refuse(argument, ArgumentProblem::Empty));
        }
        if word
            .bytes()
            .any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control())
        {
            return Err(self.refuse(argument, ArgumentProblem::Form("holds spaces or control characters")));
        }
        self.bytes.push(b' ');
        self.bytes.extend_from_slice(word.as_bytes());
        Ok(())
    }

    /// Appends the name of a configuration option.
    fn option(&mut self, key: &str) -> Result<(), Error> {
        self.word("option", key)?;
        if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(self.refuse("option", ArgumentProblem::Form("is not letters, digits and '_'")));
        }
        Ok(())
    }

    fn servers(&mut self, servers: &[[u8; 20]]) {
        for server in servers {
            self.key_value("SERVER", &format!("${}", HEXUPPER.encode(server)));
        }
    }

    /// Appends a keyword with a value that is known to need no quoting.
    fn key_value(&mut self, key: &str, value: &str) {
        for part in [" ", key, "=", value] {
            self.bytes.extend_from_slice(part.as_bytes());
        }
    }

    fn check(&self, argument: &'static str, value: &[u8]) -> Result<(), Error> {
        match forbidden(value) {
            Some(problem) => Err(self.refuse(argument, problem)),
            None => Ok(()),
        }
    }

    fn refuse(&self, argument: &'static str, problem: ArgumentProblem) -> Error {
        Error::Argument {
            command: self.name.clone().into_owned(),
            argument,
            problem,
        }
    }

    fn end(mut self) -> Result<Command, Error> {
        self.bytes.extend_from_slice(b"\r\n");
        if self.bytes.len() > Command::MAX_BYTES {
            return Err(Error::CommandTooLong {
                command: self.name.into_owned(),
                length: self.bytes.len(),
                limit: Command::MAX_BYTES,
            });
        }
        Ok(Command {
            name: self.name,
            bytes: Zeroizing::new(self.bytes),
        })
    }

    fn end_with_body(mut self, body: &[u8]) -> Result<Command, Error> {
        if body.is_empty() {
            return Err(self.refuse("body", ArgumentProblem::Empty));
        }
        if let Some(at) = body.iter().position(|&byte| byte == 0) {
            return Err(self.refuse("body", ArgumentProblem::Nul { at }));
        }
        let data = data::escape(body);
        let length = self.bytes.len() + 2 + data.len();
        if length > Command::MAX_BYTES {
            return Err(Error::CommandTooLong {
                command: self.name.into_owned(),
                length,
                limit: Command::MAX_BYTES,
            });
        }
        self.bytes.extend_from_slice(b"\r\n");
        self.bytes.extend_from_slice(&data);
        Ok(Command {
            name: self.name,
            bytes: Zeroizing::new(self.bytes),
        })
    }
}

/// The first byte that can't be part of any argument.
pub(crate) fn forbidden(value: &[u8]) -> Option<ArgumentProblem> {
    value.iter().enumerate().find_map(|(at, byte)| match byte {
        b'\r' | b'\n' => Some(ArgumentProblem::LineBreak { at }),
        0 => Some(ArgumentProblem::Nul { at }),
        _ => None,
    })
}

/// Tor's own check is `strspn(.., BASE32_CHARS)`: lower-case only.
fn is_base32(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "lhrcprndbm75osvtwkzuo5pdj7666cz7";
    const V3: &str = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd";

    fn wire(command: Result<Command, Error>) -> String {
        String::from_utf8(command.unwrap().as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn writes_what_tor_reads() {
        let password = Password::new("a \"b\" \\c").unwrap();
        let cookie = Cookie::new(&[0xab; 32]).unwrap();
        let fetch = HsFetch::address(&format!("{V3}.onion"))
            .unwrap()
            .server([1; 20])
            .server([2; 20]);
        let one = "01".repeat(20);
        let table: &[(Result<Command, Error>, &str)] = &[
            (Ok(Command::protocol_info()), "PROTOCOLINFO 1\r\n"),
            (
                Ok(Command::auth_challenge(&[0x0f; 32])),
                &format!("AUTHCHALLENGE SAFECOOKIE {}\r\n", "0F".repeat(32)),
            ),
            (Ok(Command::authenticate_null()), "AUTHENTICATE\r\n"),
            (
                Ok(Command::authenticate_password(&password)),
                "AUTHENTICATE \"a \\\"b\\\" \\\\c\"\r\n",
            ),
            (
                Ok(Command::authenticate_cookie(&cookie)),
                &format!("AUTHENTICATE {}\r\n", "AB".repeat(32)),
            ),
            (Command::get_info(["a", "b/c"]), "GETINFO a b/c\r\n"),
            (Command::set_events(&[]), "SETEVENTS\r\n"),
            (
                Command::set_events(&[EventKind::HsDesc, EventKind::Other("BW".to_owned())]),
                "SETEVENTS HS_DESC BW\r\n",
            ),
            (
                Command::hs_fetch(&fetch),
                &format!("HSFETCH {V3} SERVER=${one} SERVER=${}\r\n", "02".repeat(20)),
            ),
            (Command::hs_post(&[], None, b"a\n"), "+HSPOST\r\na\r\n.\r\n"),
            (
                Command::hs_post(&[[1; 20]], Some(V3), b".a\n\nb"),
                &format!("+HSPOST SERVER=${one} HSADDRESS={V3}\r\n..a\r\n\r\nb\r\n.\r\n"),
            ),
            (Command::hs_post(&[], None, b"a\r\n\n\n"), "+HSPOST\r\na\r\n.\r\n"),
            (Ok(Command::signal(Signal::NewNym)), "SIGNAL NEWNYM\r\n"),
            (
                Command::set_conf(&[("A_1", "x y"), ("B", "")]),
                "SETCONF A_1=\"x y\" B=\"\"\r\n",
            ),
            (Command::reset_conf(&["A", "B"]), "RESETCONF A B\r\n"),
            (Ok(Command::take_ownership()), "TAKEOWNERSHIP\r\n"),
            (Ok(Command::quit()), "QUIT\r\n"),
            (Command::raw("GETCONF SocksPort"), "GETCONF SocksPort\r\n"),
            (
                Command::raw_with_body("LOADCONF", b"SocksPort 0"),
                "+LOADCONF\r\nSocksPort 0\r\n.\r\n",
            ),
            (
                Command::raw_with_body("+LOADCONF", b"SocksPort 0\n\n"),
                "+LOADCONF\r\nSocksPort 0\r\n\r\n.\r\n",
            ),
        ];
        for (command, expected) in table {
            assert_eq!(wire(command.clone()), **expected);
        }
    }

    #[test]
    fn refuses_what_would_become_another_command() {
        for bad in ["\r", "\n", "\0", "a\r\nSIGNAL HALT", "a\nb"] {
            let other = EventKind::Other(bad.to_owned());
            let results = [
                Command::get_info(["version", bad]),
                Command::set_events(&[other]),
                HsFetch::address(bad).and_then(|fetch| Command::hs_fetch(&fetch)),
                HsFetch::v2_descriptor(bad).and_then(|fetch| Command::hs_fetch(&fetch)),
                Command::hs_post(&[], Some(bad), b"body"),
                Command::set_conf(&[("ContactInfo", bad)]),
                Command::set_conf(&[(bad, "me")]),
                Command::reset_conf(&[bad]),
                Command::raw(bad),
                Command::raw_with_body(bad, b"body"),
                Password::new(bad).map(|password| Command::authenticate_password(&password)),
            ];
            for result in results {
                assert!(matches!(result, Err(Error::Argument { .. })), "{bad:?}: {result:?}");
            }
        }
    }

    #[test]
    fn refuses_malformed_arguments() {
        let table: &[(Result<Command, Error>, &str)] = &[
            (Command::get_info([""]), "GETINFO: the key is empty"),
            (
                Command::get_info(["a b"]),
                "GETINFO: the key holds spaces or control characters",
            ),
            (
                Command::get_info(["a\r\nb"]),
                "GETINFO: the key has a line break at byte 1",
            ),
            (Command::hs_post(&[], None, b""), "+HSPOST: the body is empty"),
            (Command::hs_post(&[], None, b"\r\n\n"), "+HSPOST: the body is empty"),
            (
                Command::hs_post(&[], None, b"ab\0c"),
                "+HSPOST: the body has a NUL at byte 2",
            ),
            (
                Command::hs_post(&[], None, b"@type x\n"),
                "+HSPOST: the body begins with an annotation, which Tor refuses",
            ),
            (
                Command::hs_post(&[], Some("short"), b"a"),
                "+HSPOST: the address is not 56 characters of lower-case base32",
            ),
            (Command::set_conf(&[]), "SETCONF: the list of options is empty"),
            (
                Command::set_conf(&[("A=B", "c")]),
                "SETCONF: the option is not letters, digits and '_'",
            ),
            (Command::raw(""), "the keyword is empty"),
            (Command::raw(" x"), "the keyword is empty"),
            (
                Command::raw("+HSPOST"),
                "+HSPOST: the line begins with '+' but has no body",
            ),
            (Command::raw_with_body("", b"a"), "the keyword is empty"),
            (
                HsFetch::v2_descriptor(&ID.to_uppercase()).and_then(|fetch| Command::hs_fetch(&fetch)),
                "HSFETCH: the descriptor ID is not 32 characters of lower-case base32",
            ),
        ];
        for (result, message) in table {
            let error = result.as_ref().unwrap_err().to_string();
            assert!(error.ends_with(message), "{error}");
        }
    }

    #[test]
    fn refuses_what_tor_cuts() {
        let line = "x".repeat(Command::MAX_BYTES - 2);
        assert_eq!(Command::raw(&line).unwrap().as_bytes().len(), Command::MAX_BYTES);
        let error = Command::raw(&format!("{line}x")).unwrap_err();
        assert!(matches!(error, Error::CommandTooLong { length, .. } if length == Command::MAX_BYTES + 1));

        let overhead = "+HSPOST\r\n\r\n.\r\n".len();
        let body = vec![b'x'; Command::MAX_BYTES - overhead];
        assert_eq!(
            Command::hs_post(&[], None, &body).unwrap().as_bytes().len(),
            Command::MAX_BYTES
        );
        let body = vec![b'x'; Command::MAX_BYTES - overhead + 1];
        assert!(matches!(
            Command::hs_post(&[], None, &body),
            Err(Error::CommandTooLong { .. })
        ));
    }

    #[test]
    fn secrets_are_not_shown() {
        let password = Password::new("swordfish").unwrap();
        let command = Command::authenticate_password(&password);
        let raw = Command::raw("authenticate \"swordfish\"").unwrap();
        let conf = Command::set_conf(&[("HashedControlPassword", "swordfish")]).unwrap();
        for shown in [
            format!("{conf:?}"),
            format!("{password:?}"),
            format!("{command:?}"),
            format!("{raw:?}"),
        ] {
            assert!(!shown.contains("swordfish"), "{shown}");
        }
        let shown = format!("{:?}", Command::hs_post(&[], None, b"a long body").unwrap());
        assert_eq!(shown, "Command(+HSPOST, 25 bytes)");
    }
}
