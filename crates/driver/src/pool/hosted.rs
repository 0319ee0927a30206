//! The services that every child hosts.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash as _, Hasher as _};

use onionweave_control::{AddOnion, Connection, Error as ControlError, OnionKey};
use onionweave_desc::v2::{ClientKeys, ClientName, ServiceKey};
use onionweave_ring::v2::{AuthorizationKind, ClientCookie, ServiceId};
use zeroize::Zeroizing;

use crate::builder::ServicePort;

/// The services that every child hosts.
pub(crate) type HostedServices = BTreeMap<ServiceId, Hosted>;

/// A service that every child hosts.
///
/// It is given to Tor over the control port (`ADD_ONION`), so that its key never touches the disk.
/// Such a service is like one with a folder in all that matters here
/// (`rend_service_add_ephemeral`, `feature/rend/rendservice.c:906`). It keeps its descriptors to
/// itself with `PublishHidServDescriptors 0` (`:3834`), and tells them
/// (`feature/control/control_getinfo.c:583`). It lets only authorized clients in, if their
/// authorization is basic; there is no flag for stealth
/// (`feature/control/control_cmd.c:1771`).
#[derive(Clone, Debug)]
pub(crate) struct Hosted {
    key: ServiceKey,
    ports: Vec<ServicePort>,
    clients: BTreeMap<ClientName, ClientCookie>,
}

impl Hosted {
    /// A service with this key; with `clients`, for those alone.
    pub(crate) fn new(key: ServiceKey, ports: &[ServicePort], clients: Option<&ClientKeys>) -> Self {
        let clients = clients.into_iter().flat_map(ClientKeys::iter).map(|client| {
            let cookie = ClientCookie::new(AuthorizationKind::Basic, client.cookie().clone());
            (client.name().clone(), cookie)
        });
        Self {
            key,
            ports: ports.to_vec(),
            clients: clients.collect(),
        }
    }

    /// Whether Tor hosts it like the other one, and need not make it anew. The key is the same for
    /// the same service.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.ports == other.ports && self.clients == other.clients
    }

    /// Returns a text that differs when ports or clients do. It may be another in another version
    /// of this program; then children are replaced without need.
    pub(super) fn fingerprint(&self) -> String {
        let mut hasher = DefaultHasher::new();
        for port in &self.ports {
            port.to_string().hash(&mut hasher);
        }
        for (name, cookie) in &self.clients {
            name.as_str().hash(&mut hasher);
            cookie.to_text().hash(&mut hasher);
        }
        format!("{:016x}", hasher.finish())
    }

    /// The command that has Tor host the service. The service outlives the connection, which may
    /// break without anybody's fault.
    fn to_onion(&self) -> Result<AddOnion, ControlError> {
        let mut onion = AddOnion::with_key(onion_key(&self.key)?).detach().discard_key();
        for port in &self.ports {
            onion = onion.port_to(port.port(), port.target());
        }
        for (name, cookie) in &self.clients {
            onion = onion.basic_client(name.as_str(), Some(cookie.to_text()));
        }
        Ok(onion)
    }
}

/// The key as `ADD_ONION` takes it: the base64 of PKCS#1, which stands between the lines of Tor's
/// own file.
fn onion_key(key: &ServiceKey) -> Result<OnionKey, ControlError> {
    let pem = key.to_pem();
    let prefix = "RSA1024:";
    // Room for all of it: nothing is moved, so no copy stays behind.
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + pem.len()));
    text.push_str(prefix);
    for line in pem.lines().filter(|line| !line.starts_with('-')) {
        text.push_str(line.trim());
    }
    text.parse()
}

