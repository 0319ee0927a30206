//! Events as one line for people: what happened to what, in Tor's own words.

use std::fmt;

use super::{Circ, Event, Gap, HsDesc, LogMessage, OrConn, Status, Stream};
use crate::{Arguments, OtherUpload, PostOutcome, RelayName, UploadStage};

impl fmt::Display for Event {
    /// Writes the event's keyword and what most readers want to know of it, on one line without
    /// secrets. Bodies are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lagged(number) => return write!(f, "{number} events were dropped"),
            Self::Gap(gap) => return gap.fmt(f),
            Self::OtherUpload(upload) => return upload.fmt(f),
            Self::Log(message) => return message.fmt(f),
            _ => {}
        }
        if let Some(kind) = self.kind() {
            f.write_str(kind.as_str())?;
        }
        match self {
            Self::Circ(event) => write!(f, " {event}"),
            Self::CircMinor(event) => write!(f, " {} {}", event.circuit().id(), event.change()),
            Self::Stream(event) => write!(f, " {event}"),
            Self::OrConn(event) => write!(f, " {event}"),
            Self::Bw(event) => write!(f, " {} read, {} written", event.read(), event.written()),
            Self::StreamBw(event) => {
                let (read, written) = (event.read(), event.written());
                write!(f, " {} {read} read, {written} written", event.id())
            }
            Self::CircBw(event) => {
                let (read, written) = (event.read(), event.written());
                write!(f, " {} {read} read, {written} written", event.id())
            }
            Self::NewDesc(event) => event.relays().iter().try_for_each(|relay| write!(f, " {relay}")),
            Self::AddrMap(event) => {
                let to = event.to().or(event.error()).unwrap_or("<error>");
                write!(f, " {} {to}", event.from())
            }
            Self::StatusGeneral(event) | Self::StatusClient(event) | Self::StatusServer(event) => {
                write!(f, " {event}")
            }
            Self::Guard(event) => write!(f, " {} {} {}", event.kind(), event.relay(), event.status()),
            Self::NewConsensus(event) => write!(f, " {} bytes", event.body().len()),
            Self::Ns(event) => write!(f, " {} bytes", event.body().len()),
            Self::BuildTimeoutSet(event) => write!(f, " {}", event.change()),
            Self::ConfChanged(event) => event
                .options()
                .iter()
                .try_for_each(|option| write!(f, " {}", option.key())),
            Self::TransportLaunched(event) => {
                write!(
                    f,
                    " {} {} {}:{}",
                    event.mode(),
                    event.name(),
                    event.address(),
                    event.port()
                )
            }
            Self::HsDesc(event) => write!(f, " {event}"),
            Self::HsDescContent(event) => {
                let address = event.address().unwrap_or("UNKNOWN");
                write!(f, " {address} {}", event.descriptor_id())?;
                if let Some(directory) = event.hsdir() {
                    write!(f, " {directory}")?;
                }
                write!(f, " {} bytes", event.content().len())
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Circ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let circuit = self.circuit();
        write!(f, "{} {}", circuit.id(), self.status())?;
        for (at, relay) in circuit.path().iter().enumerate() {
            write!(f, "{}{relay}", if at == 0 { ' ' } else { ',' })?;
        }
        word(f, "PURPOSE", circuit.purpose())?;
        word(f, "REASON", self.reason())?;
        word(f, "REMOTE_REASON", self.remote_reason())
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let circuit = self.circuit().map_or(0, |circuit| circuit.number());
        write!(f, "{} {} {circuit} {}", self.id(), self.status(), self.target())?;
        word(f, "REASON", self.reason())?;
        word(f, "REMOTE_REASON", self.remote_reason())
    }
}

impl fmt::Display for OrConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.target(), self.status())?;
        word(f, "REASON", self.reason())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.severity(), self.action())?;
        arguments(f, self.arguments())
    }
}

impl fmt::Display for LogMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.severity(), self.message().trim_end())
    }
}

impl fmt::Display for HsDesc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action(), self.address().unwrap_or("UNKNOWN"))?;
        if let Some(directory) = self.hsdir() {
            write!(f, " {directory}")?;
        }
        if let Some(id) = self.descriptor_id() {
            write!(f, " {id}")?;
        }
        word(f, "REASON", self.reason())
    }
}

