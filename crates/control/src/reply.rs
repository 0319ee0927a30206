//! Replies of Tor to single commands.

use data_encoding::{BASE64, BASE64_NOPAD};
use zeroize::Zeroizing;

use crate::codec::Line;
use crate::text::{split_word, unquote};
use crate::words::words;
use crate::{CircuitId, ClientAuth, Error, OnionKey, Reply};

/// An option as `GETCONF` tells it.
///
/// ```
/// use onionweave_control::{ConfValue, Reply};
///
/// let reply = Reply::parse(b"250-Log=notice stdout\r\n250-Log=\"#\\\"\"\r\n250 Nickname\r\n")?;
/// let values = ConfValue::from_reply(reply)?;
/// assert_eq!((values[0].key(), values[0].value()), ("Log", Some("notice stdout")));
/// assert_eq!(values[1].value(), Some("#\""));
/// assert_eq!(values[2].value(), None, "not set");
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ConfValue {
    key: String,
    value: Option<String>,
}

impl ConfValue {
    /// Reads the reply to [`Command::get_conf`](crate::Command::get_conf): the options in the order
    /// of the question, one that is a list several times. A value that Tor quotes is unquoted
    /// (`config_value_needs_escape`, lib/confmgt/confmgt.c:815-836); bytes that are not UTF-8 are
    /// replaced.
    ///
    /// # Errors
    /// [`Error::Rejected`]: 552 if Tor does not know one of the options.
    /// [`Error::UnexpectedReply`].
    pub fn from_reply(reply: Reply) -> Result<Vec<Self>, Error> {
        let reply = reply.into_result("GETCONF")?;
        reply
            .lines()
            .iter()
            .map(|line| Self::from_line(line.text()).ok_or_else(|| unexpected("GETCONF", "KEY or KEY=VALUE", &reply)))
            .collect()
    }

    /// Reads `KEY` or `KEY=VALUE`.
    pub(crate) fn from_line(text: &[u8]) -> Option<Self> {
        let end = text.iter().position(|&byte| byte == b'=').unwrap_or(text.len());
        let (key, value) = text.split_at(end);
        if key.is_empty() || !key.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
            return None;
        }
        let value = match value.strip_prefix(b"=") {
            None => None,
            Some(value) if value.first() == Some(&b'"') => match unquote(value)? {
                (value, b"") => Some(value),
                _ => return None,
            },
            Some(value) => Some(value.to_vec()),
        };
        Some(Self {
            key: String::from_utf8_lossy(key).into_owned(),
            value: value.map(|value| String::from_utf8_lossy(&value).into_owned()),
        })
    }

    /// The option's name, as Tor writes it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Its value; `None` if it has none, or is at its default where that is none.
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }
}

/// Outcome of one pair of `MAPADDRESS`.
///
/// ```
/// use onionweave_control::{AddressMapping, Reply};
///
/// let reply = Reply::parse(b"250-127.192.10.10=torproject.org\r\n512 syntax error: invalid address '@@@'\r\n")?;
/// let [mapped, refused] = &*AddressMapping::from_reply(reply)? else { panic!() };
/// let AddressMapping::Mapped { from, to, .. } = mapped else { panic!() };
/// assert_eq!((&**from, &**to), ("127.192.10.10", "torproject.org"));
/// assert!(matches!(refused, AddressMapping::Refused { code: 512, .. }));
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressMapping {
    /// Accepted: holds from now on.
    #[non_exhaustive]
    Mapped {
        /// The address asked for, or that Tor chose.
        from: String,
        /// Target of requests for it.
        to: String,
    },
    /// Tor refused it.
    #[non_exhaustive]
    Refused {
        /// Tor's status code: 512, or 451 if no unused address is left.
        code: u16,
        /// Tor's text.
        text: String,
    },
}

impl AddressMapping {
    /// Reads the reply to [`Command::map_address`](crate::Command::map_address): one answer for
    /// each pair, in order (feature/control/control_cmd.c:637-711). It is never refused as a whole,
    /// but where its syntax is wrong.
    ///
    /// # Errors
    /// [`Error::UnexpectedReply`] if a line has none of the forms.
    pub fn from_reply(reply: Reply) -> Result<Vec<Self>, Error> {
        let lines = reply.lines().iter().map(|line| {
            let text = line.text_lossy();
            match (line.code(), text.split_once('=')) {
                (250, Some((from, to))) => Ok(Self::Mapped {
                    from: from.to_owned(),
                    to: to.to_owned(),
                }),
                (code @ 400..600, _) => Ok(Self::Refused {
                    code,
                    text: text.into_owned(),
                }),
                _ => Err(unexpected("MAPADDRESS", "ADDRESS=ADDRESS", &reply)),
            }
        });
        lines.collect()
    }
}

