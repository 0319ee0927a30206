//! Tor's file `client_keys`, in which a service keeps what it shares with its clients.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use onionweave_ring::v2::{AuthorizationKind, ClientCookie, DescriptorCookie, ServiceId};
use zeroize::Zeroizing;

use super::{Authorization, ClientAddress, HostnameFile};
use crate::bytes::{find, find_byte, split_at};
use crate::error::{Error, Malformed, Section};
use crate::rsa::{PrivateKey, RustCrypto};
use crate::tokens::{Arguments, Items, ObjectRule, Rule, skip_blank};
use crate::v2::ServiceKey;

/// Every entry begins with this, up to the last byte (feature/rend/rendparse.c:538).
const START: &[u8] = b"client-name ";
/// Keyword with which the next one begins (rendparse.c:541).
const NEXT: &[u8] = b"\nclient-name ";

/// `client_keys_token_table` (rendparse.c:52).
static RULES: [Rule; 3] = [
    Rule::once("client-name", Arguments::Line, ObjectRule::None).first(),
    Rule::once("descriptor-cookie", Arguments::One, ObjectRule::None),
    Rule::once("client-key", Arguments::None, ObjectRule::PrivateKey).optional(),
];
const NAME: usize = 0;
const COOKIE: usize = 1;
const KEY: usize = 2;

/// The name by which a service knows a client: 1 to 16 of the characters `A-Z`, `a-z`, `0-9`, `+`,
/// `-` and `_` (`rend_valid_client_name`, feature/rend/rendcommon.c:757).
///
/// ```
/// use onionweave_desc::v2::ClientName;
///
/// let name: ClientName = "alice".parse()?;
/// assert_eq!(name.as_str(), "alice");
/// assert!("alice and bob".parse::<ClientName>().is_err());
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientName(String);

impl ClientName {
    /// The longest name, in bytes: `REND_CLIENTNAME_MAX_LEN` (core/or/or.h:396).
    pub const MAX_LEN: usize = 16;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'_');
        if (1..=Self::MAX_LEN).contains(&text.len()) && text.bytes().all(legal) {
            Ok(Self(text.to_owned()))
        } else {
            // Enough to know it again.
            Err(Error::ClientName(text.chars().take(40).collect()))
        }
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientName({self})")
    }
}

/// Secrets that a service shares with one client.
///
/// ```
/// use onionweave_desc::v2::{ClientKey, DescriptorCookie};
///
/// let alice = ClientKey::new("alice".parse()?, DescriptorCookie::from([7; 16]), None);
/// assert_eq!(alice.name().as_str(), "alice");
/// assert!(alice.key().is_none(), "with basic authorization clients have no keys");
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ClientKey {
    name: ClientName,
    cookie: DescriptorCookie,
    key: Option<ServiceKey>,
}

impl ClientKey {
    /// A client. The key, which stealth authorization takes, signs the descriptors of this client
    /// alone.
    pub fn new(name: ClientName, cookie: DescriptorCookie, key: Option<ServiceKey>) -> Self {
        Self { name, cookie, key }
    }

    /// The name.
    pub fn name(&self) -> &ClientName {
        &self.name
    }

    /// The secret that the client has.
    pub fn cookie(&self) -> &DescriptorCookie {
        &self.cookie
    }

    /// The key that signs this client's descriptors, with stealth authorization.
    pub fn key(&self) -> Option<&ServiceKey> {
        self.key.as_ref()
    }

    /// For whom this client's descriptor with stealth authorization is written. It is signed with
    /// the client's [key](Self::key).
    ///
    /// ```
    /// use onionweave_desc::v2::{AuthorizationKind, ClientKeys};
    ///
    /// let clients = ClientKeys::parse(include_bytes!("../../../testdata/stealth/client_keys"))?;
    /// for client in clients.iter() {
    ///     assert_eq!(client.stealth().id_cookie(), Some(client.cookie()));
    /// }
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    pub fn stealth(&self) -> Authorization {
        Authorization::Stealth(self.cookie.clone())
    }
}

/// Two clients are equal if they have the same name, cookie and service ID.
impl PartialEq for ClientKey {
    fn eq(&self, other: &Self) -> bool {
        let service_id = |client: &Self| client.key().map(ServiceKey::service_id);
        self.name == other.name && self.cookie == other.cookie && service_id(self) == service_id(other)
    }
}

impl Eq for ClientKey {}

