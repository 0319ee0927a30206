//! Functions that the fuzzers run. Each function takes any bytes and ends in an invariant.

use std::collections::{BTreeMap, BTreeSet};

use onionweave_ring::UnixTime;
use onionweave_ring::v2::{DescriptorId, ServiceId};

use crate::base64;
use crate::der::{self, MODULUS_BITS, PublicParts};
use crate::error::Error;
#[cfg(feature = "passphrase")]
use crate::rsa::passphrase::Limits;
use crate::rsa::{Backend as _, PrivateKey, RustCrypto, SIGNATURE_LEN};
use crate::secrets::Secrets;
use crate::v2::authorization::{self, block};
use crate::v2::{
    AuthorizationKind, ClientKeys, Descriptor, DescriptorCookie, Fetch, FetchVerdict, HostnameFile, IntroductionPoint,
    Known, MAX_INTRODUCTION_POINTS, UnverifiedDescriptor, UploadVerdict, introduction_point,
};

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

/// A directory reads the descriptors of a body as they would be read one by one, and keeps the
/// newest; a client takes from it what it asked for.
pub fn upload(data: &[u8]) {
    // A moment at which the recordings are neither too old nor too new.
    let now = UnixTime::from_secs(1_795_350_600);
    let mut directory = BTreeMap::<DescriptorId, Descriptor>::new();
    let verdict = UploadVerdict::new(data, |id| directory.get(id), now);

    let mut rest = data;
    for offer in verdict.offers() {
        let Ok((alone, after)) = UnverifiedDescriptor::parse_prefix(rest) else {
            panic!("the verdict read it");
        };
        assert_eq!(alone.verify().as_ref(), Ok(offer.descriptor()));
        rest = after;
    }
    assert_eq!(verdict.is_accepted(), rest.len() < data.len());
    if let Some(error) = verdict.error() {
        let next = UnverifiedDescriptor::parse_prefix(rest).and_then(|(descriptor, _)| descriptor.verify());
        assert_eq!(next.as_ref(), Err(error));
    }

    for descriptor in verdict.stored() {
        let id = descriptor.descriptor_id();
        let replaced = directory.insert(id, descriptor.clone());
        assert!(replaced.is_none_or(|replaced| replaced.publication_time() <= descriptor.publication_time()));
        let fetched = Fetch::new(id).judge(data, |_| Known::default(), now);
        if let Ok(FetchVerdict::Stored { descriptor, points }) = fetched {
            assert_eq!(
                descriptor.text(),
                verdict
                    .offers()
                    .first()
                    .map_or(&b""[..], |offer| offer.descriptor().text())
            );
            assert!((1..=MAX_INTRODUCTION_POINTS).contains(&points.len()));
        }
    }
    let again = UploadVerdict::new(data, |id| directory.get(id), now);
    assert_eq!(
        again.offers().len(),
        verdict.offers().len(),
        "what is held decides nothing but fates"
    );
}

/// Introduction points survive being written and read.
pub fn introduction_points(data: &[u8]) {
    if let Ok(points) = IntroductionPoint::parse_list(data) {
        rewrite(&points);
    }
}

/// A key that can be read can be written, and is the same when read again. What is encrypted is
/// tried with the passphrase `onionweave`.
pub fn service_key(data: &[u8]) {
    let Ok(key) = private_key(data) else {
        return;
    };
    for pem in [key.to_pem(), key.to_pkcs8_pem()] {
        let again = PrivateKey::from_pem(&pem);
        assert_eq!(again.map(|again| again.to_pkcs1_der()), Ok(key.to_pkcs1_der()));
    }
}

#[cfg(feature = "passphrase")]
fn private_key(pem: &[u8]) -> Result<PrivateKey, Error> {
    // Low enough that a fuzzer does not think it hangs.
    let limits = Limits {
        iterations: 4096,
        scrypt_bytes: 1 << 20,
    };
    PrivateKey::from_pem_within(limits, pem, b"onionweave")
}

#[cfg(not(feature = "passphrase"))]
fn private_key(pem: &[u8]) -> Result<PrivateKey, Error> {
    PrivateKey::from_pem(pem)
}

/// Base64 in lines is decoded as it would be one character after the other, and what is decoded
/// survives being written and read.
pub fn base64(data: &[u8]) {
    let mut slowly = Vec::new();
    let slowly = base64::decode_slowly(data, &mut slowly).map(|()| slowly);
    let decoded = base64::decode(data);
    assert_eq!(decoded, slowly);
    if let Some(bytes) = decoded {
        let mut text = String::new();
        base64::encode_lines(&bytes, &mut text);
        assert_eq!(base64::decode(text.as_bytes()), Some(bytes));
    }
}

