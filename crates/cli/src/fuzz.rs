//! Functions for fuzzing: each takes any bytes and ends in an invariant.

use std::collections::BTreeSet;

use onionweave_desc::v2::ServiceKey;

use crate::Error;
use crate::config::Config;

/// Reading a configuration fails with one line that names a place within the text, or gives
/// services with instances of different names.
pub fn config(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match Config::parse(text, "/folder".as_ref()) {
        Ok(config) => {
            assert!(!config.services.is_empty());
            for service in &config.services {
                assert!(service.key.is_absolute(), "{}", service.key.display());
            }
            let Ok(key) = ServiceKey::from_pem(include_str!("../testdata/private_key")) else {
                unreachable!("the fixture is a key");
            };
            match config.assemble(|_| Ok((key.clone(), None))) {
                Ok((builder, _)) => {
                    let [service] = &config.services[..] else {
                        panic!("two services with one key");
                    };
                    let names: BTreeSet<_> = service.instances.iter().map(|instance| &instance.name).collect();
                    assert_eq!(names.len(), service.instances.len());
                    assert!(builder.validate().is_ok());
                }
                Err(error) => {
                    let shown = error.to_string();
                    assert!(!shown.contains(['\n', '\r']), "{shown:?}");
                }
            }
        }
        Err(error) => {
            let shown = error.to_string();
            assert!(!shown.contains(['\n', '\r']), "{shown:?}");
            if let Error::Config {
                at: Some((line, _)), ..
            } = error
            {
                let lines = text.bytes().filter(|&byte| byte == b'\n').count() + 1;
                assert!((1..=lines).contains(&line), "{shown:?}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every committed input, and every one cut short.
    fn run_corpus(name: &str, function: impl Fn(&[u8])) {
        let folder = format!("{}/testdata/fuzz-corpus/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut inputs = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let input = std::fs::read(entry.unwrap().path()).unwrap();
            for end in (0..=input.len()).rev().step_by(1 + input.len() / 16) {
                function(&input[..end]);
            }
            inputs += 1;
        }
        assert!(inputs >= 4, "{folder} has {inputs} inputs");
    }

    #[test]
    fn config_corpus() {
        run_corpus("config", config);
    }
}