/// The authorized clients of a service: Tor's file `client_keys`.
///
/// ```
/// use onionweave_desc::v2::{AuthorizationKind, ClientKeys, ServiceKey};
///
/// let file = include_bytes!("../../../testdata/basic/client_keys");
/// let clients = ClientKeys::parse(file)?;
/// let names: Vec<&str> = clients.iter().map(|client| client.name().as_str()).collect();
/// assert_eq!(names, ["alice", "bob"]);
/// assert_eq!(clients.to_text().as_bytes(), file);
///
/// let key = ServiceKey::from_pem(include_str!("../../../testdata/basic/private_key"))?;
/// let hostname = clients.hostname_file(key.service_id(), AuthorizationKind::Basic)?;
/// assert_eq!(*hostname.to_text(), *include_str!("../../../testdata/basic/hostname"));
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientKeys {
    /// Tor keeps its clients sorted too (feature/rend/rendservice.c:828).
    clients: BTreeMap<ClientName, ClientKey>,
}

impl ClientKeys {
    /// The longest file that is read, in bytes. Tor's configuration holds 512 clients at most, of
    /// which 16 with keys (feature/rend/rendservice.c:857); it could not fill half of this.
    pub const MAX_LEN: usize = 128 * 1024;

    /// These clients.
    ///
    /// ```
    /// use onionweave_desc::v2::{ClientKey, ClientKeys, DescriptorCookie};
    ///
    /// let [bob, alice] = [("bob", 1), ("alice", 2)].map(|(name, byte)| {
    ///     name.parse().map(|name| ClientKey::new(name, DescriptorCookie::from([byte; 16]), None))
    /// });
    /// let clients = ClientKeys::new([bob?, alice?])?;
    /// assert_eq!(
    ///     *clients.to_text(),
    ///     "client-name alice\ndescriptor-cookie AgICAgICAgICAgICAgICAg==\n\
    ///      client-name bob\ndescriptor-cookie AQEBAQEBAQEBAQEBAQEBAQ==\n"
    /// );
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::RepeatedClient`] if two have the same name.
    pub fn new(clients: impl IntoIterator<Item = ClientKey>) -> Result<Self, Error> {
        let mut keys = Self::default();
        for client in clients {
            keys.insert(client).map_err(Error::RepeatedClient)?;
        }
        Ok(keys)
    }

    /// Reads the file as Tor does (`rend_parse_client_keys`, feature/rend/rendparse.c:523): white
    /// space and comments may come first, nothing counts after a NUL byte, and carriage returns
    /// don't count at all (lib/fs/files.c:707).
    ///
    /// Where Tor finds no client at all it makes new cookies for all of them; here that is an
    /// error, since somebody took another file for this.
    ///
    /// # Errors
    /// [`Error::FileTooLong`], [`Error::NoClients`], and [`Error::Malformed`] with the line.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        if text.len() > Self::MAX_LEN {
            return Err(Error::FileTooLong {
                section: Section::ClientKeys,
                size: text.len(),
                limit: Self::MAX_LEN,
            });
        }
        let (text, _) = split_at(text, find_byte(0, text).unwrap_or(text.len()));
        let text: Zeroizing<Vec<u8>> = Zeroizing::new(text.iter().copied().filter(|byte| *byte != b'\r').collect());
        let mut keys = Self::default();
        let mut rest = skip_blank(&text);
        let mut lines_before = count_lines(&text) - count_lines(rest);
        while rest.starts_with(START) {
            let end = find(NEXT, rest).map_or(rest.len(), |newline| newline + 1);
            let (entry, after) = split_at(rest, end);
            keys.parse_entry(entry)
                .map_err(|error| error.lines_later(lines_before))?;
            lines_before += count_lines(entry);
            rest = after;
        }
        if keys.clients.is_empty() {
            return Err(Error::NoClients);
        }
        Ok(keys)
    }

    fn parse_entry(&mut self, text: &[u8]) -> Result<(), Error> {
        let mut items = Items::read(Section::ClientKeys, text, &RULES)?;
        // Before anything can fail, so that it is wiped.
        let der = items.take_object(KEY).map(Zeroizing::new);
        let name = parse_utf8(items.get(NAME)?.argument)
            .ok_or_else(|| items.bad_value(NAME, "1 to 16 of the characters A-Z, a-z, 0-9, `+`, `-` and `_`"))?;
        let cookie = DescriptorCookie::from_base64(items.get(COOKIE)?.argument)
            .map_err(|error| items.error(COOKIE, Malformed::Cookie(error)))?;
        let key = der
            .map(|der| PrivateKey::from_pkcs1_der(&der).and_then(|key| ServiceKey::new(key, &RustCrypto)))
            .transpose();
        let key = key.map_err(|error| match error {
            Error::PrivateKey(problem) => items.error(KEY, Malformed::Key(problem)),
            other => other,
        })?;
        self.insert(ClientKey::new(name, cookie, key))
            .map_err(|name| items.error(NAME, Malformed::RepeatedClient(name)))
    }

    /// Adds a client, or returns its name if there is one already.
    fn insert(&mut self, client: ClientKey) -> Result<(), ClientName> {
        let name = client.name().clone();
        match self.clients.insert(name.clone(), client) {
            None => Ok(()),
            Some(_) => Err(name),
        }
    }

    /// The clients in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &ClientKey> {
        self.clients.values()
    }

    /// The client of this name.
    ///
    /// ```
    /// use onionweave_desc::v2::ClientKeys;
    ///
    /// let clients = ClientKeys::parse(include_bytes!("../../../testdata/stealth/client_keys"))?;
    /// let carol = clients.client(&"carol".parse()?).expect("she is there");
    /// let key = carol.key().expect("a key of her own");
    /// assert_eq!(key.service_id().to_string(), "gwpnw55cchilrd7k");
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    pub fn client(&self, name: &ClientName) -> Option<&ClientKey> {
        self.clients.get(name)
    }

