//! Private keys as numbers: reading, checking and writing them.

use std::fmt;

use ::rsa::pkcs1::EncodeRsaPrivateKey as _;
use ::rsa::{BigUint, RsaPrivateKey};
use num_bigint_dig::prime::probably_prime;
use zeroize::Zeroizing;

use crate::base64;
use crate::der::{MODULUS_BITS, PublicParts, bits, read_private_key, write_integers, write_pkcs8};
use crate::error::{Error, KeyProblem};
#[cfg(feature = "passphrase")]
use crate::rsa::passphrase;
use crate::rsa::pem::{self, PKCS1_LABEL, PKCS8_LABEL};
use crate::rsa::random::{SEED_LEN, Seeded};

/// Rounds of Miller and Rabin with drawn bases, besides one with base 2 and a test of Lucas. Those
/// two alone are the test of Baillie, Pomerance, Selfridge and Wagstaff, which no composite number
/// is known to pass.
const PRIMALITY_ROUNDS: usize = 1;

/// The numbers of a private key of 1024 bits, which have been checked as C Tor has them checked
/// when it reads a key.
///
/// They are wiped from memory when the key is dropped, and are never printed. To sign, a key is
/// given to a [`Backend`](super::Backend), as [`ServiceKey::new`](crate::v2::ServiceKey::new) does.
///
/// ```
/// use onionweave_desc::rsa::PrivateKey;
///
/// let key = PrivateKey::from_pem(include_str!("../../testdata/keys/pkcs8.pem"))?;
/// assert_eq!(*key.to_pem(), include_str!("../../testdata/plain/private_key"));
/// assert_eq!(key.public_parts().exponent(), [1, 0, 1]);
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Clone)]
pub struct PrivateKey {
    modulus: Vec<u8>,
    public_exponent: Vec<u8>,
    exponent: Secret,
    primes: [Secret; 2],
    crt_exponents: [Secret; 2],
    coefficient: Secret,
}

/// A number, big-endian, without leading zeros.
type Secret = Zeroizing<Vec<u8>>;

