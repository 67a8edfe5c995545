//! The private keys of receipts: one text with all of them, of which the youngest sign and the others are only published.
//!
//! Receipts are signed by keys of their own, never by those that pay for settlements. There are two kinds: Ed25519 for JWS, which every
//! ring has, and secp256k1 for typed data (EIP-712), which a ring may lack.

use std::fmt;

use chrono::{DateTime, SubsecRound, Utc};
use ed25519_dalek::SigningKey;
use rand::TryRngCore;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::eip712::TypedKey;
use super::jwk::{Material, Moment, PublicKey};
use super::key_set::KeySet;

mod stored;

/// All keys of a service, oldest first. Nothing prints a private part; only [`Keyring::to_text`] writes them.
pub struct Keyring {
    keys: Vec<Key>,
}

/// A key of the ring. Retired ones may have lost their private part.
struct Key {
    public: PublicKey,
    private: Option<PrivateKey>,
}

/// The private part of a key. It is overwritten when it is dropped.
enum PrivateKey {
    /// Signs JWS.
    Ed25519(SigningKey),
    /// Signs typed data.
    Secp256k1(TypedKey),
}

/// Why there is no keyring. No variant holds any part of its text, which may be private.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// Not JSON of the form that a keyring has.
    #[error("not a keyring in JSON, from line {line}, column {column} on")]
    Text {
        /// The line, from one.
        line: usize,
        /// The column, from one.
        column: usize,
    },
    /// One of its keys is not what it should be.
    #[error("key {number} is refused")]
    Key {
        /// Its place in the ring, from one.
        number: usize,
        /// What is wrong with it.
        #[source]
        fault: KeyFault,
    },
    /// Every key for JWS is retired.
    #[error("no key for receipts is in use")]
    NoneInUse,
    /// Two keys of one kind are not retired, so it is open which of them signs.
    #[error("two keys of one kind are in use")]
    SeveralInUse,
    /// A key would be retired before it was made.
    #[error("the keys in use are younger than that")]
    TooEarly,
    /// The machine gave no random numbers.
    #[error("the machine gave no random numbers")]
    Random(#[source] rand::rand_core::OsError),
}

/// What is wrong with a key of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Neither Ed25519 nor secp256k1.
    #[error("neither an Ed25519 key nor a secp256k1 key")]
    Kind,
    /// A coordinate or the private part is not 32 bytes in base64url, or no key of its curve.
    #[error("a coordinate or the private part cannot be read")]
    Unreadable,
    /// The public part, or the address, belongs to another private part.
    #[error("its parts do not belong together")]
    Mismatch,
    /// The name is not the thumbprint.
    #[error("its name is not its thumbprint")]
    Name,
    /// Retired before it was made.
    #[error("it was retired before it was made")]
    Times,
    /// In use, and without private part.
    #[error("it is in use and has no private part")]
    NoPrivatePart,
    /// The same key stands in the ring before.
    #[error("it stands in the ring twice")]
    Twice,
}

impl Keyring {
    /// Reads the text of a ring.
    ///
    /// # Errors
    /// See [`KeyringError`].
    pub fn parse(text: &SecretString) -> Result<Self, KeyringError> {
        let mut ring = Self { keys: Vec::new() };
        for (number, key) in (1..).zip(stored::read(text.expose_secret())?) {
            let refused = |fault| KeyringError::Key { number, fault };
            let key = key.and_then(Key::checked).map_err(refused)?;
            if ring.keys.iter().any(|other| other.public.kid() == key.public.kid()) {
                return Err(refused(KeyFault::Twice));
            }
            ring.keys.push(key);
        }
        match (ring.in_use(Key::is_edwards), ring.in_use(|key| !key.is_edwards())) {
            (0, _) => Err(KeyringError::NoneInUse),
            (1, 0 | 1) => Ok(ring),
            (_, _) => Err(KeyringError::SeveralInUse),
        }
    }

    /// Makes a ring with a key of each kind, in use from `now` on.
    ///
    /// # Errors
    /// [`KeyringError::Random`].
    pub fn generate(now: DateTime<Utc>) -> Result<Self, KeyringError> {
        Ok(Self { keys: fresh(now)?.into() })
    }

