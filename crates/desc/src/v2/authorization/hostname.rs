//! Tor's file `hostname`, from which a service's clients are told where it is.

use std::collections::BTreeSet;

use onionweave_ring::v2::{AuthorizationKind, ClientCookie, ServiceId};
use zeroize::Zeroizing;

use super::{ClientKeys, ClientName};
use crate::error::{Error, Malformed, Section};

/// Address and cookie of one client of a service with authorization: a line of the file `hostname`,
/// and what its `HidServAuth` takes.
///
/// `Debug` shows nothing of the cookie.
///
/// ```
/// use onionweave_desc::v2::ClientAddress;
///
/// let carol = ClientAddress::new(
///     "gwpnw55cchilrd7k.onion".parse()?,
///     "2KohXVDgp8ESS6hWRTRc4B".parse()?,
///     "carol".parse()?,
/// );
/// assert_eq!(*carol.to_text(), "gwpnw55cchilrd7k.onion 2KohXVDgp8ESS6hWRTRc4B # client: carol");
/// assert_eq!(carol.service_id().to_string(), "gwpnw55cchilrd7k");
/// assert_eq!(carol.cookie().kind().to_string(), "stealth");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAddress {
    service: ServiceId,
    cookie: ClientCookie,
    client: ClientName,
}

impl ClientAddress {
    /// Address that this client is told. With stealth authorization the service ID is that of the
    /// client's own key.
    pub fn new(service: ServiceId, cookie: ClientCookie, client: ClientName) -> Self {
        Self {
            service,
            cookie,
            client,
        }
    }

    /// The service that the client asks for.
    pub fn service_id(&self) -> ServiceId {
        self.service
    }

    /// The cookie, with the kind of authorization.
    pub fn cookie(&self) -> &ClientCookie {
        &self.cookie
    }

    /// The name by which the service knows the client.
    pub fn client(&self) -> &ClientName {
        &self.client
    }

    /// The line, without its end (feature/rend/rendservice.c:1729).
    pub fn to_text(&self) -> Zeroizing<String> {
        let Self {
            service,
            cookie,
            client,
        } = self;
        Zeroizing::new(format!("{service}.onion {} # client: {client}", *cookie.to_text()))
    }

    fn parse(line: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed::Line(CLIENT_LINE);
        let (address, rest) = line.split_once(' ').ok_or_else(malformed)?;
        let (cookie, name) = rest.split_once(" # client: ").ok_or_else(malformed)?;
        Ok(Self {
            service: parse_address(address)?,
            cookie: cookie.parse().map_err(Malformed::Cookie)?,
            client: name.parse().map_err(|_| malformed())?,
        })
    }
}

/// Tor's file `hostname` in its three forms: one address, or a line for each client of a service
/// with basic or stealth authorization.
///
/// Tor only ever writes this file. Here it is read as Tor writes it, but for blank lines and white
/// space at the ends of lines.
///
/// ```
/// use onionweave_desc::v2::{AuthorizationKind, HostnameFile};
///
/// let open = HostnameFile::parse(b"rf75jzdtba4wnd6v.onion\n")?;
/// assert_eq!(open.authorization(), None);
///
/// let file = HostnameFile::parse(include_bytes!("../../../testdata/stealth/hostname"))?;
/// assert_eq!(file.authorization(), Some(AuthorizationKind::Stealth));
/// let [carol, dave] = file.clients() else { panic!("two lines") };
/// assert_eq!(carol.client().as_str(), "carol");
/// assert_ne!(carol.service_id(), dave.service_id());
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostnameFile(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Open(ServiceId),
    /// Not empty, of one kind, and no name twice.
    Clients(Vec<ClientAddress>),
}

impl HostnameFile {
    /// The longest file that is read, in bytes. Tor's configuration holds 512 clients at most
    /// (feature/rend/rendservice.c:857); their lines fill less than half of this.
    pub const MAX_LEN: usize = ClientKeys::MAX_LEN;

    /// The file of a service without authorization.
    ///
    /// ```
    /// use onionweave_desc::v2::HostnameFile;
    ///
    /// let file = HostnameFile::open("rf75jzdtba4wnd6v".parse().unwrap());
    /// assert_eq!(*file.to_text(), "rf75jzdtba4wnd6v.onion\n");
    /// ```
    pub fn open(service: ServiceId) -> Self {
        Self(Form::Open(service))
    }

