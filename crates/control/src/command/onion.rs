//! `ADD_ONION`, `DEL_ONION`, `ONION_CLIENT_AUTH_*`: control-spec sections 3.27, 3.28, 3.30 to 3.32.

use std::fmt;

use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::Command;
use super::line::{Line, is_base32};
use crate::words::words;
use crate::{ArgumentProblem, Error};

/// `REND_CLIENTNAME_MAX_LEN`, core/or/or.h:396.
const MAX_CLIENT_NAME: usize = 16;

impl Command {
    /// `ADD_ONION`: makes an onion service. Read the reply with
    /// [`OnionAdded::from_reply`](crate::OnionAdded::from_reply).
    ///
    /// # Errors
    /// [`Error::Argument`] without a port, or for a target, name, cookie or key of another form;
    /// [`Error::CommandTooLong`].
    pub fn add_onion(onion: &AddOnion) -> Result<Self, Error> {
        // The longest key has about 900 characters; a client's line less than 100.
        let room = 2048 + onion.clients.len() * 128 + onion.v3_clients.len() * 128 + onion.ports.len() * 256;
        let mut line = Line::with_room("ADD_ONION", room);
        line.word("key", &onion.key.to_text())?;

        let mut flags = onion.flags.clone();
        if !onion.clients.is_empty() {
            flags.push("BasicAuth");
        }
        if !onion.v3_clients.is_empty() {
            flags.push("V3Auth");
        }
        if !flags.is_empty() {
            line.key_value("Flags", &flags.join(","));
        }
        if let Some(streams) = onion.max_streams {
            line.key_value("MaxStreams", &streams.to_string());
        }
        if onion.ports.is_empty() {
            return Err(line.refuse("list of ports", ArgumentProblem::Empty));
        }
        for (port, target) in &onion.ports {
            let value = match target {
                Some(target) => format!("{port},{target}"),
                None => port.to_string(),
            };
            line.word_value("target", "Port", &value)?;
        }
        for (name, cookie) in &onion.clients {
            if !is_client_name(name) {
                return Err(line.refuse("client's name", CLIENT_NAME));
            }
            // Tor's refusal would show it.
            if cookie.as_ref().is_some_and(|cookie| !is_cookie(cookie)) {
                return Err(line.refuse(
                    "client's cookie",
                    ArgumentProblem::Form("is not 22 characters of base64 for basic or stealth authorization"),
                ));
            }
            let value = match cookie {
                Some(cookie) => Zeroizing::new(format!("{name}:{}", **cookie)),
                None => Zeroizing::new(name.clone()),
            };
            line.word_value("client's cookie", "ClientAuth", &value)?;
        }
        for key in &onion.v3_clients {
            if key.len() != 52 || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(line.refuse("client's key", ArgumentProblem::Form("is not 52 characters of base32")));
            }
            line.key_value("ClientAuthV3", key);
        }
        if let Some(enabled) = onion.pow_defenses {
            line.key_value("PoWDefensesEnabled", if enabled { "1" } else { "0" });
        }
        if let Some(rate) = onion.pow_queue_rate {
            line.key_value("PoWQueueRate", &rate.to_string());
        }
        if let Some(burst) = onion.pow_queue_burst {
            line.key_value("PoWQueueBurst", &burst.to_string());
        }
        line.end()
    }

    /// `DEL_ONION`: ends a service that this connection made, or that was made with
    /// [`AddOnion::detach`].
    ///
    /// # Errors
    /// [`Error::Argument`] for an address of another form than 16 (v2) or 56 (v3) characters of
    /// lower-case base32, with or without `.onion`.
    ///
    /// ```
    /// use onionweave_control::Command;
    ///
    /// assert_eq!(Command::del_onion("6r7x5o465oo27s35.onion")?.as_bytes(), b"DEL_ONION 6r7x5o465oo27s35\r\n");
    /// # Ok::<(), onionweave_control::Error>(())
    /// ```
    pub fn del_onion(address: &str) -> Result<Self, Error> {
        let mut line = Line::new("DEL_ONION");
        let id = address.strip_suffix(".onion").unwrap_or(address);
        line.check_word("address", id)?;
        if !is_base32(id, 16) && !is_base32(id, 56) {
            return Err(line.refuse(
                "address",
                ArgumentProblem::Form("is not 16 or 56 characters of lower-case base32"),
            ));
        }
        line.word("address", id)?;
        line.end()
    }

    /// `ONION_CLIENT_AUTH_ADD`: gives Tor as a client the key for a v3 service. Read the reply with
    /// [`ClientAuthAdded::from_reply`](crate::ClientAuthAdded::from_reply).
    ///
    /// A name of more than 16 characters would bring two replies, and the key be taken nonetheless
    /// (feature/control/control_hs.c:137-143); [`ClientAuth`] has none.
    ///
    /// # Errors
    /// [`Error::CommandTooLong`]; never with what [`ClientAuth`] holds.
    pub fn onion_client_auth_add(client: &ClientAuth) -> Result<Self, Error> {
        let mut line = Line::with_room("ONION_CLIENT_AUTH_ADD", 512);
        line.word("address", &client.address)?;
        let key = Zeroizing::new(BASE64.encode(&*client.key));
        line.word("key", &Zeroizing::new(format!("x25519:{}", *key)))?;
        if let Some(name) = &client.name {
            line.word_value("client's name", "ClientName", name)?;
        }
        if client.permanent {
            line.key_value("Flags", "Permanent");
        }
        line.end()
    }

    /// `ONION_CLIENT_AUTH_REMOVE`: takes the key for a v3 service away.
    ///
    /// # Errors
    /// [`Error::Argument`] for an address of another form than 56 characters of lower-case base32,
    /// with or without `.onion`.
    ///
    /// ```
    /// use onionweave_control::Command;
    ///
    /// assert!(Command::onion_client_auth_remove("6r7x5o465oo27s35.onion").is_err(), "no v3 address");
    /// ```
    pub fn onion_client_auth_remove(address: &str) -> Result<Self, Error> {
        let mut line = Line::new("ONION_CLIENT_AUTH_REMOVE");
        line.v3_address(address)?;
        line.end()
    }

    /// `ONION_CLIENT_AUTH_VIEW`: asks for the keys that Tor as a client has for this v3 service, or
    /// for all. Read the reply with [`ClientAuth::from_reply`].
    ///
    /// # Errors
    /// As [`onion_client_auth_remove`](Self::onion_client_auth_remove).
    ///
    /// ```
    /// use onionweave_control::Command;
    ///
    /// assert_eq!(Command::onion_client_auth_view(None)?.as_bytes(), b"ONION_CLIENT_AUTH_VIEW\r\n");
    /// # Ok::<(), onionweave_control::Error>(())
    /// ```
    pub fn onion_client_auth_view(address: Option<&str>) -> Result<Self, Error> {
        let mut line = Line::new("ONION_CLIENT_AUTH_VIEW");
        if let Some(address) = address {
            line.v3_address(address)?;
        }
        line.end()
    }
}

