//! `MAPADDRESS`, `RESOLVE`: control-spec sections 3.8, 3.20.

use super::Command;
use super::line::Line;
use crate::{ArgumentProblem, Error};

impl Command {
    /// `MAPADDRESS`: requests for the first address of a pair go to the second from now on. With
    /// `0.0.0.0`, `::` or `.` as the first, Tor chooses an unused address or name and tells which
    /// (feature/control/control_cmd.c:637-711).
    ///
    /// Each pair succeeds or fails by itself: read the reply with
    /// [`AddressMapping::from_reply`](crate::AddressMapping::from_reply).
    ///
    /// # Errors
    /// [`Error::Argument`] without a pair, for an address that is not one word, or a first one with
    /// `=`; [`Error::CommandTooLong`].
    ///
    /// ```
    /// use onionweave_control::Command;
    ///
    /// let command = Command::map_address(&[("1.2.3.4", "torproject.org")])?;
    /// assert_eq!(command.as_bytes(), b"MAPADDRESS 1.2.3.4=torproject.org\r\n");
    /// # Ok::<(), onionweave_control::Error>(())
    /// ```
    pub fn map_address(pairs: &[(&str, &str)]) -> Result<Self, Error> {
        let mut line = Line::new("MAPADDRESS");
        if pairs.is_empty() {
            return Err(line.refuse("list of addresses", ArgumentProblem::Empty));
        }
        for (from, to) in pairs {
            line.check_word("address", from)?;
            if from.contains(['=', '"']) {
                return Err(line.refuse("address", ArgumentProblem::Form("holds '=' or '\"'")));
            }
            line.word_value("new address", from, to)?;
        }
        line.end()
    }

    /// `RESOLVE`: looks up addresses, or with `reverse` the names of IP addresses. The answers come
    /// as `ADDRMAP` events, which must have been asked for
    /// (feature/control/control_cmd.c:1198-1244).
    ///
    /// # Errors
    /// [`Error::Argument`] without an address, or for one that is not one word or holds `=`;
    /// [`Error::CommandTooLong`].
    ///
    /// ```
    /// use onionweave_control::Command;
    ///
    /// let command = Command::resolve(&["192.0.2.1"], true)?;
    /// assert_eq!(command.as_bytes(), b"RESOLVE mode=reverse 192.0.2.1\r\n");
    /// # Ok::<(), onionweave_control::Error>(())
    /// ```
    pub fn resolve(addresses: &[&str], reverse: bool) -> Result<Self, Error> {
        let mut line = Line::new("RESOLVE");
        if addresses.is_empty() {
            return Err(line.refuse("list of addresses", ArgumentProblem::Empty));
        }
        if reverse {
            line.key_value("mode", "reverse");
        }
        for address in addresses {
            // Tor takes `K=V` for an option that it does not know, and a quote for a syntax error.
            if address.contains(['=', '"']) {
                return Err(line.refuse("address", ArgumentProblem::Form("holds '=' or '\"'")));
            }
            line.word("address", address)?;
        }
        line.end()
    }
}
