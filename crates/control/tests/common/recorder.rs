//! Stands between a controller and Tor, and writes down what they say.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use onionweave_control::Endpoint;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixStream};

/// A recorded connection.
pub(crate) struct Recorder {
    endpoint: Endpoint,
    transcript: Arc<Mutex<String>>,
}

impl Recorder {
    /// Waits for a controller that wants to speak to the Tor at this socket.
    pub(crate) async fn start(tor: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string().parse::<Endpoint>().unwrap();
        let transcript = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&transcript);
        tokio::spawn(async move {
            let (mut controller, _) = listener.accept().await.unwrap();
            let mut tor = UnixStream::connect(tor).await.unwrap();
            let (from_controller, to_controller) = controller.split();
            let (from_tor, to_tor) = tor.split();
            tokio::join!(
                pass_on("C: ", from_controller, to_tor, &written),
                pass_on("S: ", from_tor, to_controller, &written)
            );
        });
        Self { endpoint, transcript }
    }

    /// Address to which the controller connects.
    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    /// The conversation, `C: ` before each line of the controller and `S: ` before each of Tor.
    pub(crate) fn transcript(&self) -> String {
        self.transcript.lock().unwrap().clone()
    }
}

async fn pass_on(who: &str, from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, transcript: &Mutex<String>) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
        transcript.lock().unwrap().push_str(&format!("{who}{text}\n"));
        if to.write_all(&line).await.is_err() {
            return;
        }
        line.clear();
    }
    let _ = to.shutdown().await;
}
