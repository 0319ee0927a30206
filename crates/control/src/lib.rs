#![doc = include_str!("../README.md")]
//!
//! # Layout
//!
//! From the bytes up:
//! - [`codec`]: lines, dot-stuffing, whole replies and events, limits.
//! - [`command`] writes commands; [`reply`], [`event`], [`relay_name`], [`protocol_info`] interpret what comes
//!   back.
//! - [`track`] tells from events what became of uploads and fetches.
//! - [`session`] matches replies to commands; [`auth`] holds the steps of authentication.
//! - `client` (feature `tokio`) speaks over sockets; `launch` (feature `launch`) starts tor processes.
//!   They are the only parts that do IO.
//!
//! References of the form `feature/control/control.c:280` are to the source of tor 0.4.5.9, below
//! `src/`; sections are those of Tor's control-spec.

pub mod auth;
#[cfg(feature = "tokio")]
pub mod client;
pub mod codec;
pub mod command;
mod error;
pub mod event;
#[doc(hidden)]
pub mod fuzz;
mod ids;
#[cfg(all(unix, feature = "launch"))]
pub mod launch;
pub mod protocol_info;
pub mod relay_name;
pub mod reply;
pub mod session;
mod text;
pub mod track;
mod version;
mod words;

pub use self::auth::{Credentials, Password};
#[cfg(feature = "tokio")]
pub use self::client::{
    Answers, Attempt, Attempts, Backoff, Connection, Endpoint, Events, Options, Supervisor, SupervisorOptions,
};
pub use self::codec::{Decoder, Limits, RawEvent, Reply};
pub use self::command::{
    AddOnion, CircuitUse, ClientAuth, Command, EventKind, ExtendCircuit, HsFetch, OnionKey, OnionKeyAlgorithm,
    RouterPurpose, Signal, StreamCloseReason,
};
pub use self::error::{ArgumentProblem, CloseReason, Error};
pub use self::event::{
    AddrMap, BuildFlag, BuildTimeoutChange, BuildTimeoutSet, Bw, CellQueue, CellStats, Circ, CircBw, CircMinor,
    Circuit, CircuitChange, CircuitPurpose, CircuitReason, CircuitStatus, ClientProtocol, ClientsSeen, ConfChanged,
    Congestion, ConnBw, ConnectionKind, Event, Gap, Guard, GuardStatus, HsAuth, HsDesc, HsDescAction, HsDescContent,
    HsDescReason, HsState, LogMessage, NetworkLiveness, NewConsensus, NewDesc, Ns, OrConn, OrConnReason, OrConnStatus,
    Severity, SignalReceived, SocksAuth, Status, Stream, StreamBw, StreamPurpose, StreamReason, StreamStatus,
    TransportLaunched, TransportMessage,
};
pub use self::ids::{CircuitId, ConnectionId, StreamId};
pub use self::protocol_info::{AuthMethod, ProtocolInfo};
pub use self::relay_name::RelayName;
pub use self::reply::{AddressMapping, ClientAuthAdded, ConfValue, OnionAdded};
pub use self::session::Session;
pub use self::text::Arguments;
pub use self::track::{FetchOutcome, HsPost, PostOutcome};
pub use self::version::{TorVersion, TorVersionError};