impl Line {
    fn v3_address(&mut self, address: &str) -> Result<(), Error> {
        let id = address.strip_suffix(".onion").unwrap_or(address);
        self.check_word("address", id)?;
        if !is_base32(id, 56) {
            return Err(self.refuse("address", V3_ADDRESS));
        }
        self.word("address", id)
    }
}

const V3_ADDRESS: ArgumentProblem = ArgumentProblem::Form("is not 56 characters of lower-case base32");
const CLIENT_NAME: ArgumentProblem = ArgumentProblem::Form("is not 1 to 16 letters, digits, '+', '-' and '_'");

/// `rend_valid_client_name`, feature/rend/rendcommon.c:757-768.
fn is_client_name(name: &str) -> bool {
    (1..=MAX_CLIENT_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'_'))
}

/// `rend_auth_decode_cookie`, feature/rend/rendcommon.c:927-986: sixteen bytes and one with the
/// kind of authorization in its upper half, in base64 without the last two characters, which are
/// always the same.
fn is_cookie(text: &str) -> bool {
    let padded = Zeroizing::new(format!("{text}A="));
    let decoded = BASE64.decode(padded.as_bytes()).map(Zeroizing::new);
    decoded.is_ok_and(|decoded| text.len() == 22 && decoded.last().is_some_and(|kind| kind >> 4 <= 1))
}

/// The onion service that `ADD_ONION` makes.
///
/// ```
/// use onionweave_control::{AddOnion, Command, OnionKeyAlgorithm};
///
/// let onion = AddOnion::new_key(OnionKeyAlgorithm::Ed25519V3)
///     .port(80)
///     .port_to(22, "127.0.0.1:2222")
///     .discard_key()
///     .detach();
/// assert_eq!(
///     Command::add_onion(&onion)?.as_bytes(),
///     b"ADD_ONION NEW:ED25519-V3 Flags=DiscardPK,Detach Port=80 Port=22,127.0.0.1:2222\r\n",
/// );
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone)]
pub struct AddOnion {
    key: OnionKey,
    ports: Vec<(u16, Option<String>)>,
    flags: Vec<&'static str>,
    max_streams: Option<u16>,
    clients: Vec<(String, Option<Zeroizing<String>>)>,
    v3_clients: Vec<String>,
    pow_defenses: Option<bool>,
    pow_queue_rate: Option<u32>,
    pow_queue_burst: Option<u32>,
}