    /// Adds a key of each kind and retires those in use, both at `at`.
    ///
    /// A moment ahead gives every replica time to read the new ring, and verifiers time to fetch the new keys.
    ///
    /// # Errors
    /// [`KeyringError::TooEarly`] if a key in use is not yet there at `at`, and [`KeyringError::Random`]. The ring is then unchanged.
    pub fn rotate(&mut self, at: DateTime<Utc>) -> Result<(), KeyringError> {
        if self.keys.iter().any(|key| key.is_in_use() && matches!(key.public.moment(at), Moment::Before(_))) {
            return Err(KeyringError::TooEarly);
        }
        let fresh = fresh(at)?;
        for key in &mut self.keys {
            key.public.retire(fresh[0].public.created_at());
        }
        self.keys.extend(fresh);
        Ok(())
    }

    /// The whole ring with its private parts, for a file that only its owner can read.
    #[must_use]
    pub fn to_text(&self) -> SecretString {
        stored::write(&self.keys)
    }

    /// The keys without private parts.
    #[must_use]
    pub fn public(&self) -> KeySet {
        KeySet::new(self.keys.iter().map(|key| key.public.clone()).collect())
    }

    /// The key that signs the JWS of receipts from `at`, and its name.
    pub(super) fn edwards(&self, at: DateTime<Utc>) -> Option<(&str, &SigningKey)> {
        self.signing(at).find_map(|(public, private)| match private {
            PrivateKey::Ed25519(key) => Some((public.kid(), key)),
            PrivateKey::Secp256k1(_) => None,
        })
    }

    /// The key that signs receipts from `at` as typed data.
    pub(super) fn typed(&self, at: DateTime<Utc>) -> Option<&TypedKey> {
        self.signing(at).find_map(|(_, private)| match private {
            PrivateKey::Ed25519(_) => None,
            PrivateKey::Secp256k1(key) => Some(key),
        })
    }

    /// The keys that can sign for `at`, youngest first: two may share the second in which one took over from the other.
    fn signing(&self, at: DateTime<Utc>) -> impl Iterator<Item = (&PublicKey, &PrivateKey)> {
        let keys = self.keys.iter().rev().filter(move |key| key.public.moment(at) == Moment::Within);
        keys.filter_map(|key| Some((&key.public, key.private.as_ref()?)))
    }

    fn in_use(&self, kind: impl Fn(&Key) -> bool) -> usize {
        self.keys.iter().filter(|key| key.is_in_use() && kind(key)).count()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Keyring({} keys)", self.keys.len())
    }
}

impl Key {
    const fn is_in_use(&self) -> bool {
        self.public.retired_at().is_none()
    }

    const fn is_edwards(&self) -> bool {
        matches!(self.public.material(), Material::Ed25519(_))
    }

    fn checked(self) -> Result<Self, KeyFault> {
        if self.public.retired_at().is_some_and(|retired_at| retired_at < self.public.created_at()) {
            return Err(KeyFault::Times);
        }
        if self.is_in_use() && self.private.is_none() { Err(KeyFault::NoPrivatePart) } else { Ok(self) }
    }
}

impl PrivateKey {
    /// The public part.
    fn material(&self) -> Material {
        match self {
            Self::Ed25519(key) => Material::Ed25519(key.verifying_key()),
            Self::Secp256k1(key) => key.material(),
        }
    }
}

/// A new key of each kind. Times have whole seconds, as in receipts.
fn fresh(at: DateTime<Utc>) -> Result<[Key; 2], KeyringError> {
    let secret = random()?;
    let edwards = PrivateKey::Ed25519(SigningKey::from_bytes(&secret));
    let typed = PrivateKey::Secp256k1(random_typed_key()?);
    let at = at.trunc_subsecs(0);
    Ok([edwards, typed].map(|private| Key { public: PublicKey::new(private.material(), at, None), private: Some(private) }))
}

/// Nearly every number is a private key of the curve, and the others are drawn again.
fn random_typed_key() -> Result<TypedKey, KeyringError> {
    loop {
        let secret = random()?;
        if let Some(key) = TypedKey::from_bytes(&secret) {
            return Ok(key);
        }
    }
}