    /// Returns the number of clients.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there is none.
    ///
    /// ```
    /// use onionweave_desc::v2::{ClientKey, ClientKeys, DescriptorCookie};
    ///
    /// let nobody = ClientKeys::new([])?;
    /// assert!(nobody.is_empty());
    /// let alice = ClientKey::new("alice".parse()?, DescriptorCookie::from([7; 16]), None);
    /// assert_eq!(ClientKeys::new([alice])?.len(), 1);
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// For whom a descriptor with basic authorization is written: all of them, whether they have
    /// keys or not.
    ///
    /// For stealth authorization every client has a descriptor of its own; see
    /// [`ClientKey::stealth`].
    ///
    /// ```
    /// use onionweave_desc::v2::{AuthorizationKind, ClientKeys};
    ///
    /// let clients = ClientKeys::parse(include_bytes!("../../../testdata/basic/client_keys"))?;
    /// let authorization = clients.basic();
    /// assert_eq!(authorization.kind(), AuthorizationKind::Basic);
    /// assert_eq!(authorization.cookies().len(), 2);
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    pub fn basic(&self) -> Authorization {
        Authorization::Basic(self.iter().map(|client| client.cookie().clone()).collect())
    }

    /// The file that Tor writes from these clients (feature/rend/rendservice.c:1678), which holds
    /// secrets.
    pub fn to_text(&self) -> Zeroizing<String> {
        // Large enough that the string is never moved, which would leave a copy behind.
        let mut text = Zeroizing::new(String::with_capacity(self.len() * 1024));
        for client in self.iter() {
            text.push_str("client-name ");
            text.push_str(client.name().as_str());
            text.push_str("\ndescriptor-cookie ");
            text.push_str(&client.cookie().to_base64());
            text.push('\n');
            if let Some(key) = client.key() {
                text.push_str("client-key\n");
                text.push_str(&key.to_pem());
            }
        }
        text
    }

    /// The file `hostname` that Tor writes for these clients of a service
    /// (feature/rend/rendservice.c:1723).
    ///
    /// As in Tor, the address of a client that has a key is that key's, whatever the kind.
    ///
    /// ```
    /// use onionweave_desc::v2::{AuthorizationKind, ClientKeys};
    ///
    /// let clients = ClientKeys::parse(include_bytes!("../../../testdata/stealth/client_keys"))?;
    /// // The service's own ID occurs nowhere.
    /// let file = clients.hostname_file("rf75jzdtba4wnd6v".parse().unwrap(), AuthorizationKind::Stealth)?;
    /// assert_eq!(*file.to_text(), *include_str!("../../../testdata/stealth/hostname"));
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoClients`]; [`Error::MissingClientKey`] if the kind is stealth and a client has no
    /// key.
    pub fn hostname_file(&self, service: ServiceId, kind: AuthorizationKind) -> Result<HostnameFile, Error> {
        let addresses = self.iter().map(|client| {
            let service = match client.key() {
                Some(key) => key.service_id(),
                None if kind == AuthorizationKind::Stealth => {
                    return Err(Error::MissingClientKey(client.name().clone()));
                }
                None => service,
            };
            let cookie = ClientCookie::new(kind, client.cookie().clone());
            Ok(ClientAddress::new(service, cookie, client.name().clone()))
        });
        HostnameFile::for_clients(addresses.collect::<Result<_, _>>()?)
    }
}

fn parse_utf8<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn count_lines(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}
