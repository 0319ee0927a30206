//! `HSFETCH`, `HSPOST`, `POSTDESCRIPTOR`: control-spec sections 3.14, 3.26, 3.29.

use super::Command;
use super::line::{Line, forbidden, is_base32};
use crate::words::words;
use crate::{ArgumentProblem, Error};

impl Command {
    /// `HSFETCH`: asks directories for a descriptor. The answers come as `HS_DESC` and
    /// `HS_DESC_CONTENT` events, or not at all.
    ///
    /// # Errors
    /// [`Error::CommandTooLong`] with tens of thousands of servers.
    pub fn hs_fetch(fetch: &HsFetch) -> Result<Self, Error> {
        let mut line = Line::new("HSFETCH");
        line.word("target", &fetch.target)?;
        line.servers(&fetch.servers);
        line.end()
    }

    /// `+HSPOST`: uploads a descriptor to `servers`, relays named by their fingerprint.
    ///
    /// `hs_address` is the 56-character address of a v3 service, with or without `.onion`; without
    /// it Tor takes the body for v2. Then a Tor that has no v2 **gives no reply at all** (seen on
    /// 0.4.9.11), and only the deadline ends the wait. Without servers Tor chooses, wrongly so for
    /// a v3 descriptor of the next period (feature/hs/hs_control.c:228-237).
    ///
    /// `body` is the descriptor's text. It is sent as it is, but ended by exactly one LF: with an
    /// empty line after the descriptor, C Tor's directories store it so and other implementations
    /// refuse it.
    ///
    /// # Errors
    /// [`Error::Argument`] for a malformed address, an empty body, one that begins with an
    /// annotation (`@`, which Tor answers with 554), or one that holds a NUL (where Tor would cut
    /// it); [`Error::CommandTooLong`].
    pub fn hs_post(servers: &[[u8; 20]], hs_address: Option<&str>, body: &[u8]) -> Result<Self, Error> {
        let mut line = Line::new("+HSPOST");
        line.servers(servers);
        if let Some(address) = hs_address {
            let address = address.strip_suffix(".onion").unwrap_or(address);
            if !is_base32(address, 56) {
                return Err(line.refuse(
                    "address",
                    ArgumentProblem::Form("is not 56 characters of lower-case base32"),
                ));
            }
            line.key_value("HSADDRESS", address);
        }
        if body.first() == Some(&b'@') {
            return Err(line.refuse(
                "body",
                ArgumentProblem::Form("begins with an annotation, which Tor refuses"),
            ));
        }
        let end = body
            .iter()
            .rposition(|byte| !matches!(byte, b'\n' | b'\r'))
            .map_or(0, |last| last + 1);
        line.end_with_body(body.get(..end).unwrap_or(body))
    }

    /// `+POSTDESCRIPTOR`: gives Tor a relay's descriptor. `purpose` is [`RouterPurpose::General`]
    /// if absent, and Tor keeps the descriptor on disk only if `cache` is set.
    ///
    /// # Errors
    /// [`Error::Argument`] for an empty text or one with a NUL, or a purpose that is not one word;
    /// [`Error::CommandTooLong`].
    ///
    /// ```
    /// use onionweave_control::{Command, RouterPurpose};
    ///
    /// let command = Command::post_descriptor(b"router a\n", Some(&RouterPurpose::Bridge), true)?;
    /// assert_eq!(command.as_bytes(), b"+POSTDESCRIPTOR purpose=bridge cache=yes\r\nrouter a\r\n.\r\n");
    /// # Ok::<(), onionweave_control::Error>(())
    /// ```
    pub fn post_descriptor(descriptor: &[u8], purpose: Option<&RouterPurpose>, cache: bool) -> Result<Self, Error> {
        let mut line = Line::new("+POSTDESCRIPTOR");
        if let Some(purpose) = purpose {
            line.word_value("purpose", "purpose", purpose.as_str())?;
        }
        if cache {
            line.key_value("cache", "yes");
        }
        line.end_with_body(descriptor)
    }
}

/// Target and directories of an `HSFETCH`.
///
/// ```
/// use onionweave_control::{Command, HsFetch};
///
/// let fetch = HsFetch::v2_descriptor("lhrcprndbm75osvtwkzuo5pdj7666cz7")?.server([0xab; 20]);
/// assert_eq!(
///     Command::hs_fetch(&fetch)?.as_bytes(),
///     b"HSFETCH v2-lhrcprndbm75osvtwkzuo5pdj7666cz7 SERVER=$ABABABABABABABABABABABABABABABABABABABAB\r\n",
/// );
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HsFetch {
    target: String,
    servers: Vec<[u8; 20]>,
}

impl HsFetch {
    /// The v2 descriptor with this ID, 32 characters of lower-case base32.
    ///
    /// Tor refuses it without a server. Each server is asked once
    /// (feature/rend/rendclient.c:616-674).
    ///
    /// # Errors
    /// [`Error::Argument`] if the ID has another form.
    pub fn v2_descriptor(descriptor_id: &str) -> Result<Self, Error> {
        if !is_base32(descriptor_id, 32) {
            return Err(Self::refuse(
                "descriptor ID",
                descriptor_id,
                "is not 32 characters of lower-case base32",
            ));
        }
        Ok(Self {
            target: format!("v2-{descriptor_id}"),
            servers: Vec::new(),
        })
    }

    /// The descriptor of a service by its address, 16 (v2) or 56 (v3) characters of lower-case
    /// base32, with or without `.onion`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the address has another form.
    pub fn address(address: &str) -> Result<Self, Error> {
        let id = address.strip_suffix(".onion").unwrap_or(address);
        if !is_base32(id, 16) && !is_base32(id, 56) {
            return Err(Self::refuse(
                "address",
                address,
                "is not 16 or 56 characters of lower-case base32",
            ));
        }
        Ok(Self {
            target: id.to_owned(),
            servers: Vec::new(),
        })
    }

    /// Adds a directory to ask, by its fingerprint. Without any, Tor chooses.
    #[must_use]
    pub fn server(mut self, fingerprint: [u8; 20]) -> Self {
        self.servers.push(fingerprint);
        self
    }

    /// The target, as the command writes it.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// The directories to ask.
    pub fn servers(&self) -> &[[u8; 20]] {
        &self.servers
    }

    fn refuse(argument: &'static str, value: &str, form: &'static str) -> Error {
        let problem = match forbidden(value.as_bytes()) {
            Some(problem) => problem,
            None if value.is_empty() => ArgumentProblem::Empty,
            None => ArgumentProblem::Form(form),
        };
        Error::Argument {
            command: "HSFETCH".to_owned(),
            argument,
            problem,
        }
    }
}

words! {
    /// Use of a relay's descriptor that is given to Tor (`router_purpose_from_string`,
    /// feature/nodelist/routerinfo.c).
    ///
    /// ```
    /// use onionweave_control::RouterPurpose;
    ///
    /// assert_eq!(RouterPurpose::Controller.as_str(), "controller");
    /// ```
    pub enum RouterPurpose else Other {
        /// Any circuit.
        General = "general",
        /// Only circuits that the controller builds.
        Controller = "controller",
        /// A bridge.
        Bridge = "bridge",
    }
}