impl CircuitId {
    /// Reads the reply to [`Command::extend_circuit`](crate::Command::extend_circuit): the new or
    /// longer circuit.
    ///
    /// # Errors
    /// [`Error::Rejected`]: 552 for a relay, purpose or circuit that Tor does not know, 551 where
    /// it could not begin, as without a network. [`Error::UnexpectedReply`].
    ///
    /// ```
    /// use onionweave_control::{CircuitId, Reply};
    ///
    /// assert_eq!(CircuitId::from_reply(Reply::parse(b"250 EXTENDED 12\r\n")?)?, CircuitId::new(12));
    /// # Ok::<(), onionweave_control::Error>(())
    /// ```
    pub fn from_reply(reply: Reply) -> Result<Self, Error> {
        let reply = reply.into_result("EXTENDCIRCUIT")?;
        let id = match reply.lines() {
            [line] => line.text().strip_prefix(b"EXTENDED "),
            _ => None,
        };
        id.and_then(|id| Self::parse(str::from_utf8(id).ok()?))
            .ok_or_else(|| unexpected("EXTENDCIRCUIT", "EXTENDED and a number", &reply))
    }
}

/// The onion service that `ADD_ONION` made.
///
/// ```
/// use onionweave_control::{OnionAdded, OnionKeyAlgorithm, Reply};
///
/// let reply = Reply::parse(b"250-ServiceID=6r7x5o465oo27s35\r\n250-PrivateKey=RSA1024:YWJj\r\n\
///     250-ClientAuth=bob:cccccccccccccccccccccc\r\n250 OK\r\n")?;
/// let onion = OnionAdded::from_reply(reply)?;
/// assert_eq!(onion.address(), "6r7x5o465oo27s35");
/// assert_eq!(onion.key().unwrap().algorithm(), OnionKeyAlgorithm::Rsa1024);
/// assert_eq!(onion.clients().next(), Some(("bob", "cccccccccccccccccccccc")));
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct OnionAdded {
    address: String,
    key: Option<OnionKey>,
    clients: Vec<(String, Zeroizing<String>)>,
    v3_clients: Vec<String>,
}

impl OnionAdded {
    /// Reads the reply to [`Command::add_onion`](crate::Command::add_onion). Lines that are not
    /// known are ignored.
    ///
    /// # Errors
    /// [`Error::Rejected`]: 550 if Tor has this service already, 512, 513, 551.
    /// [`Error::UnexpectedReply`] without an address, or for a key or client of another form; it
    /// does not show them.
    pub fn from_reply(reply: Reply) -> Result<Self, Error> {
        let reply = reply.into_result("ADD_ONION")?;
        // The reply holds secrets, so it is not shown.
        let unexpected = |problem: &str| Error::UnexpectedReply {
            command: "ADD_ONION".to_owned(),
            problem: problem.to_owned(),
        };
        let mut added = Self {
            address: String::new(),
            key: None,
            clients: Vec::new(),
            v3_clients: Vec::new(),
        };
        for line in reply.lines() {
            let text = str::from_utf8(line.text()).map_err(|_| unexpected("a line is not UTF-8"))?;
            match text.split_once('=') {
                Some(("ServiceID", address)) => added.address = address.to_owned(),
                Some(("PrivateKey", key)) => {
                    let key = key.parse().map_err(|_| unexpected("the key is not ALGORITHM:BASE64"))?;
                    added.key = Some(key);
                }
                Some(("ClientAuth", client)) => {
                    let (name, cookie) = client
                        .split_once(':')
                        .ok_or_else(|| unexpected("a client is not NAME:COOKIE"))?;
                    added.clients.push((name.to_owned(), Zeroizing::new(cookie.to_owned())));
                }
                Some(("ClientAuthV3", key)) => added.v3_clients.push(key.to_owned()),
                _ => {}
            }
        }
        if added.address.is_empty() {
            return Err(unexpected("expected a ServiceID"));
        }
        Ok(added)
    }

