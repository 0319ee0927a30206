//! A command being written, argument by argument.

use std::borrow::Cow;

use data_encoding::HEXUPPER;
use zeroize::Zeroizing;

use super::Command;
use crate::codec::data;
use crate::text::push_quoted;
use crate::{ArgumentProblem, Error};

/// A command being written: its line so far, without end.
pub(super) struct Line {
    name: Cow<'static, str>,
    /// Wiped when dropped: some arguments are secrets.
    bytes: Zeroizing<Vec<u8>>,
}

impl Line {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            bytes: Zeroizing::new(name.as_bytes().to_vec()),
        }
    }

    /// A line with room for secrets: as long as it stays within `capacity` bytes, its buffer never
    /// moves and leaves no copy behind.
    pub(super) fn with_room(name: &'static str, capacity: usize) -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
        bytes.extend_from_slice(name.as_bytes());
        Self {
            name: Cow::Borrowed(name),
            bytes,
        }
    }

    pub(super) fn raw(text: &str) -> Result<Self, Error> {
        let name = text.split(' ').next().unwrap_or_default();
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        let line = Self {
            name: Cow::Owned(name),
            bytes: Zeroizing::new(text.as_bytes().to_vec()),
        };
        line.check("line", text.as_bytes())?;
        if matches!(&*line.name, "" | "+") {
            return Err(line.refuse("keyword", ArgumentProblem::Empty));
        }
        Ok(line)
    }

    /// Appends an argument that must be one word.
    pub(super) fn word(&mut self, argument: &'static str, word: &str) -> Result<(), Error> {
        self.check_word(argument, word)?;
        self.bytes.push(b' ');
        self.bytes.extend_from_slice(word.as_bytes());
        Ok(())
    }

    pub(super) fn check_word(&self, argument: &'static str, word: &str) -> Result<(), Error> {
        self.check(argument, word.as_bytes())?;
        if word.is_empty() {
            return Err(self.refuse(argument, ArgumentProblem::Empty));
        }
        if word
            .bytes()
            .any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control())
        {
            return Err(self.refuse(argument, ArgumentProblem::Form("holds spaces or control characters")));
        }
        Ok(())
    }

    /// Appends the name of a configuration option.
    pub(super) fn option(&mut self, key: &str) -> Result<(), Error> {
        self.word("option", key)?;
        if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(self.refuse("option", ArgumentProblem::Form("is not letters, digits and '_'")));
        }
        Ok(())
    }

    pub(super) fn servers(&mut self, servers: &[[u8; 20]]) {
        for server in servers {
            self.key_value("SERVER", &format!("${}", HEXUPPER.encode(server)));
        }
    }

    /// Appends a keyword with a value that is known to need no quoting.
    pub(super) fn key_value(&mut self, key: &str, value: &str) {
        for part in [" ", key, "=", value] {
            self.bytes.extend_from_slice(part.as_bytes());
        }
    }

    /// Appends a keyword with a value that must be one word.
    pub(super) fn word_value(&mut self, argument: &'static str, key: &str, value: &str) -> Result<(), Error> {
        self.check_word(argument, value)?;
        self.key_value(key, value);
        Ok(())
    }

    /// Appends `=` and a quoted value to the word that was appended last.
    pub(super) fn quoted_value(&mut self, argument: &'static str, value: &[u8]) -> Result<(), Error> {
        self.check(argument, value)?;
        self.bytes.push(b'=');
        push_quoted(&mut self.bytes, value);
        Ok(())
    }

    pub(super) fn check(&self, argument: &'static str, value: &[u8]) -> Result<(), Error> {
        match forbidden(value) {
            Some(problem) => Err(self.refuse(argument, problem)),
            None => Ok(()),
        }
    }

    pub(super) fn refuse(&self, argument: &'static str, problem: ArgumentProblem) -> Error {
        Error::Argument {
            command: self.name.clone().into_owned(),
            argument,
            problem,
        }
    }

    pub(super) fn end(mut self) -> Result<Command, Error> {
        self.bytes.extend_from_slice(b"\r\n");
        if self.bytes.len() > Command::MAX_BYTES {
            return Err(Error::CommandTooLong {
                command: self.name.into_owned(),
                length: self.bytes.len(),
                limit: Command::MAX_BYTES,
            });
        }
        Ok(Command {
            name: self.name,
            bytes: self.bytes,
        })
    }

    pub(super) fn end_with_body(mut self, body: &[u8]) -> Result<Command, Error> {
        if body.is_empty() {
            return Err(self.refuse("body", ArgumentProblem::Empty));
        }
        if let Some(at) = body.iter().position(|&byte| byte == 0) {
            return Err(self.refuse("body", ArgumentProblem::Nul { at }));
        }
        let data = data::escape(body);
        let length = self.bytes.len() + 2 + data.len();
        if length > Command::MAX_BYTES {
            return Err(Error::CommandTooLong {
                command: self.name.into_owned(),
                length,
                limit: Command::MAX_BYTES,
            });
        }
        self.bytes.extend_from_slice(b"\r\n");
        self.bytes.extend_from_slice(&data);
        Ok(Command {
            name: self.name,
            bytes: self.bytes,
        })
    }
}

/// The first byte that can't be part of any argument.
pub(crate) fn forbidden(value: &[u8]) -> Option<ArgumentProblem> {
    value.iter().enumerate().find_map(|(at, byte)| match byte {
        b'\r' | b'\n' => Some(ArgumentProblem::LineBreak { at }),
        0 => Some(ArgumentProblem::Nul { at }),
        _ => None,
    })
}

/// Tor's own check is `strspn(.., BASE32_CHARS)`: lower-case only.
pub(super) fn is_base32(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
}
