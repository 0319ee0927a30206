//! Tests of what is accepted and refused, by the tables in `cases`. That they are right,
//! `real_verdicts` asks a running Tor.

use onionweave_desc::v2::{IntroductionPoint, PublicKey, UploadVerdict};
use onionweave_desc::{Error, KeyProblem};
use onionweave_ring::UnixTime;
use rsa::RsaPrivateKey;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPublicKey};

use crate::cases;
use crate::support::{PLAIN_KEY, key, verify};

#[test]
fn descriptors() {
    for case in cases::descriptors() {
        // As a directory reads an upload, which is a string: a NUL byte ends it.
        let verdict = UploadVerdict::new(&case.text, |_| None, UnixTime::EPOCH);
        assert_eq!(
            verdict.is_accepted(),
            case.accepted,
            "{} ({}): {verdict:?}",
            case.name,
            case.rule
        );
    }
}

#[test]
fn rejections_name_the_line() {
    for (from, to, message) in [
        (
            "version 2\n",
            "version 2 3\n",
            "descriptor, line 2: `version` takes 1 arguments, found 2",
        ),
        (
            "version 2\n",
            "\n#\n@x\n",
            "descriptor, line 4: annotations are not allowed",
        ),
        ("version 2\n", "", "descriptor, line 59: `version` is missing"),
        (
            "version 2\n",
            "version 2\nversion 2\n",
            "descriptor, line 3: a second `version`",
        ),
        (
            "END MESSAGE",
            "END MASSAGE",
            "descriptor, line 53: no matching `-----END` line closes the object",
        ),
        (
            "aW50cm9k",
            "aW5\x0ccm9k",
            "descriptor, line 14: the object is not base64",
        ),
        (
            "MIGJAoGB",
            "MIGJAoGC",
            "descriptor, line 4: key: the key is damaged, or is not an RSA key",
        ),
        (
            "12:00:00\n",
            "12:00:61\n",
            "descriptor, line 10: `publication-time` is not a time of the form YYYY-MM-DD HH:MM:SS",
        ),
    ] {
        let error = verify(&cases::edited(from, to)).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

/// Tor hashes what it decoded, and so do we.
#[test]
fn keys_are_known_by_their_canonical_form() {
    let key = key(PLAIN_KEY);
    let der = key.public_key().as_der();
    let followed = [der, b"more"].concat();
    assert_eq!(PublicKey::from_der(&followed).unwrap().as_der(), der);
    let large = RsaPrivateKey::from_pkcs1_pem(include_str!("../../testdata/keys/rsa-2048.pem")).unwrap();
    let large = large.to_public_key().to_pkcs1_der().unwrap();
    assert_eq!(
        PublicKey::from_der(large.as_bytes()),
        Err(Error::PublicKey(KeyProblem::Size { bits: 2048 }))
    );
}

#[test]
fn introduction_points() {
    for list in cases::lists() {
        let read = IntroductionPoint::parse_list(&list.text);
        assert_eq!(
            read.as_ref().ok().map(Vec::len),
            list.points,
            "{} ({}): {read:?}",
            list.name,
            list.rule
        );
    }
}