    /// The service's address without `.onion`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its key, if Tor made it and was not told to discard it.
    pub fn key(&self) -> Option<&OnionKey> {
        self.key.as_ref()
    }

    /// The v2 clients whose cookies Tor made, by name, with the cookie in its 22-character form.
    pub fn clients(&self) -> impl Iterator<Item = (&str, &str)> {
        self.clients
            .iter()
            .map(|(name, cookie)| (name.as_str(), cookie.as_str()))
    }

    /// The public keys of the v3 clients that may come.
    pub fn v3_clients(&self) -> impl Iterator<Item = &str> {
        self.v3_clients.iter().map(String::as_str)
    }
}

impl std::fmt::Debug for OnionAdded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let clients: Vec<_> = self.clients.iter().map(|(name, _)| name).collect();
        f.debug_struct("OnionAdded")
            .field("address", &self.address)
            .field("key", &self.key)
            .field("clients", &clients)
            .field("v3_clients", &self.v3_clients)
            .finish()
    }
}

words! {
    /// Outcome of `ONION_CLIENT_AUTH_ADD` (feature/control/control_hs.c:149-172).
    ///
    /// ```
    /// use onionweave_control::{ClientAuthAdded, Reply};
    ///
    /// let reply = Reply::parse(b"251 Client for onion existed and replaced\r\n")?;
    /// assert_eq!(ClientAuthAdded::from_reply(reply)?, ClientAuthAdded::Replaced);
    /// # Ok::<(), onionweave_control::Error>(())
    /// ```
    pub enum ClientAuthAdded else Other {
        /// Tor has the key.
        Added = "250",
        /// Tor has it instead of another one.
        Replaced = "251",
        /// Tor has it, and could read with it a descriptor that it had.
        Decrypted = "252",
    }
}

impl ClientAuthAdded {
    /// Reads the reply to
    /// [`Command::onion_client_auth_add`](crate::Command::onion_client_auth_add).
    ///
    /// # Errors
    /// [`Error::Rejected`]: 553 where a permanent key can't be stored. [`Error::UnexpectedReply`]
    /// for several lines.
    pub fn from_reply(reply: Reply) -> Result<Self, Error> {
        let reply = reply.into_result("ONION_CLIENT_AUTH_ADD")?;
        match reply.lines() {
            [line] => Ok(Self::from_word(&line.code().to_string())),
            _ => Err(unexpected("ONION_CLIENT_AUTH_ADD", "one line", &reply)),
        }
    }
}

impl ClientAuth {
    /// Reads the reply to
    /// [`Command::onion_client_auth_view`](crate::Command::onion_client_auth_view)
    /// (feature/control/control_hs.c:238-360).
    ///
    /// # Errors
    /// [`Error::Rejected`]; [`Error::UnexpectedReply`] if a line has another form, which is not
    /// shown.
    ///
    /// ```
    /// use onionweave_control::{ClientAuth, Reply};
    ///
    /// let wire = "250-ONION_CLIENT_AUTH_VIEW\r\n250-CLIENT \
    ///     vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd \
    ///     x25519:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc= Flags=Permanent ClientName=alice\r\n250 OK\r\n";
    /// let clients = ClientAuth::from_reply(Reply::parse(wire.as_bytes())?)?;
    /// assert_eq!(clients[0].key(), &[7; 32]);
    /// assert_eq!(clients[0].name(), Some("alice"));
    /// # Ok::<(), onionweave_control::Error>(())
    /// ```
    pub fn from_reply(reply: Reply) -> Result<Vec<Self>, Error> {
        let reply = reply.into_result("ONION_CLIENT_AUTH_VIEW")?;
        let unexpected = |problem: &str| Error::UnexpectedReply {
            command: "ONION_CLIENT_AUTH_VIEW".to_owned(),
            problem: problem.to_owned(),
        };
        let lines = match reply.lines() {
            [first, lines @ .., last] if is_view(first) && last.text() == b"OK" => lines,
            _ => return Err(unexpected("expected ONION_CLIENT_AUTH_VIEW, clients and OK")),
        };
        let clients = lines.iter().map(|line| Self::from_line(line.text()));
        let clients: Option<Vec<_>> = clients.collect();
        clients.ok_or_else(|| unexpected("a line is not CLIENT, an address and an x25519 key"))
    }