impl fmt::Display for OtherUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address().unwrap_or("UNKNOWN");
        let directory = RelayName::new(self.directory(), None);
        write!(f, "another's upload for {address} to {directory} ")?;
        match self.stage() {
            UploadStage::Began { is_own: true, .. } => f.write_str("began; this Tor runs the service"),
            UploadStage::Began { .. } => f.write_str("began"),
            UploadStage::Ended(PostOutcome::Uploaded) => f.write_str("was accepted"),
            UploadStage::Ended(PostOutcome::Rejected(_)) => f.write_str("was refused"),
            UploadStage::Ended(_) => f.write_str("was not answered"),
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there was no connection for {:.1} s", self.lasted().as_secs_f64())?;
        match self.restarted() {
            Some(true) => f.write_str("; Tor was restarted"),
            Some(false) => f.write_str("; Tor went on"),
            None => Ok(()),
        }
    }
}

fn word(f: &mut fmt::Formatter<'_>, key: &str, value: Option<&impl fmt::Display>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, " {key}={value}"))
}

fn arguments(f: &mut fmt::Formatter<'_>, arguments: &Arguments) -> fmt::Result {
    arguments.iter().try_for_each(|(key, value)| match key {
        "" => write!(f, " {value:?}"),
        _ if value.contains([' ', '"', '\r', '\n']) => write!(f, " {key}={value:?}"),
        _ => write!(f, " {key}={value}"),
    })
}

#[cfg(test)]
mod tests {
    use crate::{Event, EventKind};

    #[test]
    fn one_line_each() {
        let relay = "$0102030405060708090A0B0C0D0E0F1011121314~a";
        for (wire, line) in [
            ("BW 1 2", "BW 1 read, 2 written"),
            (
                &format!("CIRC 4 FAILED {relay},{relay} PURPOSE=GENERAL REASON=TIMEOUT"),
                "",
            ),
            (
                "STREAM 7 NEW 0 example.com:443 PURPOSE=USER",
                "STREAM 7 NEW 0 example.com:443",
            ),
            (
                "STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS=5 TAG=conn SUMMARY=\"Connecting to a relay\"",
                "",
            ),
            ("WARN Something: odd", "WARN Something: odd"),
            (
                &format!("HS_DESC FAILED 6r7x5o465oo27s35 NO_AUTH {relay} REASON=NOT_FOUND"),
                "",
            ),
            ("NETWORK_LIVENESS UP", "NETWORK_LIVENESS"),
            ("FUTURE a b", "FUTURE"),
        ] {
            let event = Event::parse(format!("650 {wire}\r\n").as_bytes()).unwrap();
            // Where no other line is named, the event says again what it was read from.
            let line = if line.is_empty() {
                wire.replace(" NO_AUTH", "")
            } else {
                line.to_owned()
            };
            assert_eq!(event.to_string(), line);
        }
        assert_eq!(Event::Lagged(3).to_string(), "3 events were dropped");
        assert_eq!(Event::Lagged(3).kind(), None);
    }

    #[test]
    fn kinds_are_those_of_the_keyword() {
        for kind in [
            "WARN a",
            "STATUS_CLIENT NOTICE A",
            "BW 1 2",
            "FUTURE",
            "CIRC what",
            "DESCCHANGED",
        ] {
            let event = Event::parse(format!("650 {kind}\r\n").as_bytes()).unwrap();
            let word = kind.split(' ').next().unwrap();
            assert_eq!(event.kind(), Some(EventKind::from_word(word)));
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn events_are_serialized_in_the_words_of_the_protocol() {
        let relay = "$0102030405060708090A0B0C0D0E0F1011121314~a";
        let parse = |wire: &str| serde_json::to_value(Event::parse(wire.as_bytes()).unwrap()).unwrap();
        let circuit = parse(&format!(
            "650 CIRC 4 BUILT {relay} PURPOSE=GENERAL SOCKS_USERNAME=\"me\" SOCKS_PASSWORD=\"secret\"\r\n"
        ));
        assert_eq!(circuit["Circ"]["status"], "BUILT");
        let inner = &circuit["Circ"]["circuit"];
        assert_eq!((&inner["id"], &inner["path"][0]), (&4.into(), &relay.into()));
        assert_eq!(inner["socks"]["username"], "me");
        assert!(!circuit.to_string().contains("secret"), "{circuit}");
        let consensus = parse("650+NEWCONSENSUS\r\nr a\r\n.\r\n650 OK\r\n");
        assert_eq!(consensus["NewConsensus"]["body"], "r a\n");
        let other = parse("650 FUTURE a\r\n");
        assert_eq!(other["Unknown"]["lines"][0]["text"], "FUTURE a");
    }
}