impl AddOnion {
    /// A service with a new key, which Tor makes and tells.
    pub fn new_key(algorithm: OnionKeyAlgorithm) -> Self {
        Self::with_key(OnionKey {
            algorithm: "NEW".to_owned(),
            blob: Zeroizing::new(algorithm.as_str().to_owned()),
        })
    }

    /// A service with this key.
    pub fn with_key(key: OnionKey) -> Self {
        Self {
            key,
            ports: Vec::new(),
            flags: Vec::new(),
            max_streams: None,
            clients: Vec::new(),
            v3_clients: Vec::new(),
            pow_defenses: None,
            pow_queue_rate: None,
            pow_queue_burst: None,
        }
    }

    /// Adds a port that leads to the same port on 127.0.0.1.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.ports.push((port, None));
        self
    }

    /// Adds a port that leads to a target: a port, `ADDRESS:PORT`, or `unix:PATH` without spaces.
    #[must_use]
    pub fn port_to(mut self, port: u16, target: impl Into<String>) -> Self {
        self.ports.push((port, Some(target.into())));
        self
    }

    /// Tor does not tell the new key: nobody will know it.
    #[must_use]
    pub fn discard_key(self) -> Self {
        self.flag("DiscardPK")
    }

    /// The service outlives this connection.
    #[must_use]
    pub fn detach(self) -> Self {
        self.flag("Detach")
    }

    /// A service that is not hidden, for a Tor with `HiddenServiceNonAnonymousMode 1`.
    #[must_use]
    pub fn non_anonymous(self) -> Self {
        self.flag("NonAnonymous")
    }

    /// At most this many streams on one rendezvous circuit; 0, the default, for any number.
    #[must_use]
    pub fn max_streams(self, streams: u16) -> Self {
        Self {
            max_streams: Some(streams),
            ..self
        }
    }

    /// A circuit with too many streams is closed, instead of the stream refused.
    #[must_use]
    pub fn close_circuit_at_max_streams(self) -> Self {
        self.flag("MaxStreamsCloseCircuit")
    }

    /// Only authorized clients may come, this one among them: v2 with authorization `basic`, tor
    /// 0.4.5. Without a cookie in its 22-character form, Tor makes one and tells it. A name has 1
    /// to 16 letters, digits, `+`, `-` and `_`.
    #[must_use]
    pub fn basic_client(mut self, name: impl Into<String>, cookie: Option<Zeroizing<String>>) -> Self {
        self.clients.push((name.into(), cookie));
        self
    }

    /// Only authorized clients may come, the one with this x25519 public key among them, in 52
    /// characters of base32: v3, from tor 0.4.6 on.
    #[must_use]
    pub fn v3_client(mut self, public_key: impl Into<String>) -> Self {
        self.v3_clients.push(public_key.into());
        self
    }

    /// Whether clients are asked for a proof of work: v3, tor 0.4.9.
    #[must_use]
    pub fn pow_defenses(self, enabled: bool) -> Self {
        Self {
            pow_defenses: Some(enabled),
            ..self
        }
    }

    /// Number of requests per second that are taken from the queue of proofs of work; tor 0.4.9.
    #[must_use]
    pub fn pow_queue_rate(self, rate: u32) -> Self {
        Self {
            pow_queue_rate: Some(rate),
            ..self
        }
    }

    /// Number of requests that may be taken at once; tor 0.4.9.
    #[must_use]
    pub fn pow_queue_burst(self, burst: u32) -> Self {
        Self {
            pow_queue_burst: Some(burst),
            ..self
        }
    }

    fn flag(mut self, flag: &'static str) -> Self {
        if !self.flags.contains(&flag) {
            self.flags.push(flag);
        }
        self
    }
}

impl fmt::Debug for AddOnion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clients: Vec<_> = self.clients.iter().map(|(name, _)| name).collect();
        f.debug_struct("AddOnion")
            .field("key", &self.key)
            .field("ports", &self.ports)
            .field("flags", &self.flags)
            .field("clients", &clients)
            .field("v3_clients", &self.v3_clients)
            .finish_non_exhaustive()
    }
}

words! {
    /// Kind of key that `ADD_ONION` makes or takes (`add_onion_helper_keyarg`,
    /// feature/control/control_cmd.c:1974-2100).
    ///
    /// ```
    /// use onionweave_control::OnionKeyAlgorithm;
    ///
    /// assert_eq!(OnionKeyAlgorithm::Best.as_str(), "BEST");
    /// ```
    pub enum OnionKeyAlgorithm else Other {
        /// Tor's choice for a new key: `ED25519-V3`.
        Best = "BEST",
        /// v2, tor 0.4.5.
        Rsa1024 = "RSA1024",
        /// v3.
        Ed25519V3 = "ED25519-V3",
    }
}