    fn from_line(text: &[u8]) -> Option<Self> {
        let (b"CLIENT", rest) = split_word(text)? else {
            return None;
        };
        let (address, rest) = split_word(rest)?;
        let (key, rest) = split_word(rest).unwrap_or_default();
        let key = key.strip_prefix(b"x25519:")?;
        let key = BASE64.decode(key).or_else(|_| BASE64_NOPAD.decode(key)).ok()?;
        let mut client = Self {
            address: str::from_utf8(address).ok()?.to_owned(),
            key: Zeroizing::new(Zeroizing::new(key).as_slice().try_into().ok()?),
            name: None,
            permanent: false,
        };
        let mut rest = str::from_utf8(rest).ok()?;
        while !rest.is_empty() {
            // A name may be a file's and hold spaces; Tor writes it last and does not quote it.
            if let Some(name) = rest.strip_prefix("ClientName=") {
                client.name = Some(name.to_owned());
                break;
            }
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            if let Some(flags) = word.strip_prefix("Flags=") {
                client.permanent = flags.split(',').any(|flag| flag == "Permanent");
            }
            rest = after;
        }
        Some(client)
    }
}

fn is_view(line: &Line) -> bool {
    split_word(line.text()).is_some_and(|(word, _)| word == b"ONION_CLIENT_AUTH_VIEW")
}

