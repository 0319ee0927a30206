//! The load of one instance, read again and again.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use onionweave_assign::{Load, Weight};
use onionweave_publish::{Event, InstanceName};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::builder::{LoadGauge, LoadSource};
use crate::net::{Late, NetError, in_time, send};
use crate::teller::Teller;
use crate::told::Told;
use crate::tor::{Following, Meter, TorSettings, Tors};

/// No number is longer in text. What is longer is refused: the part of a number that was read would
/// be another number.
const LONGEST: usize = 256;

/// A gauge, and the instance that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GaugeSettings {
    pub(super) gauge: LoadGauge,
    /// Divisor of the load, if the gauge says so.
    pub(super) weight: Weight,
    /// The way to the instance's Tor, for bandwidth.
    pub(super) tor: Option<TorSettings>,
}

/// Reads the load of one instance, until the receiver is gone.
pub(super) struct Gauge {
    pub(super) instance: InstanceName,
    pub(super) settings: GaugeSettings,
    pub(super) tors: Tors,
    pub(super) tell: Teller,
}

/// Reason why a load cannot be read.
#[derive(Debug, thiserror::Error)]
enum GaugeError {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Late(#[from] Late),
    #[error("HTTP {0}")]
    Status(u16),
    #[error("more than {LONGEST} bytes of text, instead of a number")]
    TooLong,
    #[error(transparent)]
    NoNumber(#[from] onionweave_assign::Error),
    #[error("its Tor tells of no bandwidth")]
    NoBandwidth,
    #[error("the command is empty")]
    NoCommand,
    #[error("cannot be run: {0}")]
    NotRun(#[source] NetError),
    #[error("ended with {0}")]
    Ended(ExitStatus),
}

impl From<std::io::Error> for GaugeError {
    fn from(error: std::io::Error) -> Self {
        NetError::from(error).into()
    }
}

impl Gauge {
    pub(super) async fn run(self) {
        let gauge = &self.settings.gauge;
        let mut begin = Instant::now();
        if gauge.source == LoadSource::Bandwidth {
            begin += gauge.every;
        }
        let mut clock = interval_at(begin, gauge.every);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let meter = self.meter();
        let mut trouble = Told::default();
        loop {
            clock.tick().await;
            let load = self.read(meter.as_ref()).await;
            self.log(load.as_ref().err(), &mut trouble);
            let load = load.ok().map(|load| match gauge.per_weight {
                true => load.per(self.settings.weight),
                false => load,
            });
            let instance = self.instance.clone();
            if self.tell.tell(Event::InstanceLoad { instance, load }).await.is_err() {
                return;
            }
        }
    }

    /// The meter of the instance's Tor, if bandwidth is the load.
    fn meter(&self) -> Option<(Following, Arc<Meter>)> {
        let tor = self.settings.tor.as_ref();
        tor.filter(|_| self.settings.gauge.source == LoadSource::Bandwidth)
            .map(|tor| self.tors.measure(tor))
    }

    async fn read(&self, meter: Option<&(Following, Arc<Meter>)>) -> Result<Load, GaugeError> {
        let gauge = &self.settings.gauge;
        let text = match &gauge.source {
            LoadSource::Bandwidth => {
                let per_second = meter.and_then(|(_, meter)| meter.per_second());
                return Ok(Load::new(per_second.ok_or(GaugeError::NoBandwidth)?)?);
            }
            LoadSource::Command(command) => in_time(gauge.within, run(command)).await?,
            LoadSource::Http { address, request } => {
                let host = request.host.as_deref().unwrap_or(address);
                let asked = async {
                    let stream = TcpStream::connect(address).await?;
                    let (status, text) = send(stream, request, host, LONGEST + 1).await?;
                    match status.is_success() {
                        true => Ok(text),
                        false => Err(GaugeError::Status(status.as_u16())),
                    }
                };
                in_time(gauge.within, asked).await?
            }
        };
        if text.len() > LONGEST {
            return Err(GaugeError::TooLong);
        }
        Ok(String::from_utf8_lossy(&text).parse()?)
    }

    /// Says once for each reason that the load cannot be read, and that it can again.
    fn log(&self, why: Option<&GaugeError>, trouble: &mut Told) {
        let (instance, gauge) = (&self.instance, &self.settings.gauge);
        match why.map(ToString::to_string) {
            Some(why) => {
                if trouble.is_news(&why) {
                    tracing::warn!(%instance, load = %gauge, "cannot be read: {why}");
                }
            }
            None => {
                if trouble.forget() {
                    tracing::info!(%instance, load = %gauge, "can be read again");
                }
            }
        }
    }
}

/// Runs a command, and returns the text that it writes. If nobody waits any more, it is killed with
/// all that it started.
async fn run(command: &[String]) -> Result<Vec<u8>, GaugeError> {
    let (program, arguments) = command.split_first().ok_or(GaugeError::NoCommand)?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| GaugeError::NotRun(error.into()))?;
    // Dropped before the child, so that its number cannot be another's yet.
    let mut group = Group(child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())));
    let mut text = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(LONGEST as u64 + 1).read_to_end(&mut text).await?;
    }
    if text.len() > LONGEST {
        // It may never end.
        return Ok(text);
    }
    let status = child.wait().await?;
    group.0 = None;
    if status.success() {
        Ok(text)
    } else {
        Err(GaugeError::Ended(status))
    }
}

