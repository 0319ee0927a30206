//! A relay of bytes between the publisher and a control port, as an SSH tunnel would be: its
//! connections can be cut.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

/// Passes connections to one unix socket on to another, until it is dropped.
pub(crate) struct Forwarder {
    path: PathBuf,
    connections: Arc<Mutex<JoinSet<()>>>,
    listener: JoinHandle<()>,
}

impl Forwarder {
    /// Listens at `path`.
    pub(crate) fn start(path: PathBuf, to: PathBuf) -> anyhow::Result<Self> {
        let socket = UnixListener::bind(&path).with_context(|| path.display().to_string())?;
        let connections = Arc::default();
        let listener = tokio::spawn(forward(socket, to, Arc::clone(&connections)));
        Ok(Self {
            path,
            connections,
            listener,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Closes all connections. New ones are welcome.
    pub(crate) fn cut(&self) {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .abort_all();
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.listener.abort();
        self.cut();
    }
}

async fn forward(socket: UnixListener, to: PathBuf, connections: Arc<Mutex<JoinSet<()>>>) {
    while let Ok((mut here, _)) = socket.accept().await {
        let to = to.clone();
        let mut connections = connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.spawn(async move {
            // A control port that is not there shows by the end of the connection.
            if let Ok(mut there) = UnixStream::connect(to).await {
                let _ = copy_bidirectional(&mut here, &mut there).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn passes_on_until_it_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let (inner, outer) = (folder.path().join("inner"), folder.path().join("outer"));
        let server = UnixListener::bind(&inner).unwrap();
        let forwarder = Forwarder::start(outer, inner).unwrap();
        for _ in 0..2 {
            let mut client = UnixStream::connect(forwarder.path()).await.unwrap();
            let (mut served, _) = server.accept().await.unwrap();
            client.write_all(b"hello").await.unwrap();
            let mut heard = [0; 5];
            served.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"hello");
            forwarder.cut();
            assert_eq!(client.read(&mut heard).await.unwrap(), 0, "it is closed");
        }
    }
}