pub(crate) fn unexpected(command: &str, expected: &str, reply: &Reply) -> Error {
    Error::UnexpectedReply {
        command: command.to_owned(),
        problem: format!("expected {expected}, got {:?}", reply.text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(lines: &[&str]) -> Reply {
        Reply::parse((lines.join("\r\n") + "\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn options() {
        let values = ConfValue::from_reply(reply(&[
            "250-SocksPort=9050 IsolateDestAddr",
            r#"250-ContactInfo="with \"quotes\" and \303\244""#,
            "250-Log=",
            "250 HashedControlPassword",
        ]));
        let found: Vec<_> = values
            .unwrap()
            .into_iter()
            .map(|value| (value.key, value.value))
            .collect();
        let pair = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
        assert_eq!(
            found,
            [
                pair("SocksPort", Some("9050 IsolateDestAddr")),
                pair("ContactInfo", Some("with \"quotes\" and ä")),
                pair("Log", Some("")),
                pair("HashedControlPassword", None),
            ]
        );
        for bad in ["250 =a", "250 a b=c", "250 a=\"b", "250 a=\"b\"c"] {
            let error = ConfValue::from_reply(reply(&[bad])).unwrap_err();
            assert!(matches!(error, Error::UnexpectedReply { .. }), "{bad}: {error}");
        }
        let error = ConfValue::from_reply(reply(&["552 Unrecognized configuration key \"a\""])).unwrap_err();
        assert!(matches!(error, Error::Rejected { code: 552, .. }), "{error}");
    }

    #[test]
    fn mappings() {
        let mappings = AddressMapping::from_reply(reply(&[
            "250-1.2.3.4=a=b",
            "451-resource exhausted: skipping '.=c'",
            "250 x=y",
        ]));
        let mappings = mappings.unwrap();
        assert_eq!(mappings.len(), 3);
        assert!(matches!(&mappings[0], AddressMapping::Mapped { to, .. } if to == "a=b"));
        assert!(matches!(&mappings[1], AddressMapping::Refused { code: 451, .. }));
        for bad in ["250 OK", "650 a=b"] {
            let bad = format!("{bad}\r\n");
            let Ok(reply) = Reply::parse(bad.as_bytes()) else {
                continue;
            };
            assert!(AddressMapping::from_reply(reply).is_err(), "{bad}");
        }
    }

    #[test]
    fn circuits() {
        for (line, id) in [
            ("250 EXTENDED 4294967295", Some(u32::MAX)),
            ("250 EXTENDED 4294967296", None),
            ("250 EXTENDED +1", None),
            ("250 EXTENDED", None),
            ("250 EXTENDED ", None),
            ("250 OK", None),
        ] {
            let found = CircuitId::from_reply(reply(&[line])).ok();
            assert_eq!(found, id.map(CircuitId::new), "{line}");
        }
        assert!(CircuitId::from_reply(reply(&["250-EXTENDED 1", "250 OK"])).is_err());
    }

    #[test]
    fn onions() {
        let onion = OnionAdded::from_reply(reply(&["250-ServiceID=abc", "250-Colour=green", "250 OK"])).unwrap();
        assert_eq!((onion.address(), onion.key()), ("abc", None));
        let onion = OnionAdded::from_reply(reply(&[
            "250-ServiceID=abc",
            "250-PrivateKey=ED25519-V3:c3dvcmRmaXNo",
            "250-ClientAuth=bob:swordfish",
            "250-ClientAuthV3=PUBLIC",
            "250 OK",
        ]));
        let onion = onion.unwrap();
        assert_eq!(onion.key().unwrap().blob(), "c3dvcmRmaXNo");
        assert_eq!(onion.v3_clients().collect::<Vec<_>>(), ["PUBLIC"]);
        let shown = format!("{onion:?}");
        assert!(shown.contains("bob") && shown.contains("ED25519-V3"), "{shown}");
        assert!(!shown.contains("swordfish") && !shown.contains("c3dv"), "{shown}");
        for bad in [
            &["250 OK"][..],
            &["250-ServiceID=abc", "250-PrivateKey=swordfish", "250 OK"],
            &["250-ServiceID=abc", "250-PrivateKey=A:sword fish", "250 OK"],
            &["250-ServiceID=abc", "250-ClientAuth=swordfish", "250 OK"],
        ] {
            let error = OnionAdded::from_reply(reply(bad)).unwrap_err().to_string();
            assert!(
                error.contains("unexpected reply") && !error.contains("sword"),
                "{error}"
            );
        }
    }

    #[test]
    fn clients_of_onion_services() {
        const ADDRESS: &str = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd";
        let key = BASE64.encode(&[9; 32]);
        let lines = [
            format!("250-ONION_CLIENT_AUTH_VIEW {ADDRESS}"),
            format!("250-CLIENT {ADDRESS} x25519:{key}"),
            format!(
                "250-CLIENT {ADDRESS} x25519:{} New=thing Flags=Other,Permanent",
                key.trim_end_matches('=')
            ),
            format!("250-CLIENT {ADDRESS} x25519:{key} Flags=Permanent ClientName=a name with Flags=None"),
            "250 OK".to_owned(),
        ];
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let clients = ClientAuth::from_reply(reply(&lines)).unwrap();
        assert_eq!(clients.len(), 3);
        assert!(
            clients
                .iter()
                .all(|client| client.address() == ADDRESS && client.key() == &[9; 32])
        );
        let rest: Vec<_> = clients
            .iter()
            .map(|client| (client.name(), client.is_permanent()))
            .collect();
        assert_eq!(
            rest,
            [(None, false), (None, true), (Some("a name with Flags=None"), true)]
        );
        assert!(!format!("{clients:?}").contains('9'));

        assert_eq!(
            ClientAuth::from_reply(reply(&["250-ONION_CLIENT_AUTH_VIEW", "250 OK"])).unwrap(),
            []
        );
        for bad in [
            &["250 OK"][..],
            &["250-ONION_CLIENT_AUTH_VIEW", "250 NO"],
            &["250-ONION_CLIENT_AUTH_VIEW", "250-CLIENT a", "250 OK"],
            &["250-ONION_CLIENT_AUTH_VIEW", "250-CLIENT a x25519:AAAA", "250 OK"],
            &["250-ONION_CLIENT_AUTH_VIEW", "250-CLIENT a x448:AAAA", "250 OK"],
            &["250-ONION_CLIENT_AUTH_VIEW", "250-SERVER a x25519:AAAA", "250 OK"],
        ] {
            assert!(ClientAuth::from_reply(reply(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn added_clients() {
        for (line, expected) in [
            ("250 OK", ClientAuthAdded::Added),
            ("252 Registered client and decrypted desc", ClientAuthAdded::Decrypted),
            ("253 Something", ClientAuthAdded::Other("253".to_owned())),
        ] {
            assert_eq!(ClientAuthAdded::from_reply(reply(&[line])).unwrap(), expected);
        }
        assert!(ClientAuthAdded::from_reply(reply(&["553 Unable to store creds"])).is_err());
    }
}
