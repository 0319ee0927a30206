//! Commands, checked and written out.
//!
//! A [`Command`] can only be built from arguments that stay within their line: a CR, LF or NUL in
//! one is an [`Error::Argument`], so nobody's input becomes another command. The formats are those
//! of control-spec section 3.

use std::borrow::Cow;
use std::fmt;

use zeroize::Zeroizing;

use self::line::Line;
use crate::{ArgumentProblem, Error};

pub use self::circuit::{CircuitUse, ExtendCircuit, StreamCloseReason};
pub use self::descriptors::{HsFetch, RouterPurpose};
pub use self::event_kind::EventKind;
pub use self::onion::{AddOnion, ClientAuth, OnionKey, OnionKeyAlgorithm};
pub use self::signal::Signal;

pub(crate) use self::line::forbidden;

mod address;
mod auth;
mod circuit;
mod config;
mod descriptors;
mod event_kind;
mod line;
mod onion;
mod signal;

/// A command with its body, ready to be sent.
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

    /// `TAKEOWNERSHIP`: Tor exits when this connection ends (feature/control/control_cmd.c:500-514,
    /// control.c:220-257).
    pub fn take_ownership() -> Self {
        Self::fixed("TAKEOWNERSHIP", "TAKEOWNERSHIP\r\n")
    }

    /// `DROPOWNERSHIP`: takes `TAKEOWNERSHIP` back.
    ///
    /// ```
    /// use onionweave_control::Command;
    ///
    /// assert_eq!(Command::drop_ownership().as_bytes(), b"DROPOWNERSHIP\r\n");
    /// ```
    pub fn drop_ownership() -> Self {
        Self::fixed("DROPOWNERSHIP", "DROPOWNERSHIP\r\n")
    }

    /// `DROPGUARDS`: forgets all entry guards and chooses new ones. Doing so often makes users
    /// traceable, as Tor warns in its log (feature/control/control_cmd.c:1382-1402).
    ///
    /// ```
    /// use onionweave_control::Command;
    ///
    /// assert_eq!(Command::drop_guards().as_bytes(), b"DROPGUARDS\r\n");
    /// ```
    pub fn drop_guards() -> Self {
        Self::fixed("DROPGUARDS", "DROPGUARDS\r\n")
    }

    /// `DROPTIMEOUTS`: forgets how long circuits took to be built; a `BUILDTIMEOUT_SET RESET`
    /// follows (feature/control/control_cmd.c:1409-1430).
    ///
    /// ```
    /// use onionweave_control::Command;
    ///
    /// assert_eq!(Command::drop_timeouts().as_bytes(), b"DROPTIMEOUTS\r\n");
    /// ```
    pub fn drop_timeouts() -> Self {
        Self::fixed("DROPTIMEOUTS", "DROPTIMEOUTS\r\n")
    }

    /// `USEFEATURE`. Both features that C Tor knows, `VERBOSE_NAMES` and `EXTENDED_EVENTS`, are
    /// always on (feature/control/control_cmd.c:1351-1378).
    ///
    /// # Errors
    /// [`Error::Argument`] for a feature that is not one word; [`Error::CommandTooLong`].
    ///
    /// ```
    /// use onionweave_control::Command;
    ///
    /// assert_eq!(Command::use_feature(&["VERBOSE_NAMES"])?.as_bytes(), b"USEFEATURE VERBOSE_NAMES\r\n");
    /// # Ok::<(), onionweave_control::Error>(())
    /// ```
    pub fn use_feature(features: &[&str]) -> Result<Self, Error> {
        let mut line = Line::new("USEFEATURE");
        for feature in features {
            line.word("feature", feature)?;
        }
        line.end()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Cookie;
    use crate::{CircuitId, Password, StreamId};

    const ID: &str = "lhrcprndbm75osvtwkzuo5pdj7666cz7";
    const V3: &str = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd";

    const EVERYTHING: &str = "ADD_ONION RSA1024:YWJj Flags=DiscardPK,Detach,NonAnonymous,MaxStreamsCloseCircuit,BasicAuth,V3Auth \
        MaxStreams=5 Port=80 Port=81,unix:/s ClientAuth=a:cccccccccccccccccccccA ClientAuth=b ClientAuthV3=dddddddddddddddddddddddddddddddddddddddddddddddddddd \
        PoWDefensesEnabled=1 PoWQueueRate=6 PoWQueueBurst=7\r\n";

    fn everything() -> AddOnion {
        AddOnion::with_key("RSA1024:YWJj".parse().unwrap())
            .discard_key()
            .detach()
            .detach()
            .non_anonymous()
            .close_circuit_at_max_streams()
            .max_streams(5)
            .port(80)
            .port_to(81, "unix:/s")
            .basic_client("a", Some(("c".repeat(21) + "A").into()))
            .basic_client("b", None)
            .v3_client("d".repeat(52))
            .pow_defenses(true)
            .pow_queue_rate(6)
            .pow_queue_burst(7)
    }

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
            (Command::get_conf(&["A"]), "GETCONF A\r\n"),
            (Command::load_conf("A 1\n.\n"), "+LOADCONF\r\nA 1\r\n..\r\n.\r\n"),
            (Ok(Command::save_conf(false)), "SAVECONF\r\n"),
            (
                Command::map_address(&[("0.0.0.0", "a.onion"), ("b", "c=d")]),
                "MAPADDRESS 0.0.0.0=a.onion b=c=d\r\n",
            ),
            (Command::resolve(&["a", "b"], false), "RESOLVE a b\r\n"),
            (Command::extend_circuit(&ExtendCircuit::new()), "EXTENDCIRCUIT 0\r\n"),
            (
                Command::extend_circuit(&ExtendCircuit::existing(CircuitId::new(7)).hop([1; 20]).hop([1; 20])),
                &format!("EXTENDCIRCUIT 7 ${one},${one}\r\n"),
            ),
            (
                Command::set_circuit_purpose(CircuitId::new(7), &CircuitUse::General),
                "SETCIRCUITPURPOSE 7 purpose=general\r\n",
            ),
            (
                Ok(Command::close_circuit(CircuitId::new(7), false)),
                "CLOSECIRCUIT 7\r\n",
            ),
            (
                Ok(Command::attach_stream(StreamId::new(9), None, None)),
                "ATTACHSTREAM 9 0\r\n",
            ),
            (
                Command::redirect_stream(StreamId::new(9), "a", None),
                "REDIRECTSTREAM 9 a\r\n",
            ),
            (
                Ok(Command::close_stream(StreamId::new(9), StreamCloseReason::NotDirectory)),
                "CLOSESTREAM 9 14\r\n",
            ),
            (
                Command::post_descriptor(b"a", None, false),
                "+POSTDESCRIPTOR\r\na\r\n.\r\n",
            ),
            (Command::add_onion(&everything()), EVERYTHING),
            (
                Command::add_onion(&AddOnion::new_key(OnionKeyAlgorithm::Best).port(1)),
                "ADD_ONION NEW:BEST Port=1\r\n",
            ),
            (Command::del_onion(V3), &format!("DEL_ONION {V3}\r\n")),
            (
                ClientAuth::new(V3, [1; 32]).and_then(|client| Command::onion_client_auth_add(&client)),
                &format!("ONION_CLIENT_AUTH_ADD {V3} x25519:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\r\n"),
            ),
            (
                Command::onion_client_auth_remove(V3),
                &format!("ONION_CLIENT_AUTH_REMOVE {V3}\r\n"),
            ),
            (
                Command::onion_client_auth_view(Some(V3)),
                &format!("ONION_CLIENT_AUTH_VIEW {V3}\r\n"),
            ),
            (Command::use_feature(&["A", "B"]), "USEFEATURE A B\r\n"),
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
                Command::get_conf(&[bad]),
                Command::map_address(&[(bad, "a")]),
                Command::map_address(&[("a", bad)]),
                Command::resolve(&[bad], false),
                Command::extend_circuit(&ExtendCircuit::new().purpose(CircuitUse::Other(bad.to_owned()))),
                Command::set_circuit_purpose(CircuitId::new(1), &CircuitUse::Other(bad.to_owned())),
                Command::redirect_stream(StreamId::new(1), bad, None),
                Command::post_descriptor(b"a", Some(&RouterPurpose::Other(bad.to_owned())), false),
                Command::add_onion(&AddOnion::new_key(OnionKeyAlgorithm::Other(bad.to_owned())).port(1)),
                Command::add_onion(&everything().port_to(1, bad)),
                Command::add_onion(&everything().basic_client(bad, None)),
                Command::add_onion(&everything().basic_client("c", Some(bad.to_owned().into()))),
                Command::add_onion(&everything().v3_client(bad)),
                Command::del_onion(bad),
                ClientAuth::new(bad, [1; 32]).and_then(|client| Command::onion_client_auth_add(&client)),
                ClientAuth::new(V3, [1; 32])
                    .and_then(|client| client.named(bad))
                    .and_then(|client| Command::onion_client_auth_add(&client)),
                bad.parse()
                    .and_then(|key| Command::add_onion(&AddOnion::with_key(key).port(1))),
                Command::onion_client_auth_remove(bad),
                Command::onion_client_auth_view(Some(bad)),
                Command::use_feature(&[bad]),
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
            (Command::get_conf(&[]), "GETCONF: the list of options is empty"),
            (Command::load_conf(""), "+LOADCONF: the body is empty"),
            (Command::map_address(&[]), "MAPADDRESS: the list of addresses is empty"),
            (
                Command::map_address(&[("a=b", "c")]),
                "MAPADDRESS: the address holds '=' or '\"'",
            ),
            (
                Command::resolve(&["mode=x"], false),
                "RESOLVE: the address holds '=' or '\"'",
            ),
            (
                Command::redirect_stream(StreamId::new(1), "a", Some(0)),
                "REDIRECTSTREAM: the port is 0",
            ),
            (
                Command::redirect_stream(StreamId::new(1), "", None),
                "REDIRECTSTREAM: the address is empty",
            ),
            (
                Command::add_onion(&AddOnion::new_key(OnionKeyAlgorithm::Best)),
                "ADD_ONION: the list of ports is empty",
            ),
            (
                Command::add_onion(&everything().port_to(1, "a b")),
                "ADD_ONION: the target holds spaces or control characters",
            ),
            (
                Command::add_onion(&everything().basic_client("a".repeat(17), None)),
                "ADD_ONION: the client's name is not 1 to 16 letters, digits, '+', '-' and '_'",
            ),
            (
                Command::add_onion(&everything().basic_client("a", Some("c".repeat(22).into()))),
                "ADD_ONION: the client's cookie is not 22 characters of base64 for basic or stealth authorization",
            ),
            (
                Command::add_onion(&everything().v3_client("d".repeat(51))),
                "ADD_ONION: the client's key is not 52 characters of base32",
            ),
            (
                Command::onion_client_auth_view(Some("a")),
                "ONION_CLIENT_AUTH_VIEW: the address is not 56 characters of lower-case base32",
            ),
            (
                ClientAuth::new(V3, [0; 32]).and_then(|client| Command::onion_client_auth_add(&client)),
                "ONION_CLIENT_AUTH_ADD: the key is all zero",
            ),
            (
                ClientAuth::new(V3, [1; 32])
                    .and_then(|client| client.named("longer than sixteen"))
                    .and_then(|client| Command::onion_client_auth_add(&client)),
                "ONION_CLIENT_AUTH_ADD: the client's name is not 1 to 16 letters, digits, '+', '-' and '_'",
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
        let onion = everything().basic_client("bob", Some("swordfishswordfish000A".to_owned().into()));
        let auth = ClientAuth::new(V3, *b"swordfishswordfishswordfishsword").unwrap();
        for shown in [
            format!("{onion:?}"),
            format!("{:?}", Command::add_onion(&onion)),
            format!("{auth:?}"),
            format!("{:?}", Command::onion_client_auth_add(&auth)),
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
