//! The way to a control port: an endpoint, or a function of the caller's.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::Endpoint;
use super::driver::Stream;

type Connected = io::Result<Box<dyn Stream + Unpin>>;
type Connecting = Pin<Box<dyn Future<Output = Connected> + Send>>;

/// Opens streams to one control port, again and again.
#[derive(Clone)]
pub(super) struct Dial {
    name: Arc<str>,
    connect: Arc<dyn Fn() -> Connecting + Send + Sync>,
}

impl Dial {
    /// Connects to an endpoint of the operating system.
    pub(super) fn to(endpoint: Endpoint) -> Self {
        let name = endpoint.to_string().into();
        let connect = move || -> Connecting {
            let endpoint = endpoint.clone();
            Box::pin(async move {
                match &endpoint {
                    Endpoint::Tcp(address) => {
                        let stream = TcpStream::connect(address.as_str()).await?;
                        stream.set_nodelay(true)?;
                        Ok(Box::new(stream) as Box<dyn Stream + Unpin>)
                    }
                    Endpoint::Unix(path) => connect_unix(path).await,
                }
            })
        };
        Self {
            name,
            connect: Arc::new(connect),
        }
    }

    /// Connects by a function, which errors call by `name`.
    pub(super) fn by<S, F>(name: &str, connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        S: Stream + Unpin + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
    {
        let connect = move || -> Connecting {
            let connecting = connect();
            Box::pin(async move { Ok(Box::new(connecting.await?) as Box<dyn Stream + Unpin>) })
        };
        Self {
            name: name.into(),
            connect: Arc::new(connect),
        }
    }

    /// The control port's name in errors.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) async fn connect(&self) -> Connected {
        (self.connect)().await
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dial({})", self.name)
    }
}

#[cfg(unix)]
async fn connect_unix(path: &Path) -> Connected {
    Ok(Box::new(tokio::net::UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
async fn connect_unix(_path: &Path) -> Connected {
    Err(io::ErrorKind::Unsupported.into())
}
