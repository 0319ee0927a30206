//! `SETCONF`, `RESETCONF`, `GETCONF`, `LOADCONF`, `SAVECONF`: control-spec sections 3.1 to 3.3,
//! 3.6, 3.22.

use super::Command;
use super::line::Line;
use crate::{ArgumentProblem, Error};

impl Command {
    /// `SETCONF`: sets options, all or none (feature/control/control_cmd.c:571-616). A key named
    /// several times becomes a list.
    ///
    /// # Errors
    /// [`Error::Argument`] for a key that is not letters, digits and `_`, or a value with CR, LF or
    /// NUL; [`Error::CommandTooLong`].
    ///
    /// ```
    /// use onionweave_control::Command;
    ///
    /// let command = Command::set_conf(&[("Nickname", "a"), ("ContactInfo", "\"me\"")])?;
    /// assert_eq!(command.as_bytes(), b"SETCONF Nickname=\"a\" ContactInfo=\"\\\"me\\\"\"\r\n");
    /// # Ok::<(), onionweave_control::Error>(())
    /// ```
    pub fn set_conf(options: &[(&str, &str)]) -> Result<Self, Error> {
        let mut line = Line::new("SETCONF");
        if options.is_empty() {
            return Err(line.refuse("list of options", ArgumentProblem::Empty));
        }
        for (key, value) in options {
            line.option(key)?;
            line.quoted_value("value", value.as_bytes())?;
        }
        line.end()
    }

    /// `RESETCONF`: sets options back to their defaults.
    ///
    /// # Errors
    /// [`Error::Argument`] for a key that is not letters, digits and `_`;
    /// [`Error::CommandTooLong`].
    ///
    /// ```
    /// use onionweave_control::Command;
    ///
    /// assert_eq!(Command::reset_conf(&["Nickname"])?.as_bytes(), b"RESETCONF Nickname\r\n");
    /// # Ok::<(), onionweave_control::Error>(())
    /// ```
    pub fn reset_conf(options: &[&str]) -> Result<Self, Error> {
        Self::options("RESETCONF", options)
    }

    /// `GETCONF`: asks for the values of options.
    ///
    /// # Errors
    /// As [`reset_conf`](Self::reset_conf).
    ///
    /// ```
    /// use onionweave_control::Command;
    ///
    /// assert_eq!(Command::get_conf(&["SocksPort", "Log"])?.as_bytes(), b"GETCONF SocksPort Log\r\n");
    /// # Ok::<(), onionweave_control::Error>(())
    /// ```
    pub fn get_conf(options: &[&str]) -> Result<Self, Error> {
        Self::options("GETCONF", options)
    }

    /// `+LOADCONF`: replaces the whole configuration by this torrc.
    ///
    /// # Errors
    /// [`Error::Argument`] for an empty text or one with a NUL; [`Error::CommandTooLong`].
    ///
    /// ```
    /// use onionweave_control::Command;
    ///
    /// assert_eq!(Command::load_conf("SocksPort 0\n")?.as_bytes(), b"+LOADCONF\r\nSocksPort 0\r\n.\r\n");
    /// # Ok::<(), onionweave_control::Error>(())
    /// ```
    pub fn load_conf(torrc: &str) -> Result<Self, Error> {
        Line::new("+LOADCONF").end_with_body(torrc.as_bytes())
    }

    /// `SAVECONF`: writes the configuration to the torrc. Tor refuses where the torrc includes
    /// other files, unless `force` is set, which writes everything into the one file.
    ///
    /// ```
    /// use onionweave_control::Command;
    ///
    /// assert_eq!(Command::save_conf(true).as_bytes(), b"SAVECONF FORCE\r\n");
    /// ```
    pub fn save_conf(force: bool) -> Self {
        Self::fixed("SAVECONF", if force { "SAVECONF FORCE\r\n" } else { "SAVECONF\r\n" })
    }

    fn options(name: &'static str, options: &[&str]) -> Result<Self, Error> {
        let mut line = Line::new(name);
        if options.is_empty() {
            return Err(line.refuse("list of options", ArgumentProblem::Empty));
        }
        for key in options {
            line.option(key)?;
        }
        line.end()
    }
}
