//! Log lines on standard error.
//!
//! A log that cannot be written ends nothing: its lines are lost, and the publisher goes on.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// Starts logging at the level that the environment variable `RUST_LOG` names; `info` without it.
///
/// Colours are for terminals alone, and `NO_COLOR` turns them off (<https://no-color.org>).
pub fn start() {
    let (filter, mistakes) = filter(std::env::var("RUST_LOG").ok().as_deref());
    let colours = io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb");
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(colours)
        // What cannot be written would be reported with `eprintln!`, which panics.
        .log_internal_errors(false)
        .with_writer(io::stderr)
        .init();
    for mistake in mistakes {
        tracing::warn!("{mistake}");
    }
}

/// Writes one line that says why the program ends. Nothing happens if it cannot be written.
pub fn complain(program: &str, error: &dyn Error) {
    // Causes stand in the message already.
    let message = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    let _ = writeln!(io::stderr(), "{program}: {message}");
}

/// Filter that `RUST_LOG` stands for, and what is wrong with it.
fn filter(value: Option<&str>) -> (EnvFilter, Vec<String>) {
    let Some(value) = value.filter(|value| !value.trim().is_empty()) else {
        return (EnvFilter::new("info"), Vec::new());
    };
    // A single word that is no level is taken for the name of a module, and shows nothing else.
    let misspelt = |directive: &&str| {
        !directive.is_empty()
            && directive.chars().all(|c| c.is_ascii_alphanumeric())
            && directive.parse::<LevelFilter>().is_err()
    };
    let misspelt: Vec<_> = value.split(',').map(str::trim).filter(misspelt).collect();
    match EnvFilter::try_new(value) {
        Ok(filter) if misspelt.is_empty() => (filter, Vec::new()),
        Ok(_) => {
            let mistake = |word| {
                format!("RUST_LOG: \"{word}\" is no level; write error, warn, info, debug or trace (info is used)")
            };
            (EnvFilter::new("info"), misspelt.into_iter().map(mistake).collect())
        }
        Err(error) => (
            EnvFilter::new("info"),
            vec![format!("RUST_LOG: {error} (info is used)")],
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_levels_are_named() {
        for (value, mistakes) in [
            (None, 0),
            (Some(""), 0),
            (Some("debug"), 0),
            (Some("WARN"), 0),
            (Some("info,onionweave_driver=trace"), 0),
            (Some("onionweave_driver"), 0),
            (Some("inof"), 1),
            (Some("inof,dbg"), 2),
            (Some("info,onionweave_driver=loud"), 1),
        ] {
            let (filter, found) = filter(value);
            assert_eq!(found.len(), mistakes, "{value:?}: {found:?}");
            if mistakes > 0 {
                assert_eq!(filter.to_string(), "info");
                assert!(found[0].starts_with("RUST_LOG: "), "{found:?}");
            }
        }
    }
}