/// The processes that a command consists of, killed when this is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // They may have ended by themselves.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;
    use crate::builder::Access;

    fn settings(gauge: LoadGauge) -> GaugeSettings {
        GaugeSettings {
            gauge,
            weight: Weight::try_from(2).unwrap(),
            tor: None,
        }
    }

    fn command(command: &[&str]) -> LoadGauge {
        LoadGauge::command(command.iter().copied())
    }

    /// The first load that is told.
    async fn first(settings: GaugeSettings) -> Option<f64> {
        let (tell, mut events) = Teller::new_for_tests();
        let gauge = Gauge {
            instance: "a".parse().unwrap(),
            settings,
            tors: Tors::default(),
            tell,
        };
        let task = tokio::spawn(gauge.run());
        let (_, event) = events.recv().await.unwrap();
        task.abort();
        let Event::InstanceLoad { instance, load } = event else {
            panic!("{event:?}")
        };
        assert_eq!(instance, "a");
        load.map(Load::as_f64)
    }

    #[tokio::test]
    async fn commands_say_the_load() {
        for (gauge, load) in [
            (command(&["echo", "0.75"]), Some(0.75)),
            (command(&["echo", "12"]).per_weight(true), Some(6.0)),
            (command(&["echo", "12 %"]), None),
            (command(&["echo", "-1"]), None),
            (command(&["false"]), None),
            (command(&["yes"]), None),
            (command(&["yes", "1"]), None),
            (command(&["printf", "%256d", "7"]), Some(7.0)),
            (command(&["printf", "%257d", "7"]), None),
            (command(&["/nonexistent/load"]), None),
            (command(&["sleep", "60"]).within(Duration::from_millis(50)), None),
        ] {
            assert_eq!(first(settings(gauge.clone())).await, load, "{gauge:?}");
        }
    }

    /// A script that waits for somebody else is killed, and so is that.
    #[tokio::test]
    async fn commands_that_hang_are_killed_with_all_that_they_started() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", note.display());
        let gauge = command(&["sh", "-c", &script]).within(Duration::from_millis(500));
        assert_eq!(first(settings(gauge)).await, None);
        let pid: u32 = std::fs::read_to_string(note).unwrap().trim().parse().unwrap();
        // Its state, the first word after its name. One that is dead may wait for somebody to take
        // note.
        let runs = || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => !stat
                .rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])),
            Err(_) => false,
        };
        for _ in 0..100 {
            if !runs() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("process {pid} still runs");
    }

    #[tokio::test]
    async fn web_servers_say_the_load() {
        for (answer, load) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n17.5\n", Some(17.5)),
            ("HTTP/1.1 200 OK\r\n\r\n3", Some(3.0)),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n4\r\n1\r\n2\r\n0\r\n\r\n",
                Some(42.0),
            ),
            ("HTTP/1.1 500 Broken\r\ncontent-length: 1\r\n\r\n3", None),
            ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbusy", None),
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1", None),
            (&format!("HTTP/1.1 200 OK\r\n\r\n{:>256}", 7), Some(7.0)),
            (&format!("HTTP/1.1 200 OK\r\n\r\n{:>257}", 7), None),
            ("nonsense", None),
        ] {
            let answer = answer.to_owned();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = tokio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).await.unwrap() > 2 {
                    line.clear();
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
            let gauge = LoadGauge::http(&format!("http://{address}/load")).unwrap();
            assert_eq!(first(settings(gauge)).await, load);
            server.await.unwrap();
        }
    }

    /// A Tor that tells of two seconds, by a control port that asks for nothing.
    #[tokio::test]
    async fn tor_says_the_load() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string().parse().unwrap();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while stream.read_line(&mut line).await.unwrap() > 0 {
                let answer = match line.split_whitespace().next() {
                    Some("PROTOCOLINFO") => {
                        "250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250-VERSION Tor=\"0.4.5.9\"\r\n250 OK\r\n"
                    }
                    Some("GETINFO") if line.contains("version") => "250-version=0.4.5.9\r\n250 OK\r\n",
                    Some("GETINFO") => "552 Unrecognized key\r\n",
                    Some("SETEVENTS") => "250 OK\r\n650 BW 1000 3000\r\n650 BW 2000 0\r\n",
                    _ => "250 OK\r\n",
                };
                stream.write_all(answer.as_bytes()).await.unwrap();
                line.clear();
            }
        });
        let mut settings = settings(LoadGauge::bandwidth().every(Duration::from_secs(1)));
        settings.tor = Some(TorSettings {
            endpoint,
            access: Access::Offered,
            heartbeat: Duration::from_secs(2),
        });
        // Three thousand bytes in a second, and a weight of two.
        assert_eq!(first(settings).await, Some(1500.0));
        server.abort();
    }

    /// Nothing is known where nobody listens.
    #[tokio::test]
    async fn no_tor_says_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string().parse().unwrap();
        drop(listener);
        let mut settings = settings(LoadGauge::bandwidth().every(Duration::from_secs(1)));
        settings.tor = Some(TorSettings {
            endpoint,
            access: Access::Offered,
            heartbeat: Duration::from_secs(2),
        });
        assert_eq!(first(settings).await, None);
    }
}
