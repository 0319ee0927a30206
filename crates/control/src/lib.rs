#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
//!
//! # Layout
//!
//! Every item has one path, at the top. From the bytes up:
//! - `codec` ([`Decoder`]): lines, dot-stuffing, whole replies and events, limits.
//! - `command` ([`Command`]) writes commands; `reply` and `event` ([`Event`]) interpret Tor's
//!   words.
//! - `uploads` ([`UploadTracker`]) and `track` ([`FetchTracker`]) tell the outcome of uploads and
//!   fetches from events.
//! - `session` ([`Session`]) matches replies to commands; `auth` ([`Handshake`]) authenticates.
//! - `client` (feature `tokio`) speaks over sockets; `launch` (feature `launch`) starts tor
//!   processes. They are the only parts that do IO.
//!
//! References of the form `feature/control/control.c:280` are to the source of tor 0.4.5.9, below
//! `src/`; sections are those of Tor's control-spec.

mod auth;
#[cfg(feature = "tokio")]
mod client;
mod codec;
mod command;
mod error;
mod event;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod ids;
#[cfg(all(unix, feature = "launch"))]
pub mod launch;
mod protocol_info;
mod relay_name;
mod reply;
mod session;
mod text;
mod track;
mod uploads;
mod version;
mod words;

pub use self::auth::{Cookie, Credentials, Handshake, Password, Step};
#[cfg(feature = "tokio")]
pub use self::client::{
    Answers, Attempt, Attempts, Backoff, Connection, Endpoint, Events, HostPort, Options, Supervisor, SupervisorOptions,
};
pub use self::codec::{Decoder, Item, Limits, Line, RawEvent, Reply, data};
pub use self::command::{
    AddOnion, CircuitUse, ClientAuth, Command, EventKind, ExtendCircuit, HsFetch, OnionKey, OnionKeyAlgorithm,
    RouterPurpose, Signal, StreamCloseReason,
};
pub use self::error::{ArgumentProblem, CloseReason, CookieProblem, Error};
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
pub use self::session::{Incoming, Session, Ticket};
pub use self::text::Arguments;
pub use self::track::{FetchOutcome, FetchTracker};
pub use self::uploads::{HsPost, OtherUpload, PostOutcome, UploadId, UploadNews, UploadStage, UploadTracker};
pub use self::version::{TorVersion, TorVersionError};