impl PrivateKey {
    /// Makes a new key, with the public exponent 65537.
    ///
    /// The source of random bytes is asked once, for 32 of them.
    ///
    /// ```
    /// use onionweave_desc::rsa::PrivateKey;
    ///
    /// let key = PrivateKey::generate(getrandom::fill)?;
    /// assert_eq!(key.public_parts().exponent(), [1, 0, 1]);
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::RandomSource`] with what the source says.
    pub fn generate<E: fmt::Display>(random: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, Error> {
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        random(&mut *seed).map_err(|error| Error::RandomSource(error.to_string()))?;
        let damaged = Error::PrivateKey(KeyProblem::Damaged);
        let key = RsaPrivateKey::new(&mut Seeded::new(&seed), MODULUS_BITS).map_err(|_| damaged.clone())?;
        let der = key.to_pkcs1_der().map_err(|_| damaged)?.to_bytes();
        Self::from_pkcs1_der(&der)
    }

    /// Reads a key from PEM: PKCS#1 as in the file `private_key` that Tor writes, or PKCS#8.
    ///
    /// Text around the PEM block is passed over, in whatever encoding, and so are blocks with other
    /// labels in front of it.
    ///
    /// ```
    /// use onionweave_desc::rsa::PrivateKey;
    ///
    /// let pkcs1 = PrivateKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
    /// let pkcs8 = PrivateKey::from_pem(include_str!("../../testdata/keys/pkcs8.pem"))?;
    /// assert_eq!(pkcs1.public_parts(), pkcs8.public_parts());
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::PrivateKey`], whose [`KeyProblem`] tells an encrypted key, a key of the wrong size,
    /// a damaged key and something that is no private key apart.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, Error> {
        pem::read(pem.as_ref(), |_| Err(KeyProblem::Encrypted)).map_err(Error::PrivateKey)
    }

    /// Reads a key from PEM that may be encrypted: PKCS#8 with PBES2 (PBKDF2 or scrypt; AES or
    /// Triple DES in CBC mode), as OpenSSL writes it today, or PKCS#1 with the headers of RFC 1421,
    /// as OpenSSL wrote it formerly. Needs the feature `passphrase`.
    ///
    /// What is not encrypted is read without the passphrase. At most ten million iterations of
    /// PBKDF2 are computed, and scrypt gets no more than 256 MiB, so no file takes longer than some
    /// seconds.
    ///
    /// ```
    /// use onionweave_desc::rsa::PrivateKey;
    ///
    /// let pem = include_str!("../../testdata/keys/passphrase/pkcs8-aes-256.pem");
    /// let key = PrivateKey::from_pem_with_passphrase(pem, "onionweave")?;
    /// assert_eq!(*key.to_pem(), include_str!("../../testdata/plain/private_key"));
    /// assert!(PrivateKey::from_pem_with_passphrase(pem, "garlic").is_err());
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem), and [`KeyProblem::WrongPassphrase`],
    /// [`KeyProblem::Unsupported`] with the name of a cipher, and [`KeyProblem::Costly`].
    #[cfg(feature = "passphrase")]
    pub fn from_pem_with_passphrase(pem: impl AsRef<[u8]>, passphrase: impl AsRef<[u8]>) -> Result<Self, Error> {
        Self::from_pem_within(passphrase::Limits::DEFAULT, pem.as_ref(), passphrase.as_ref())
    }

    #[cfg(feature = "passphrase")]
    pub(crate) fn from_pem_within(limits: passphrase::Limits, pem: &[u8], passphrase: &[u8]) -> Result<Self, Error> {
        pem::read(pem, |encrypted| passphrase::decrypt(encrypted, passphrase, limits)).map_err(Error::PrivateKey)
    }

    /// Reads the `RSAPrivateKey` of PKCS#1 in DER, as Tor does: not quite canonical DER and
    /// trailing bytes are accepted (`crypto_pk_asn1_decode_private`,
    /// lib/crypt_ops/crypto_rsa_openssl.c:632).
    ///
    /// ```
    /// use onionweave_desc::rsa::PrivateKey;
    ///
    /// let key = PrivateKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
    /// let again = PrivateKey::from_pkcs1_der(&key.to_pkcs1_der())?;
    /// assert_eq!(again.public_parts(), key.public_parts());
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::PrivateKey`].
    pub fn from_pkcs1_der(der: &[u8]) -> Result<Self, Error> {
        Self::of_1024_bits(der).map_err(Error::PrivateKey)
    }

    pub(crate) fn of_1024_bits(der: &[u8]) -> Result<Self, KeyProblem> {
        let key = Self::up_to_1024_bits(der)?;
        match key.public_parts().bits() {
            MODULUS_BITS => Ok(key),
            bits => Err(KeyProblem::Size { bits }),
        }
    }

    /// Reads and checks a key of any size up to 1024 bits (`rsa_private_key_too_long`,
    /// crypto_rsa_openssl.c:577).
    pub(crate) fn up_to_1024_bits(der: &[u8]) -> Result<Self, KeyProblem> {
        let (version, [n, e, d, p, q, dp, dq, coefficient]) = read_private_key(der).ok_or(KeyProblem::Damaged)?;
        if bits(n) > MODULUS_BITS {
            return Err(KeyProblem::Size { bits: bits(n) });
        }
        // Version 1 is that of keys with more than two primes; OpenSSL takes any other for 0. The
        // checks are expensive for large numbers.
        let numbers = [e, d, p, q, dp, dq, coefficient];
        if version == 1 || numbers.iter().any(|number| bits(number) > MODULUS_BITS) {
            return Err(KeyProblem::Damaged);
        }
        let secret = |number: &[u8]| Zeroizing::new(number.to_vec());
        let key = Self {
            modulus: n.to_vec(),
            public_exponent: e.to_vec(),
            exponent: secret(d),
            primes: [p, q].map(secret),
            crt_exponents: [dp, dq].map(secret),
            coefficient: secret(coefficient),
        };
        key.is_consistent().then_some(key).ok_or(KeyProblem::Damaged)
    }

    /// The public half in canonical DER, which
    /// [`PublicKey::from_der`](crate::v2::PublicKey::from_der) reads.
    ///
    /// ```
    /// use onionweave_desc::rsa::PrivateKey;
    /// use onionweave_desc::v2::PublicKey;
    ///
    /// let key = PrivateKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
    /// let public = PublicKey::from_der(&key.public_der())?;
    /// assert_eq!(public.service_id().to_string(), "rf75jzdtba4wnd6v");
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    pub fn public_der(&self) -> Vec<u8> {
        self.public_parts().to_der()
    }

    /// The modulus and the public exponent.
    ///
    /// ```
    /// use onionweave_desc::rsa::PrivateKey;
    ///
    /// let key = PrivateKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
    /// assert_eq!(key.public_parts().modulus().len(), 128);
    /// assert_eq!(key.public_parts().exponent(), [1, 0, 1]);
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    pub fn public_parts(&self) -> PublicParts<'_> {
        PublicParts {
            modulus: &self.modulus,
            exponent: &self.public_exponent,
        }
    }

    /// The private exponent d. As all these numbers, it is big-endian, without leading zeros.
    pub fn exponent(&self) -> &[u8] {
        &self.exponent
    }

    /// The primes p and q.
    ///
    /// ```
    /// use onionweave_desc::rsa::PrivateKey;
    ///
    /// let key = PrivateKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
    /// assert_eq!(key.primes().map(<[u8]>::len), [64, 64]);
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    pub fn primes(&self) -> [&[u8]; 2] {
        self.primes.each_ref().map(|prime| prime.as_slice())
    }

    /// d mod (p - 1), and d mod (q - 1).
    ///
    /// ```
    /// use onionweave_desc::rsa::PrivateKey;
    ///
    /// let key = PrivateKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
    /// // What the Chinese remainder theorem works with has half the length of the key.
    /// let ([p, q], [dp, dq], inverse) = (key.primes(), key.crt_exponents(), key.coefficient());
    /// assert_eq!([p, q, dp, dq, inverse].map(<[u8]>::len), [64; 5]);
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    pub fn crt_exponents(&self) -> [&[u8]; 2] {
        self.crt_exponents.each_ref().map(|exponent| exponent.as_slice())
    }

    /// The inverse of q mod p.
    pub fn coefficient(&self) -> &[u8] {
        &self.coefficient
    }

    /// The `RSAPrivateKey` of PKCS#1 in canonical DER.
    pub fn to_pkcs1_der(&self) -> Zeroizing<Vec<u8>> {
        let PublicParts { modulus, exponent } = self.public_parts();
        let ([p, q], [dp, dq]) = (self.primes(), self.crt_exponents());
        let version: &[u8] = &[];
        Zeroizing::new(write_integers(&[
            version,
            modulus,
            exponent,
            self.exponent(),
            p,
            q,
            dp,
            dq,
            self.coefficient(),
        ]))
    }

    /// The key in the form that Tor reads and writes: PKCS#1 in PEM.
    ///
    /// ```
    /// use onionweave_desc::rsa::PrivateKey;
    ///
    /// let file = include_str!("../../testdata/plain/private_key");
    /// assert_eq!(*PrivateKey::from_pem(file)?.to_pem(), file);
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    pub fn to_pem(&self) -> Zeroizing<String> {
        secret_pem(PKCS1_LABEL, &self.to_pkcs1_der())
    }

    /// The key in the form that most other programs prefer: PKCS#8 in PEM, as `openssl pkcs8 -topk8
    /// -nocrypt` writes it.
    ///
    /// ```
    /// use onionweave_desc::rsa::PrivateKey;
    ///
    /// let key = PrivateKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
    /// assert_eq!(*key.to_pkcs8_pem(), include_str!("../../testdata/keys/pkcs8.pem"));
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    pub fn to_pkcs8_pem(&self) -> Zeroizing<String> {
        secret_pem(PKCS8_LABEL, &Zeroizing::new(write_pkcs8(&self.to_pkcs1_der())))
    }

    /// Checks of OpenSSL's `RSA_check_key` (crypto/rsa/rsa_chk.c), which C Tor calls for every
    /// private key that it reads.
    fn is_consistent(&self) -> bool {
        let number = |bytes: &[u8]| Zeroizing::new(BigUint::from_bytes_be(bytes));
        let one = &BigUint::from(1_u8);
        let (n, e, d) = (
            number(&self.modulus),
            number(&self.public_exponent),
            number(&self.exponent),
        );
        let [p, q] = self.primes().map(number);
        let [dp, dq] = self.crt_exponents().map(number);
        let odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
        // These are cheap. Without the first, what follows would divide by zero.
        if *p <= *one || *q <= *one || *n != &*p * &*q || !odd(&self.public_exponent) || *e == *one {
            return false;
        }
        let [below_p, below_q] = [&p, &q].map(|prime| Zeroizing::new(&**prime - one));
        let rest = |number: &BigUint, of: &BigUint| Zeroizing::new(number % of);
        let is_inverse = |product: &BigUint, modulus: &BigUint| *rest(product, modulus) == one % modulus;
        let coefficient = number(&self.coefficient);
        let exponents = Zeroizing::new(&*d * &*e);
        // To be 1 modulo the least common multiple of both is to be 1 modulo each.
        is_inverse(&exponents, &below_p)
            && is_inverse(&exponents, &below_q)
            && dp == rest(&d, &below_p)
            && dq == rest(&d, &below_q)
            && *coefficient < *p
            && is_inverse(&Zeroizing::new(&*coefficient * &*q), &p)
            && [&p, &q].iter().all(|prime| probably_prime(prime, PRIMALITY_ROUNDS))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").finish_non_exhaustive()
    }
}

fn secret_pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    // Large enough that the string is never moved, which would leave a copy behind.
    let mut pem = Zeroizing::new(String::with_capacity(der.len() * 2 + 128));
    base64::encode_object(label, der, &mut pem);
    pem
}