/// Makes a Tor host these services and no others.
pub(super) async fn host(tor: &Connection, services: &HostedServices) -> Result<(), ControlError> {
    let wanted: BTreeMap<String, &Hosted> = services.iter().map(|(id, hosted)| (id.to_string(), hosted)).collect();
    // One to a line.
    let answer = tor.get_info("onions/detached").await?;
    let present: BTreeSet<&str> = answer.lines().map(str::trim).filter(|id| !id.is_empty()).collect();
    for id in present.iter().filter(|id| !wanted.contains_key(**id)) {
        tor.del_onion(id).await?;
    }
    for (_, hosted) in wanted.iter().filter(|(id, _)| !present.contains(id.as_str())) {
        tor.add_onion(&hosted.to_onion()?).await?;
    }
    Ok(())
}

/// Asks whether a Tor offers introduction points for all of these services.
///
/// # Errors
///
/// Any refusal but "not yet": a Tor that does not know the question (552) or lets nobody ask it
/// (510, from a filter) never offers anything that this publisher could read.
pub(super) async fn offers_all(tor: &Connection, services: &HostedServices) -> Result<bool, ControlError> {
    for id in services.keys() {
        let answer = tor.get_info(&format!("hs/service/desc/id/{id}")).await;
        if !is_offer(answer)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether an answer holds a descriptor.
fn is_offer(answer: Result<String, ControlError>) -> Result<bool, ControlError> {
    match answer {
        Ok(text) => Ok(!text.is_empty()),
        // `551 Not found in cache` (`feature/control/control_getinfo.c:602,1790`): no descriptor
        // was built yet, which takes introduction points. A key that Tor does not know is answered
        // with 552 (`:1796`).
        Err(ControlError::Rejected { code: 551, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use onionweave_control::Options;

    use super::*;
    use crate::pool::scripted::{Answer, answering};

    const KEY: &str = include_str!("../../testdata/private_key");

    fn hosted(ports: &[&str]) -> Hosted {
        let ports: Vec<_> = ports.iter().map(|port| port.parse().unwrap()).collect();
        Hosted::new(ServiceKey::from_pem(KEY).unwrap(), &ports, None)
    }

    #[test]
    fn service_is_added_with_key_and_ports() {
        let onion = hosted(&["80", "81 unix:/run/web"]).to_onion().unwrap();
        let command = onionweave_control::Command::add_onion(&onion).unwrap();
        let text = String::from_utf8_lossy(command.as_bytes()).into_owned();
        assert!(text.starts_with("ADD_ONION RSA1024:MII"), "{text}");
        let end = " Flags=Detach,DiscardPK Port=80,127.0.0.1:80 Port=81,unix:/run/web\r\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_not_yet_is_no_refusal_of_a_descriptor() {
        let services: HostedServices = [("rf75jzdtba4wnd6v".parse().unwrap(), hosted(&["80"]))].into();
        let key = "hs/service/desc/id/rf75jzdtba4wnd6v";
        let text = format!("250+{key}=\r\nrendezvous-service-descriptor\r\n.\r\n250 OK\r\n");
        let empty = format!("250-{key}=\r\n250 OK\r\n");
        for (answer, expected) in [
            (&*text, Ok(true)),
            (&*empty, Ok(false)),
            ("551 Not found in cache\r\n", Ok(false)),
            ("552 Unrecognized key \"hs\"\r\n", Err(552)),
            ("510 Command filtered\r\n", Err(510)),
        ] {
            let answer = Answer::Text(answer.to_owned().leak());
            let tor = answering(answer, &Options::default()).await.unwrap();
            let offers = offers_all(&tor, &services).await.map_err(|error| match error {
                ControlError::Rejected { code, .. } => code,
                error => panic!("{error}"),
            });
            assert_eq!(offers, expected);
        }
    }

    #[test]
    fn other_ports_are_another_fingerprint() {
        let one = hosted(&["80"]);
        assert!(one.is_like(&hosted(&["80"])) && !one.is_like(&hosted(&["80 81"])));
        assert_eq!(one.fingerprint(), hosted(&["80 127.0.0.1:80"]).fingerprint());
        assert_ne!(one.fingerprint(), hosted(&["80 81"]).fingerprint());
    }
}
