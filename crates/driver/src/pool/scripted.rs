//! A Tor in memory that gives one answer to every question, for tests in paused time.

use std::future::pending;
use std::time::Duration;

use onionweave_control::{Connection, Credentials, Error, Options};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::time::sleep;

const OFFER: &[u8] = b"250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250 OK\r\n";

/// Answer to every question.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Text(&'static str),
    /// A line of text after each pause, without end.
    Drip(Duration),
    Never,
    /// The end of the connection.
    HangUp,
    /// Nothing, not even to whoever authenticates.
    Shut,
}

/// Connects to a Tor that answers so.
pub(super) async fn answering(answer: Answer, options: &Options) -> Result<Connection, Error> {
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    tokio::spawn(serve(BufReader::new(theirs), answer));
    let (connection, _events) = Connection::over(ours, &Credentials::null(), options).await?;
    Ok(connection)
}

/// Ends when the other side hangs up, which fails every read and write.
async fn serve(mut stream: BufReader<DuplexStream>, answer: Answer) -> std::io::Result<()> {
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        match (line.split_whitespace().next(), answer) {
            (_, Answer::Shut) | (Some("GETINFO"), Answer::Never) => pending().await,
            (Some("PROTOCOLINFO"), _) => stream.write_all(OFFER).await?,
            (Some("AUTHENTICATE"), _) => stream.write_all(b"250 OK\r\n").await?,
            (_, Answer::HangUp) => return Ok(()),
            (_, Answer::Text(text)) => stream.write_all(text.as_bytes()).await?,
            (_, Answer::Drip(pause)) => {
                stream.write_all(b"250+version=\r\n").await?;
                loop {
                    stream.write_all(b"x\r\n").await?;
                    sleep(pause).await;
                }
            }
            (_, Answer::Never) => stream.write_all(b"250 OK\r\n").await?,
        }
        line.clear();
    }
    Ok(())
}
