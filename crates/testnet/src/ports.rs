//! Ports on 127.0.0.1 that no other network takes.
//!
//! Tor must be told its ports before it starts, and finds them again after a restart, so free ports
//! cannot just be left to the kernel. They are taken in blocks below the range from which the
//! kernel numbers outgoing connections (`ip_local_port_range` begins at 32768), so that no
//! connection borrows one in between. A block belongs to the holder of the lock on its file.

use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::Path;

use crate::error::{Error, IoContext};

/// The first port of the first block.
const FIRST: u16 = 10_000;
/// Ports in a block; no network needs more.
pub(crate) const BLOCK: u16 = 200;
/// The number of blocks: they end at port 32000.
const BLOCKS: u16 = 110;

/// A block of ports that belongs to one network until this is dropped.
#[derive(Debug)]
pub(crate) struct Ports {
    free: Vec<u16>,
    /// The lock lasts as long as the file is open.
    _lock: File,
}

impl Ports {
    /// Takes a block of which at least `wanted` ports are free.
    pub(crate) fn take(wanted: usize) -> Result<Self, Error> {
        let folder = std::env::temp_dir().join(format!("onionweave-ports-{}", rustix::process::getuid().as_raw()));
        fs::create_dir_all(&folder).doing("create", &folder)?;
        // Starting anywhere keeps networks that start together from trying the same blocks in turn.
        let start = (RandomState::new().hash_one(()) % u64::from(BLOCKS)) as u16;
        for block in (start..BLOCKS).chain(0..start) {
            if let Some(ports) = Self::take_block(&folder, block)?.filter(|ports| ports.free.len() >= wanted) {
                return Ok(ports);
            }
        }
        Err(Error::NoPorts {
            wanted,
            range: block_range(0).start..block_range(BLOCKS).start,
        })
    }

    /// Takes the block unless another network holds it.
    fn take_block(folder: &Path, block: u16) -> Result<Option<Self>, Error> {
        let path = folder.join(block.to_string());
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .doing("open", &path)?;
        if lock.try_lock().is_err() {
            return Ok(None);
        }
        let listens_nobody = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        let free = block_range(block).rev().filter(listens_nobody).collect();
        Ok(Some(Self { free, _lock: lock }))
    }

    /// The next port, which nobody listened on when the block was taken.
    pub(crate) fn next(&mut self) -> Result<u16, Error> {
        self.free.pop().ok_or(Error::NoPorts { wanted: 1, range: 0..0 })
    }
}

/// The ports of a block.
fn block_range(block: u16) -> Range<u16> {
    let first = FIRST + block * BLOCK;
    first..first + BLOCK
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn two_takers_share_no_port() {
        let mut one = Ports::take(50).unwrap();
        let mut other = Ports::take(50).unwrap();
        let all: HashSet<u16> = (0..50)
            .flat_map(|_| [one.next().unwrap(), other.next().unwrap()])
            .collect();
        assert_eq!(all.len(), 100);
    }

    #[test]
    fn a_port_in_use_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let first = Ports::take_block(folder.path(), 7).unwrap().unwrap().next().unwrap();
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        let mut ports = Ports::take_block(folder.path(), 7).unwrap().unwrap();
        assert_ne!(ports.next().unwrap(), first);
    }

    #[test]
    fn a_block_has_one_holder() {
        let folder = tempfile::tempdir().unwrap();
        let held = Ports::take_block(folder.path(), 7).unwrap();
        assert!(Ports::take_block(folder.path(), 7).unwrap().is_none());
        drop(held);
        assert!(Ports::take_block(folder.path(), 7).unwrap().is_some());
    }
}