/// A private key of an onion service as the protocol writes it. Wiped when dropped; its secret is
/// never shown.
///
/// ```
/// use onionweave_control::OnionKey;
///
/// let key: OnionKey = "ED25519-V3:YWJj".parse()?;
/// assert_eq!(&**key.to_text(), "ED25519-V3:YWJj");
/// assert_eq!(format!("{key:?}"), "OnionKey(ED25519-V3:..)");
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct OnionKey {
    algorithm: String,
    blob: Zeroizing<String>,
}

impl OnionKey {
    /// The kind of key.
    pub fn algorithm(&self) -> OnionKeyAlgorithm {
        OnionKeyAlgorithm::from_word(&self.algorithm)
    }

    /// The key in base64: PKCS#1 for `RSA1024`; the 64 bytes of the expanded key for `ED25519-V3`.
    pub fn blob(&self) -> &str {
        &self.blob
    }

    /// Both, as `ADD_ONION` takes them.
    pub fn to_text(&self) -> Zeroizing<String> {
        // Of exactly that length: nothing is moved, no copy stays behind.
        let mut text = Zeroizing::new(String::with_capacity(self.algorithm.len() + 1 + self.blob.len()));
        text.push_str(&self.algorithm);
        text.push(':');
        text.push_str(&self.blob);
        text
    }
}

impl std::str::FromStr for OnionKey {
    type Err = Error;

    /// Reads `ALGORITHM:BASE64`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let word = |text: &str, more: &[u8]| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
        };
        match text.split_once(':') {
            Some((algorithm, blob)) if word(algorithm, b"-") && word(blob, b"+/=") => Ok(Self {
                algorithm: algorithm.to_owned(),
                blob: Zeroizing::new(blob.to_owned()),
            }),
            _ => Err(Error::Argument {
                command: "ADD_ONION".to_owned(),
                argument: "key",
                problem: ArgumentProblem::Form("has not the form ALGORITHM:BASE64"),
            }),
        }
    }
}

impl fmt::Debug for OnionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnionKey({}:..)", self.algorithm)
    }
}

/// With what Tor as a client proves to a v3 service that it may come. The key is wiped when dropped
/// and never shown.
///
/// ```
/// use onionweave_control::{ClientAuth, Command};
///
/// let address = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd.onion";
/// let client = ClientAuth::new(address, [7; 32])?.named("alice")?.permanent();
/// let command = Command::onion_client_auth_add(&client)?;
/// assert!(command.as_bytes().ends_with(b" x25519:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc= ClientName=alice Flags=Permanent\r\n"));
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ClientAuth {
    pub(crate) address: String,
    pub(crate) key: Zeroizing<[u8; 32]>,
    pub(crate) name: Option<String>,
    pub(crate) permanent: bool,
}

impl ClientAuth {
    /// The x25519 private key for the service with this address, 56 characters of lower-case base32
    /// with or without `.onion`. Tor keeps it until it exits.
    ///
    /// # Errors
    /// [`Error::Argument`] if the address has another form, or the key is all zero, which Tor
    /// refuses.
    pub fn new(address: &str, key: [u8; 32]) -> Result<Self, Error> {
        let key = Zeroizing::new(key);
        let refuse = |argument, problem| Error::Argument {
            command: "ONION_CLIENT_AUTH_ADD".to_owned(),
            argument,
            problem,
        };
        let id = address.strip_suffix(".onion").unwrap_or(address);
        if !is_base32(id, 56) {
            let problem = super::forbidden(id.as_bytes()).unwrap_or(V3_ADDRESS);
            return Err(refuse("address", problem));
        }
        if *key == [0; 32] {
            return Err(refuse("key", ArgumentProblem::Form("is all zero")));
        }
        Ok(Self {
            address: id.to_owned(),
            key,
            name: None,
            permanent: false,
        })
    }

    /// The same with a name for the client, 1 to 16 letters, digits, `+`, `-` and `_`.
    ///
    /// # Errors
    /// [`Error::Argument`] for another name.
    pub fn named(self, name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        if !is_client_name(&name) {
            return Err(Error::Argument {
                command: "ONION_CLIENT_AUTH_ADD".to_owned(),
                argument: "client's name",
                problem: super::forbidden(name.as_bytes()).unwrap_or(CLIENT_NAME),
            });
        }
        Ok(Self {
            name: Some(name),
            ..self
        })
    }

    /// The same, but Tor writes the key to its `ClientOnionAuthDir`, and refuses with 553 if it has
    /// none.
    #[must_use]
    pub fn permanent(self) -> Self {
        Self {
            permanent: true,
            ..self
        }
    }

    /// The service's address without `.onion`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The x25519 private key.
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// The client's name.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether Tor keeps the key in a file.
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAuth")
            .field("address", &self.address)
            .field("name", &self.name)
            .field("permanent", &self.permanent)
            .finish_non_exhaustive()
    }
}
