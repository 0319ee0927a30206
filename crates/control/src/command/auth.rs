//! `PROTOCOLINFO`, `AUTHCHALLENGE`, `AUTHENTICATE`: control-spec sections 3.5, 3.21, 3.24.

use data_encoding::HEXUPPER;
use zeroize::Zeroizing;

use super::Command;
use crate::auth::{Cookie, Password};
use crate::text::push_quoted;

impl Command {
    /// `PROTOCOLINFO 1`: how to authenticate. Tor answers it once on a connection
    /// (feature/control/control.c:261-275).
    pub fn protocol_info() -> Self {
        Self::fixed("PROTOCOLINFO", "PROTOCOLINFO 1\r\n")
    }

    /// `AUTHCHALLENGE SAFECOOKIE`: asks the other side to prove that it knows the cookie.
    pub fn auth_challenge(client_nonce: &[u8; 32]) -> Self {
        let line = format!("AUTHCHALLENGE SAFECOOKIE {}\r\n", HEXUPPER.encode(client_nonce));
        Self::fixed("AUTHCHALLENGE", &line)
    }

    /// `AUTHENTICATE` without argument, for a Tor that asks for nothing.
    pub fn authenticate_null() -> Self {
        Self::fixed("AUTHENTICATE", "AUTHENTICATE\r\n")
    }

    /// `AUTHENTICATE` with a password.
    pub fn authenticate_password(password: &Password) -> Self {
        // Twice the length is the most that quoting can need: the buffer never moves and leaves no
        // copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(password.as_bytes().len() * 2 + 32));
        bytes.extend_from_slice(b"AUTHENTICATE ");
        push_quoted(&mut bytes, password.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        Self {
            name: "AUTHENTICATE".into(),
            bytes,
        }
    }

    /// `AUTHENTICATE` with the cookie itself. This shows the cookie to any program that answers; SAFECOOKIE
    /// does not.
    pub fn authenticate_cookie(cookie: &Cookie) -> Self {
        Self::authenticate_hex(cookie.as_bytes())
    }

    /// `AUTHENTICATE` with the controller's hash, the last step of SAFECOOKIE.
    pub fn authenticate_safe_cookie(controller_hash: &[u8; 32]) -> Self {
        Self::authenticate_hex(controller_hash)
    }

    fn authenticate_hex(secret: &[u8; 32]) -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(128));
        bytes.extend_from_slice(b"AUTHENTICATE ");
        bytes.extend_from_slice(Zeroizing::new(HEXUPPER.encode(secret)).as_bytes());
        bytes.extend_from_slice(b"\r\n");
        Self {
            name: "AUTHENTICATE".into(),
            bytes,
        }
    }
}
