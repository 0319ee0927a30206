//! Control ports that answer from a script and count, and many services that are published through
//! them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use onionweave_assign::Mixed;
use onionweave_control::Endpoint;
use onionweave_desc::v2::ServiceKey;
use onionweave_driver::{Builder, Instance, Publisher, Service};
use onionweave_ring::UnixTime;
use rsa::pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPrivateKey as _};
use rsa::traits::PrivateKeyParts as _;
use rsa::{BigUint, RsaPrivateKey};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Router statuses of a recorded network.
const RELAYS: &str = include_str!("../../../ring/testdata/v2-network/ns_all.txt");
const PROTOCOL: &str = "250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250-VERSION Tor=\"0.4.5.9\"\r\n250 OK\r\n";

/// Numbers of what a control port was asked.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) connections: AtomicUsize,
    pub(crate) consensus_readings: AtomicUsize,
    pub(crate) descriptor_questions: AtomicUsize,
}

impl Counts {
    pub(crate) fn of(number: &AtomicUsize) -> usize {
        number.load(Ordering::Relaxed)
    }
}

/// A control port that answers as a Tor does that hosts nothing.
pub(crate) struct ScriptedTor {
    pub(crate) address: SocketAddr,
    pub(crate) counts: Arc<Counts>,
    task: JoinHandle<()>,
}

impl Drop for ScriptedTor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ScriptedTor {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, Arc::clone(&counted)));
            }
        });
        Self { address, counts, task }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.address.to_string().parse().unwrap()
    }
}

/// Serves one connection to its end.
async fn serve(stream: TcpStream, counts: Arc<Counts>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    // A publisher that ends resets its connections.
    while let Ok(1..) = stream.read_line(&mut line).await {
        let mut words = line.split_whitespace();
        let answer = match words.next() {
            Some("PROTOCOLINFO") => PROTOCOL.to_owned(),
            Some("GETINFO") => info(words, &counts),
            _ => "250 OK\r\n".to_owned(),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        line.clear();
    }
}

fn info<'a>(keys: impl Iterator<Item = &'a str>, counts: &Counts) -> String {
    let mut answer = String::new();
    // One that is valid now, since the publisher asks the clock.
    let hour = UnixTime::from(SystemTime::now()).start_of_hour().as_secs();
    let hours_on = |hours: u64| UnixTime::from_secs(hour + hours * 3600).to_string();
    for key in keys {
        let value = match key {
            "version" => "0.4.5.9".to_owned(),
            "status/circuit-established" => "1".to_owned(),
            "consensus/valid-after" => hours_on(0),
            "consensus/fresh-until" => hours_on(1),
            "consensus/valid-until" => hours_on(3),
            "ns/all" => {
                counts.consensus_readings.fetch_add(1, Ordering::Relaxed);
                answer += &format!("250+ns/all=\r\n{}\r\n.\r\n", RELAYS.trim_end().replace('\n', "\r\n"));
                continue;
            }
            _ => {
                counts.descriptor_questions.fetch_add(1, Ordering::Relaxed);
                return "551 Not found in cache\r\n".to_owned();
            }
        };
        answer += &format!("250-{key}={value}\r\n");
    }
    answer + "250 OK\r\n"
}

/// Different keys. Their primes are drawn once and combined: finding primes is what takes time.
pub(crate) fn keys(count: usize) -> Vec<ServiceKey> {
    let mut primes: Vec<BigUint> = Vec::new();
    let mut keys = Vec::new();
    while keys.len() < count {
        let key = ServiceKey::generate(getrandom::fill).unwrap();
        let key = RsaPrivateKey::from_pkcs1_pem(&key.to_pem()).unwrap();
        for prime in key.primes() {
            for other in &primes {
                // The product of two has 1023 or 1024 bits, and some have a common factor with e.
                let exponent = BigUint::from(65_537_u32);
                let Ok(pair) = RsaPrivateKey::from_p_q(prime.clone(), other.clone(), exponent) else {
                    continue;
                };
                let pem = pair.to_pkcs1_pem(rsa::pkcs8::LineEnding::LF).unwrap();
                keys.extend(ServiceKey::from_pem(pem));
            }
            primes.push(prime.clone());
        }
    }
    keys.truncate(count);
    keys
}

/// The description of a publisher of services with these keys, each with an instance at every Tor.
pub(crate) fn builder(keys: Vec<ServiceKey>, tors: &[ScriptedTor]) -> Builder {
    let mut builder = Publisher::builder().heartbeat(Duration::from_secs(10));
    for key in keys {
        let mut service = Service::new(key, Box::new(Mixed::default()));
        for (number, tor) in tors.iter().enumerate() {
            let name = format!("instance-{number}").parse().unwrap();
            service = service.instance(Instance::new(name, tor.endpoint()));
        }
        builder = builder.service(service);
    }
    builder
}

/// The same publisher, running.
pub(crate) fn publisher(keys: Vec<ServiceKey>, tors: &[ScriptedTor]) -> Publisher {
    let (publisher, _reports) = builder(keys, tors).start().unwrap();
    publisher
}
