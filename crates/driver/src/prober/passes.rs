//! The cookies that the prober shows at the doors of services for authorized clients.
//!
//! An instance of such a service drops every introduction that shows no cookie of one of its
//! clients (`rendservice.c:2084`). Tor shows the one that its option `HidServAuth` gives for the
//! address (`rendclient.c:217`), and there is no other way to hand it one. So each door has a line
//! there, beside the lines of the prober's own user, which stay as they are. Nothing of it is
//! written to the prober's torrc.

use std::time::Duration;

use onionweave_control::{Connection, Error};
use onionweave_ring::UnixTime;
use onionweave_ring::v2::{ClientCookie, ServiceId};
use zeroize::Zeroizing;

const OPTION: &str = "HidServAuth";
/// The third word of a door's line, which Tor takes for a name and does not read
/// (`rendclient.c:1201`). The time follows from which the line may go.
const MARK: &str = "onionweave-door-until";
/// Twice as long as a door is used. Lines that a publisher left behind when it was killed go that
/// much later.
const LIFETIME: Duration = Duration::from_secs(2 * 3600);

type Lines = Vec<Zeroizing<String>>;

/// Has the Tor show this cookie to whoever stands behind this address.
pub(super) async fn admit(
    connection: &Connection,
    address: ServiceId,
    cookie: &ClientCookie,
    now: UnixTime,
) -> Result<(), Error> {
    let mut lines = read(connection).await?;
    let text = cookie.to_text();
    if lines
        .iter()
        .any(|line| is_for(line, address) && line.split(' ').nth(1) == Some(&**text))
    {
        return Ok(());
    }
    lines.retain(|line| !is_for(line, address) && !is_over(line, now));
    let until = now.saturating_add(LIFETIME).as_secs();
    lines.push(Zeroizing::new(format!("{address}.onion {} {MARK} {until}", *text)));
    write(connection, &lines).await
}

/// Has the Tor show nothing more there.
pub(super) async fn dismiss(connection: &Connection, address: ServiceId, now: UnixTime) -> Result<(), Error> {
    let mut lines = read(connection).await?;
    let before = lines.len();
    lines.retain(|line| !is_for(line, address) && !is_over(line, now));
    if lines.len() == before {
        return Ok(());
    }
    write(connection, &lines).await
}

fn is_for(line: &str, address: ServiceId) -> bool {
    line.split(' ').next() == Some(&*format!("{address}.onion"))
}

/// Whether it is a door's that nobody uses any more.
fn is_over(line: &str, now: UnixTime) -> bool {
    let mut words = line.split(' ').skip(2);
    let until = (words.next() == Some(MARK))
        .then(|| words.next()?.parse().ok())
        .flatten();
    until.is_some_and(|until: u64| until < now.as_secs())
}

async fn read(connection: &Connection) -> Result<Lines, Error> {
    let values = connection.get_conf(&[OPTION]).await?;
    let lines = values.iter().filter_map(|value| value.value());
    Ok(lines.map(|line| Zeroizing::new(line.to_owned())).collect())
}

async fn write(connection: &Connection, lines: &Lines) -> Result<(), Error> {
    if lines.is_empty() {
        return connection.reset_conf(&[OPTION]).await;
    }
    let options: Vec<_> = lines.iter().map(|line| (OPTION, &***line)).collect();
    connection.set_conf(&options).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_doors_that_nobody_uses_are_over() {
        let now = UnixTime::from_secs(1000);
        for (line, over) in [
            ("aaaaaaaaaaaaaaaa.onion cookie", false),
            ("aaaaaaaaaaaaaaaa.onion cookie name", false),
            ("aaaaaaaaaaaaaaaa.onion cookie name 999", false),
            ("aaaaaaaaaaaaaaaa.onion cookie onionweave-door-until", false),
            ("aaaaaaaaaaaaaaaa.onion cookie onionweave-door-until soon", false),
            ("aaaaaaaaaaaaaaaa.onion cookie onionweave-door-until 1000", false),
            ("aaaaaaaaaaaaaaaa.onion cookie onionweave-door-until 999", true),
            ("", false),
        ] {
            assert_eq!(is_over(line, now), over, "{line}");
        }
    }
}