fn random() -> Result<Zeroizing<[u8; 32]>, KeyringError> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    rand::rngs::OsRng.try_fill_bytes(bytes.as_mut_slice()).map_err(KeyringError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::jwk::tests::at;
    use super::*;
    use serde_json::{Value, json};

    /// A ring with the keys of RFC 8037 and EIP-155, in use from `created_at` on.
    pub fn ring(created_at: i64) -> Keyring {
        parse(&document(created_at)).unwrap()
    }

    pub fn document(created_at: i64) -> Value {
        json!({"keys": [
            {
                "kty": "OKP", "crv": "Ed25519", "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
                "createdAt": at(created_at),
            },
            {
                "kty": "EC", "crv": "secp256k1", "kid": "23rCrcAaBl31JS7oIBVDW_M0OztvUfTzU-6czKL6Xho",
                "x": "S8KjEmUVPwfnDgurCHJOa4XiF_jNYozrYpdCR7tJM4I", "y": "zijKt5rXEZ7hrT6825ihaAUhFTDsxs_vobiObf-ZIyo",
                "address": "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F", "d": "RkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkY",
                "createdAt": at(created_at),
            },
        ]})
    }

    pub fn parse(document: &Value) -> Result<Keyring, KeyringError> {
        Keyring::parse(&document.to_string().into())
    }

    fn reread(ring: &Keyring) -> Keyring {
        Keyring::parse(&ring.to_text()).unwrap()
    }

    fn signers(ring: &Keyring, seconds: i64) -> (Option<String>, Option<[u8; 32]>) {
        let edwards = ring.edwards(at(seconds)).map(|(kid, _)| kid.to_owned());
        (edwards, ring.typed(at(seconds)).map(|key| *key.to_bytes()))
    }

    #[test]
    fn a_ring_is_read_back_as_it_was_written() {
        let read = reread(&ring(1_000));

        let written: Value = serde_json::from_str(read.to_text().expose_secret()).unwrap();
        assert_eq!(written, document(1_000));
    }

    #[test]
    fn a_new_ring_signs_from_its_first_second_on() {
        let made_at = at(1_000) + chrono::TimeDelta::milliseconds(900);
        let made = reread(&Keyring::generate(made_at).unwrap());

        assert_eq!(signers(&made, 999), (None, None));
        assert!(made.edwards(at(1_000)).is_some() && made.typed(made_at).is_some());
        let other = Keyring::generate(made_at).unwrap();
        assert_ne!(signers(&made, 1_000).0, signers(&other, 1_000).0);
        assert_ne!(signers(&made, 1_000).1, signers(&other, 1_000).1);
    }

    #[test]
    fn a_rotation_retires_what_is_in_use_and_publishes_everything() {
        let mut rotated = ring(1_000);
        let former = signers(&rotated, 1_000);
        rotated.rotate(at(2_000)).unwrap();
        rotated.rotate(at(3_000)).unwrap();
        let rotated = reread(&rotated);

        let keys = rotated.public();
        let times: Vec<_> = keys.keys().iter().map(|key| (key.created_at(), key.retired_at())).collect();
        let [first, second, third] =
            [(at(1_000), Some(at(2_000))), (at(2_000), Some(at(3_000))), (at(3_000), None)].map(|times| [times; 2]);
        assert_eq!(times, [first, second, third].concat());
        assert_eq!(signers(&rotated, 999), (None, None));
        assert_eq!(signers(&rotated, 1_999), former);
        assert_ne!(signers(&rotated, 2_000).0, former.0);
        assert_ne!(signers(&rotated, 2_000).1, former.1);
        assert_eq!(signers(&rotated, 2_000), signers(&rotated, 2_999));
        assert_ne!(signers(&rotated, 3_000), signers(&rotated, 2_999));
        assert_eq!(signers(&rotated, 3_000), signers(&rotated, 4_000_000_000));
    }

    #[test]
    fn a_key_is_not_retired_before_it_is_there() {
        let mut early = ring(1_000);

        assert!(matches!(early.rotate(at(999)), Err(KeyringError::TooEarly)));
        assert_eq!(early.public(), ring(1_000).public());
        early.rotate(at(1_000)).unwrap();
        assert_eq!(reread(&early).public().keys().len(), 4);
    }

    #[test]
    fn a_retired_key_may_have_lost_its_private_part() {
        let mut rotated = ring(1_000);
        rotated.rotate(at(2_000)).unwrap();
        let mut lost: Value = serde_json::from_str(rotated.to_text().expose_secret()).unwrap();
        for key in [0_usize, 1] {
            lost["keys"][key].as_object_mut().unwrap().remove("d");
        }

        let lost = parse(&lost).unwrap();

        assert_eq!(lost.public(), rotated.public());
        assert_eq!(signers(&lost, 1_000), (None, None));
        assert_eq!(signers(&lost, 2_000), signers(&rotated, 2_000));
    }

    #[test]
    fn a_ring_may_lack_keys_for_typed_data() {
        let mut alone = document(1_000);
        alone["keys"].as_array_mut().unwrap().pop();

        let alone = parse(&alone).unwrap();

        assert!(alone.edwards(at(1_000)).is_some() && alone.typed(at(1_000)).is_none());
    }

    #[test]
    fn a_key_that_is_not_what_it_should_be_is_refused() {
        let other = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
        let cases = [
            (0_usize, "crv", json!("X25519"), KeyFault::Kind),
            (0, "kty", json!("EC"), KeyFault::Kind),
            (1, "crv", json!("P-256"), KeyFault::Kind),
            (0, "x", json!("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo="), KeyFault::Unreadable),
            (0, "d", json!("nWGxne_9"), KeyFault::Unreadable),
            (1, "d", json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), KeyFault::Unreadable),
            (1, "d", json!("__________________________________________8"), KeyFault::Unreadable),
            (1, "y", Value::Null, KeyFault::Unreadable),
            (0, "y", json!(other), KeyFault::Mismatch),
            (0, "d", json!(other), KeyFault::Mismatch),
            (1, "d", json!(other), KeyFault::Mismatch),
            (1, "y", json!(other), KeyFault::Mismatch),
            (1, "address", json!("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"), KeyFault::Mismatch),
            (0, "kid", json!("../../x"), KeyFault::Name),
            (1, "kid", json!("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"), KeyFault::Name),
            (0, "retiredAt", json!(at(999)), KeyFault::Times),
            (0, "d", Value::Null, KeyFault::NoPrivatePart),
        ];

        for (key, member, value, wanted) in cases {
            let mut broken = document(1_000);
            broken["keys"][key][member] = value;
            let refused = parse(&broken).unwrap_err();
            let KeyringError::Key { number, fault } = refused else { panic!("{refused:?}") };
            assert_eq!((number, fault), (key + 1, wanted), "{member} of {key}");
        }
    }

    #[test]
    fn exactly_one_key_for_jws_is_in_use() {
        let mut retired = document(1_000);
        retired["keys"][0]["retiredAt"] = json!(at(1_000));
        assert!(matches!(parse(&retired), Err(KeyringError::NoneInUse)));
        assert!(matches!(parse(&json!({"keys": []})), Err(KeyringError::NoneInUse)));

        for kind in [0_usize, 1] {
            let mut more = document(1_000);
            let made: Value = serde_json::from_str(Keyring::generate(at(1_000)).unwrap().to_text().expose_secret()).unwrap();
            more["keys"].as_array_mut().unwrap().push(made["keys"][kind].clone());
            assert!(matches!(parse(&more), Err(KeyringError::SeveralInUse)), "{kind}");
        }
        let mut twice = document(1_000);
        let first = twice["keys"][0].clone();
        twice["keys"].as_array_mut().unwrap().push(first);
        assert!(matches!(parse(&twice), Err(KeyringError::Key { number: 3, fault: KeyFault::Twice })));
    }

    #[test]
    fn a_text_of_another_form_is_refused_and_not_repeated() {
        let text = document(1_000).to_string();
        for broken in [
            String::new(),
            format!("{text}{text}"),
            text.replacen("\"kty\"", "\"kty\":\"OKP\",\"kty\"", 1),
            text.replacen("\"kty\"", "\"secret\":\"nWGxne\",\"kty\"", 1),
            text.replacen("\"createdAt\"", "\"retiredAt\":\"nWGxne\",\"createdAt\"", 1),
            text.replacen("createdAt", "nWGxne", 1),
            text.replacen("[{", "[\"nWGxne\",{", 1),
        ] {
            let refused = Keyring::parse(&broken.into()).unwrap_err();
            assert!(matches!(refused, KeyringError::Text { .. }), "{refused:?}");
            assert!(!format!("{refused:?} {refused}").contains("nWGxne"));
        }
    }

    #[test]
    fn a_private_part_is_never_printed() {
        let ring = ring(1_000);

        assert_eq!(format!("{ring:?} {:?}", ring.to_text()), "Keyring(2 keys) SecretBox<str>([REDACTED])");
    }
}
