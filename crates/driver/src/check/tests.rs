use std::time::Duration;

use onionweave_control::Endpoint;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::teller::Teller;

/// Longest time that a check may take here: far longer than it does, except where an answer never
/// comes.
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

/// A server that answers every request with these bytes, and then closes; with none, it never does.
struct Server {
    address: String,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(answer: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut request = vec![0; 4096];
                    let length = stream.read(&mut request).await.unwrap();
                    let request = String::from_utf8_lossy(&request[..length]).into_owned();
                    match answer {
                        Some("echo") => {
                            // The first line and the host, as the reason of a refusal, which nobody
                            // reads but this test.
                            let good = request.starts_with("GET /a?b=c HTTP/1.1\r\n") && request.contains("host: 127.");
                            let status = if good { 200 } else { 400 };
                            let answer = format!("HTTP/1.1 {status} x\r\n\r\n");
                            stream.write_all(answer.as_bytes()).await.unwrap();
                        }
                        Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                        None => std::future::pending().await,
                    }
                });
            }
        });
        Self { address, task }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn checker(check: Check) -> (Checker, mpsc::Receiver<(u64, Event)>) {
    let (tell, events) = Teller::new_for_tests();
    let checker = Checker {
        instance: "a".parse().unwrap(),
        settings: CheckSettings {
            check,
            service: "rf75jzdtba4wnd6v".parse().unwrap(),
            prober: None,
            pass: None,
        },
        fit: true,
        knowledge: watch::Sender::default().subscribe(),
        tell,
    };
    (checker, events)
}

async fn outcome(check: Check) -> Result<(), String> {
    match checker(check).0.check(&mut None).await.unwrap() {
        Outcome::Served => Ok(()),
        Outcome::Failed(why) => Err(why),
        Outcome::Unknown(why) => panic!("{why}"),
    }
}

fn http_check(address: &str, path: &str) -> Check {
    Check::http(&format!("http://{address}{path}")).unwrap()
}

fn failed(why: &str) -> Result<(), String> {
    Err(why.into())
}

#[tokio::test]
async fn tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let check = Check::tcp(address.to_string().parse().unwrap()).within(LONG);
    assert_eq!(outcome(check.clone()).await, Ok(()));
    drop(listener);
    assert_eq!(outcome(check).await, failed("connection refused"));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let check = Check::tcp(Endpoint::Unix(path.clone())).within(LONG);
    assert_eq!(outcome(check.clone()).await, failed("entity not found"));
    let listener = UnixListener::bind(&path).unwrap();
    assert_eq!(outcome(check.clone()).await, Ok(()));
    drop(listener);
    assert_eq!(outcome(check).await, failed("connection refused"));
}

#[tokio::test]
async fn http() {
    for (answer, status, expected) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", None, Ok(())),
        ("HTTP/1.0 204 None\r\n\r\n", None, Ok(())),
        ("HTTP/1.1 302 Found\r\nlocation: /x\r\n\r\n", None, Ok(())),
        // The answer comes, its body never ends.
        ("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nx", None, Ok(())),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", None, Ok(())),
        ("HTTP/1.1 503 No\r\n\r\n", None, failed("HTTP 503")),
        ("HTTP/1.1 404 No\r\n\r\n", None, failed("HTTP 404")),
        ("HTTP/1.1 503 No\r\n\r\n", Some(503), Ok(())),
        ("HTTP/1.1 200 OK\r\n\r\n", Some(204), failed("HTTP 200")),
        (
            "SSH-2.0-OpenSSH\r\n",
            None,
            failed("no HTTP answer: invalid HTTP version parsed"),
        ),
        (
            "",
            None,
            failed("no HTTP answer: connection closed before message completed"),
        ),
    ] {
        let server = Server::start(Some(answer)).await;
        let mut check = http_check(&server.address, "/").within(LONG);
        if let Some(status) = status {
            check = check.status(status).unwrap();
        }
        assert_eq!(outcome(check).await, expected, "{answer:?}");
    }
    let server = Server::start(Some("echo")).await;
    let check = http_check(&server.address, "/a?b=c").within(LONG);
    assert_eq!(outcome(check).await, Ok(()));
}

#[tokio::test]
async fn answers_without_end() {
    // Headers without end are cut off.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        while stream
            .write_all(&b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(100))
            .await
            .is_ok()
        {}
    });
    let check = http_check(&address.to_string(), "/").within(LONG);
    let error = outcome(check).await.unwrap_err();
    assert!(error.starts_with("no HTTP answer: "), "{error}");
    // The connection was closed, else this would go on.
    server.await.unwrap();
}

#[tokio::test]
async fn silence_is_a_failure() {
    let server = Server::start(None).await;
    let check = http_check(&server.address, "/").within(SHORT);
    assert_eq!(outcome(check).await, failed("no answer within 200ms"));
}

#[tokio::test]
async fn nothing_to_check_is_no_result() {
    let (checker, _events) = checker(Check::tor(80));
    assert_eq!(checker.check(&mut None).await, None);
}

#[tokio::test]
async fn verdicts_are_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (checker, mut events) = checker(
        Check::tcp(address.to_string().parse().unwrap())
            .every(Duration::from_millis(100))
            .within(LONG),
    );
    let task = tokio::spawn(checker.run());
    // One success, so that the first failure is not the first result.
    listener.accept().await.unwrap();
    drop(listener);
    let begin = Instant::now();
    let Some((_, Event::InstanceUnfit { instance, why })) = events.recv().await else {
        panic!("not unfit")
    };
    assert_eq!((instance.as_str(), &*why), ("a", "connection refused"));
    // Three failures, a tenth of a second apart.
    assert!(begin.elapsed() > Duration::from_millis(150));
    let _listener = TcpListener::bind(address).await.unwrap();
    assert!(matches!(events.recv().await, Some((_, Event::InstanceFit { .. }))));
    // Nobody listens any more: at the next news it ends.
    drop((events, _listener));
    timeout(Duration::from_secs(20), task).await.unwrap().unwrap();
}