/// A key in DER that can be read can be written, and what was written is canonical. The quick way
/// to read a usual key is none to read another.
pub fn der(data: &[u8]) {
    if let Some(key) = PublicParts::from_der(data) {
        assert_eq!(der::read_integers(data), Some([key.modulus(), key.exponent()]));
        let written = key.to_der();
        assert_eq!(PublicParts::from_der(&written), Some(key));
        if PublicParts::from_usual_der(data).is_some() {
            assert_eq!(written, data);
        }
    }
    if let Ok(key) = PrivateKey::up_to_1024_bits(data) {
        let written = key.to_pkcs1_der();
        let again = PrivateKey::up_to_1024_bits(&written);
        assert_eq!(again.map(|again| again.to_pkcs1_der()), Ok(written));
    }
}

/// Holds that what is recovered from a signature was padded to its length; and with the feature
/// `openssl`, OpenSSL recovers the same.
///
/// The first byte is the length of the public exponent, which follows; then the modulus; the rest
/// is the signature.
pub fn signature(data: &[u8]) {
    let Some((&length, rest)) = data.split_first() else {
        return;
    };
    let (exponent, rest) = rest.split_at_checked(usize::from(length)).unwrap_or((rest, &[]));
    let (modulus, signature) = rest.split_at_checked(SIGNATURE_LEN).unwrap_or((rest, &[]));
    let key = PublicParts {
        modulus,
        exponent: der::without_leading_zeros(exponent),
    };
    if key.bits() != MODULUS_BITS {
        return;
    }
    let recovered = RustCrypto.recover(key, signature);
    #[cfg(feature = "openssl")]
    assert_eq!(crate::rsa::OpenSsl.recover(key, signature), recovered);
    if let (Some(payload), [1]) = (recovered, key.exponent()) {
        assert!(signature.ends_with(&payload));
        assert!(payload.len() + 11 <= SIGNATURE_LEN);
    }
}

/// Holds that what is encrypted for clients is decrypted by each of them and by nobody else. And
/// what a cookie decrypts is as long as the block lets it be.
///
/// Cookies come first, 16 bytes each, their number in the first byte; then an encrypted block,
/// which serves as points as well.
pub fn authorization(data: &[u8]) {
    let Some((&number, rest)) = data.split_first() else {
        return;
    };
    let (cookies, block) = rest
        .split_at_checked(usize::from(number) * DescriptorCookie::LEN)
        .unwrap_or((rest, &[]));
    let cookies: BTreeSet<[u8; DescriptorCookie::LEN]> = cookies.as_chunks().0.iter().copied().collect();
    let mut cookies: Vec<_> = cookies.into_iter().map(DescriptorCookie::from).collect();
    let Some(outsider) = cookies.pop() else {
        return;
    };

    if let Some(kind) = block::kind(block)
        && let Ok(points) = block::decrypt(kind, block, &outsider)
    {
        let entries = match kind {
            AuthorizationKind::Stealth => 0,
            _ => 1 + 320 * block.get(1).copied().map_or(0, usize::from),
        };
        assert_eq!(points.len() + entries + 17, block.len());
    }

    let points = [introduction_point::START, block].concat();
    let secrets = Secrets::derive(authorization::DERIVATION, [data]);
    let decrypt = |block: &[u8], cookie| block::kind(block).map(|kind| block::decrypt(kind, block, cookie));
    if let Some(cookie) = cookies.first() {
        let basic = block::encrypt_basic(&points, &cookies, &secrets).unwrap_or_default();
        for cookie in &cookies {
            assert_eq!(decrypt(&basic, cookie), Some(Ok(points.clone())));
        }
        assert!(decrypt(&basic, &outsider).is_some_and(|result| result.is_err()));
        let stealth = block::encrypt_stealth(&points, cookie, &secrets);
        assert_eq!(decrypt(&stealth, cookie), Some(Ok(points)));
        assert!(decrypt(&stealth, &outsider).is_some_and(|result| result.is_err()));
    }
}

/// Clients that can be read can be written and are the same when read again, and so is the
/// `hostname` file that is written for them.
pub fn client_keys(data: &[u8]) {
    let Ok(clients) = ClientKeys::parse(data) else {
        return;
    };
    assert_eq!(ClientKeys::parse(clients.to_text().as_bytes()).as_ref(), Ok(&clients));
    for kind in [AuthorizationKind::Basic, AuthorizationKind::Stealth] {
        if let Ok(file) = clients.hostname_file(ServiceId::from([0; 10]), kind) {
            assert_eq!(file.clients().len(), clients.len());
            hostname(file.to_text().as_bytes());
        }
    }
}

/// A `hostname` file that can be read can be written, and is the same when read again.
pub fn hostname(data: &[u8]) {
    if let Ok(file) = HostnameFile::parse(data) {
        assert_eq!(HostnameFile::parse(file.to_text().as_bytes()), Ok(file));
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
        run_corpus("upload", upload);
        run_corpus("introduction_points", introduction_points);
        run_corpus("service_key", service_key);
        run_corpus("base64", base64);
        run_corpus("der", der);
        run_corpus("signature", signature);
        run_corpus("authorization", authorization);
        run_corpus("client_keys", client_keys);
        run_corpus("hostname", hostname);
    }
}
