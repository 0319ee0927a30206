//! Signatures that cost nothing.

use onionweave_desc::KeyProblem;
use onionweave_desc::rsa::{Backend, PrivateKey, PublicParts, SIGNATURE_LEN, SigningKey};
use onionweave_desc::v2::{Descriptor, UnverifiedDescriptor};

/// RSA with the exponent 1, so to speak: what is signed is padded and not raised to any power.
///
/// Signing takes most of a simulated day, and what it proves, that nobody else can do it, matters
/// to nobody in a simulation. All else stays as it is: texts have the same form and length, and a
/// text that was changed in any place is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seal;

const DIGEST_LEN: usize = 20;

impl Backend for Seal {
    fn load(&self, _: &PrivateKey) -> Result<Box<dyn SigningKey>, KeyProblem> {
        Ok(Box::new(Self))
    }

    fn recover(&self, _: PublicParts<'_>, signature: &[u8]) -> Option<Vec<u8>> {
        let (padding, payload) = signature.split_last_chunk::<DIGEST_LEN>()?;
        let filled = padding.strip_prefix(&[0, 1])?.strip_suffix(&[0])?;
        let whole = signature.len() == SIGNATURE_LEN && filled.iter().all(|&byte| byte == 0xff);
        whole.then(|| payload.to_vec())
    }
}

impl SigningKey for Seal {
    fn sign(&self, digest: &[u8; DIGEST_LEN]) -> Option<[u8; SIGNATURE_LEN]> {
        let mut block = [0xff; SIGNATURE_LEN];
        let (padding, payload) = block.split_last_chunk_mut::<DIGEST_LEN>()?;
        payload.copy_from_slice(digest);
        let (ends, _) = padding.split_first_chunk_mut::<2>()?;
        *ends = [0, 1];
        *padding.last_mut()? = 0;
        Some(block)
    }
}

/// Reads a descriptor that is sealed. `None` for any other text.
pub(crate) fn read(text: &[u8]) -> Option<Descriptor> {
    UnverifiedDescriptor::parse(text).ok()?.verify_with(&Seal).ok()
}

#[cfg(test)]
mod tests {
    use onionweave_desc::rsa::RustCrypto;

    use super::*;
    use crate::fixtures;

    #[test]
    fn what_was_sealed_is_recovered_and_nothing_else() {
        let key = fixtures::private_key().unwrap();
        let public = key.public_parts();
        let digest = [7; DIGEST_LEN];
        let sealed = Seal.sign(&digest).unwrap();
        assert_eq!(Seal.recover(public, &sealed).as_deref(), Some(&digest[..]));
        for at in [0, 1, 2, 64, SIGNATURE_LEN - DIGEST_LEN - 1] {
            let mut damaged = sealed;
            damaged[at] ^= 4;
            assert_eq!(Seal.recover(public, &damaged), None, "byte {at}");
        }
        assert_eq!(Seal.recover(public, &sealed[1..]), None);

        let signed = RustCrypto.load(&key).unwrap().sign(&digest).unwrap();
        assert_eq!(Seal.recover(public, &signed), None);
        assert_ne!(RustCrypto.recover(public, &sealed).as_deref(), Some(&digest[..]));
    }
}