    /// The file of a service with these clients, in this order. Tor sorts them by name.
    ///
    /// ```
    /// use onionweave_desc::v2::{ClientAddress, HostnameFile};
    ///
    /// let service = "z2p7lut3zzeost7w.onion".parse()?;
    /// let alice = ClientAddress::new(service, "/7+YSj84F0crQa7k9/ITkA".parse()?, "alice".parse()?);
    /// let file = HostnameFile::for_clients(vec![alice])?;
    /// assert_eq!(*file.to_text(), "z2p7lut3zzeost7w.onion /7+YSj84F0crQa7k9/ITkA # client: alice\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoClients`], [`Error::RepeatedClient`], and [`Error::MixedAuthorization`] if the
    /// cookies are not all of one kind.
    pub fn for_clients(clients: Vec<ClientAddress>) -> Result<Self, Error> {
        let kind = clients.first().ok_or(Error::NoClients)?.cookie.kind();
        if clients.iter().any(|client| client.cookie.kind() != kind) {
            return Err(Error::MixedAuthorization);
        }
        let mut names = BTreeSet::new();
        if let Some(client) = clients.iter().find(|client| !names.insert(client.client())) {
            return Err(Error::RepeatedClient(client.client.clone()));
        }
        Ok(Self(Form::Clients(clients)))
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`Error::FileTooLong`], [`Error::Malformed`] with the line, [`Error::RepeatedClient`], and
    /// [`Error::MixedAuthorization`].
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        if text.len() > Self::MAX_LEN {
            return Err(Error::FileTooLong {
                section: Section::Hostname,
                size: text.len(),
                limit: Self::MAX_LEN,
            });
        }
        let malformed = |index: usize, problem| Error::Malformed {
            section: Section::Hostname,
            line: index + 1,
            problem,
        };
        let lines = text.split(|byte| *byte == b'\n').enumerate();
        let mut lines = lines
            .map(|(index, line)| (index, line.trim_ascii_end()))
            .filter(|(_, line)| !line.is_empty());
        let mut clients = Vec::new();
        while let Some((index, line)) = lines.next() {
            let line = std::str::from_utf8(line).map_err(|_| malformed(index, Malformed::Line(HOSTNAME_LINE)))?;
            if clients.is_empty() && !line.contains(' ') {
                let service = parse_address(line).map_err(|problem| malformed(index, problem))?;
                return match lines.next() {
                    None => Ok(Self::open(service)),
                    Some((index, _)) => Err(malformed(index, Malformed::NotLast("<address>"))),
                };
            }
            clients.push(ClientAddress::parse(line).map_err(|problem| malformed(index, problem))?);
        }
        if clients.is_empty() {
            return Err(malformed(0, Malformed::Line(HOSTNAME_LINE)));
        }
        Self::for_clients(clients)
    }

    /// The kind of authorization, if there is any.
    pub fn authorization(&self) -> Option<AuthorizationKind> {
        self.clients().first().map(|client| client.cookie().kind())
    }

    /// The clients in the order of their lines; none without authorization.
    pub fn clients(&self) -> &[ClientAddress] {
        match &self.0 {
            Form::Open(_) => &[],
            Form::Clients(clients) => clients,
        }
    }

    /// All addresses in the order of their lines. With basic authorization they are the same,
    /// unless clients were left with keys.
    ///
    /// ```
    /// use onionweave_desc::v2::HostnameFile;
    ///
    /// let file = HostnameFile::parse(b"rf75jzdtba4wnd6v.onion\n")?;
    /// assert_eq!(file.service_ids().collect::<Vec<_>>(), ["rf75jzdtba4wnd6v".parse().unwrap()]);
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    pub fn service_ids(&self) -> impl Iterator<Item = ServiceId> {
        let open = match &self.0 {
            Form::Open(service) => Some(*service),
            Form::Clients(_) => None,
        };
        open.into_iter()
            .chain(self.clients().iter().map(ClientAddress::service_id))
    }

    /// The file that Tor writes (feature/rend/rendservice.c:1556, 1729), which holds secrets unless
    /// there is no authorization.
    pub fn to_text(&self) -> Zeroizing<String> {
        // Large enough that the string is never moved, which would leave a copy behind.
        let mut text = Zeroizing::new(String::with_capacity(128 * (1 + self.clients().len())));
        match &self.0 {
            Form::Open(service) => *text += &format!("{service}.onion\n"),
            Form::Clients(clients) => {
                for client in clients {
                    text.push_str(&client.to_text());
                    text.push('\n');
                }
            }
        }
        text
    }
}

/// Kind of the first line.
const HOSTNAME_LINE: &str = "`<address>.onion` or `<address>.onion <cookie> # client: <name>`";
/// Kind of all lines with authorization.
const CLIENT_LINE: &str = "`<address>.onion <cookie> # client: <name>`";

fn parse_address(text: &str) -> Result<ServiceId, Malformed> {
    let id = text.strip_suffix(".onion").and_then(|id| id.parse().ok());
    id.ok_or(Malformed::Line("an address of 16 base32 characters and `.onion`"))
}
