//! What the fuzzers run. Each function takes any bytes and ends in an invariant.

use crate::v2::{IntroductionPoint, ServiceKey, UnverifiedDescriptor};

/// A descriptor is kept byte for byte, and reading its text again gives the same.
pub fn descriptor(data: &[u8]) {
    let Ok((parsed, rest)) = UnverifiedDescriptor::parse_prefix(data) else {
        return;
    };
    assert_eq!([parsed.text(), rest].concat(), data, "the text is kept");
    let again = UnverifiedDescriptor::parse(parsed.text());
    assert_eq!(
        again.map(|again| again.text().to_vec()),
        Ok(parsed.text().to_vec()),
        "a descriptor stands alone"
    );
    let Ok(descriptor) = parsed.verify() else {
        return;
    };
    assert!(descriptor.protocol_versions().is_sorted());
    if let Ok(points) = descriptor.introduction_points() {
        rewrite(&points);
    }
}

/// Introduction points survive being written and read.
pub fn introduction_points(data: &[u8]) {
    if let Ok(points) = IntroductionPoint::parse_list(data) {
        rewrite(&points);
    }
}

/// A key that can be read can be written, and is the same when read again.
pub fn service_key(data: &[u8]) {
    let Ok(Ok(key)) = std::str::from_utf8(data).map(ServiceKey::from_pem) else {
        return;
    };
    for pem in [key.to_pem(), key.to_pkcs8_pem()] {
        let again = ServiceKey::from_pem(&pem);
        assert_eq!(
            again.map(|again| again.public_key().clone()),
            Ok(key.public_key().clone())
        );
    }
}

fn rewrite(points: &[IntroductionPoint]) {
    let text: String = points.iter().map(ToString::to_string).collect();
    assert_eq!(IntroductionPoint::parse_list(text.as_bytes()).as_deref(), Ok(points));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn run_corpus(name: &str, target: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("testdata/fuzz-corpus")
            .join(name);
        let files: Vec<_> = fs::read_dir(&folder).unwrap().collect();
        assert!(!files.is_empty(), "{}", folder.display());
        for file in files {
            target(&fs::read(file.unwrap().path()).unwrap());
        }
    }

    #[test]
    fn corpora_pass() {
        run_corpus("descriptor", descriptor);
        run_corpus("introduction_points", introduction_points);
        run_corpus("service_key", service_key);
    }
}
