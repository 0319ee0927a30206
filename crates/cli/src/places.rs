//! Lines of a configuration, by the keys that stand there.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Step from a value to one within it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    /// The value of a key.
    Key(&'a str),
    /// The element of an array, from 0.
    Index(usize),
}

/// A configuration's text, whose values can be found again.
#[derive(Debug)]
pub(crate) struct Places<'t> {
    text: &'t str,
    /// `None` if the text is no TOML: then there are no values.
    table: Option<Spanned<DeTable<'t>>>,
}

impl<'t> Places<'t> {
    pub(crate) fn of(text: &'t str) -> Self {
        Self {
            text,
            table: DeTable::parse(text).ok(),
        }
    }

    /// Line and column, from 1, of the value at the end of the steps. Where there is none, those of
    /// the innermost value that is there: a key that is missing is missing in its table.
    pub(crate) fn find(&self, steps: &[Step<'_>]) -> Option<(usize, usize)> {
        let table = self.table.as_ref()?;
        let mut span = None;
        let mut tables = Some(table.get_ref());
        let mut value: Option<&Spanned<DeValue<'_>>> = None;
        for step in steps {
            let next = match (step, value.map(Spanned::get_ref)) {
                (Step::Key(key), None) => tables.and_then(|table| table.get(*key)),
                (Step::Key(key), Some(DeValue::Table(table))) => table.get(*key),
                (Step::Index(index), Some(DeValue::Array(array))) => array.get(*index),
                _ => None,
            };
            let Some(next) = next else { break };
            span = Some(next.span());
            tables = None;
            value = Some(next);
        }
        span.map(|span| place(self.text, &span))
    }
}

/// Line and column, from 1, of the beginning of a span.
pub(crate) fn place(text: &str, span: &Range<usize>) -> (usize, usize) {
    let before = text.as_bytes().get(..span.start).unwrap_or_default();
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|&&byte| byte != b'\n').count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::Step::{Index, Key};
    use super::*;

    const TEXT: &str = "[publisher]\nstate = \"s\"\n\n[[service]]\nkey = \"k\"\n[[service.instance]]\nname = \"a\"\n[[service.instance]]\nname = \"b\"\ncontrol = \"h:1\"\ncheck = { tcp = \"h:2\" }\n";

    #[test]
    fn values_are_found_where_they_stand() {
        let places = Places::of(TEXT);
        for (steps, expected) in [
            (&[Key("publisher"), Key("state")][..], (2, 9)),
            (&[Key("service"), Index(0), Key("key")], (5, 7)),
            (
                &[Key("service"), Index(0), Key("instance"), Index(1), Key("control")],
                (10, 11),
            ),
            (
                &[
                    Key("service"),
                    Index(0),
                    Key("instance"),
                    Index(1),
                    Key("check"),
                    Key("tcp"),
                ],
                (11, 17),
            ),
            // What is missing is looked for in its table.
            (
                &[Key("service"), Index(0), Key("instance"), Index(0), Key("control")],
                (6, 1),
            ),
            (&[Key("service"), Index(0), Key("policy")], (4, 1)),
        ] {
            assert_eq!(places.find(steps), Some(expected), "{steps:?}");
        }
        assert_eq!(places.find(&[Key("pool")]), None);
        assert_eq!(Places::of("[[").find(&[Key("pool")]), None);
    }
}
