//! The decoder of transactions under a fuzzer, beside the SDK's own. The corpus lies beside this file; `BOLERO_RANDOM_TEST_TIME_MS`
//! says for how long further inputs are tried.

use bincode::Options as _;
use quittance::chain::solana::message::Transaction;
use solana_transaction::versioned::VersionedTransaction;

use super::super::report;
use crate::support::root;

/// Whatever we take, the SDK takes for the same transaction, to the byte.
fn compare(bytes: &[u8]) {
    let Ok(ours) = Transaction::decode(bytes) else { return };
    let strict = bincode::DefaultOptions::new().with_fixint_encoding();
    let theirs: VersionedTransaction = strict.deserialize(bytes).expect("the SDK reads what we read");
    theirs.sanitize().expect("the SDK finds nothing wrong with it");
    assert_eq!(theirs.message.serialize(), ours.message(), "{bytes:?}");
}

/// A change of a transaction that was good.
#[derive(Clone, Debug, bolero::TypeGenerator)]
enum Edit {
    Set(u16, u8),
    Insert(u16, u8),
    Remove(u16, u8),
    Copy(u16, u16, u8),
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        let at = |place: u16| usize::from(place) % (length + 1);
        match *self {
            Self::Set(place, byte) => {
                if let Some(target) = bytes.get_mut(at(place)) {
                    *target = byte;
                }
            }
            Self::Insert(place, byte) => bytes.insert(at(place), byte),
            Self::Remove(place, count) => drop(bytes.drain(at(place)..length.min(at(place) + usize::from(count)))),
            Self::Copy(from, to, count) => {
                let piece = bytes[at(from)..length.min(at(from) + usize::from(count))].to_vec();
                bytes.splice(at(to)..at(to), piece).for_each(drop);
            }
        }
    }
}

/// The transactions of tests/vectors/svm.
fn vectors() -> Vec<Vec<u8>> {
    use base64::Engine as _;
    ["accepted", "refused"]
        .into_iter()
        .flat_map(|name| {
            let text = std::fs::read(root().join(format!("tests/vectors/svm/{name}.json"))).expect("the vectors are there");
            serde_json::from_slice::<Vec<serde_json::Value>>(&text).expect("JSON")
        })
        .filter_map(|vector| {
            let text = vector["request"]["paymentPayload"]["payload"]["transaction"].as_str()?;
            base64::engine::general_purpose::STANDARD.decode(text).ok()
        })
        .collect()
}

#[test]
fn no_bytes_make_the_decoder_panic_or_disagree_with_the_sdk() {
    let tried = std::sync::atomic::AtomicU64::new(0);
    bolero::check!().for_each(|bytes: &[u8]| {
        tried.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        compare(bytes);
    });
    report("solana decoder bytes", &format!("{} inputs, none disagreed", tried.into_inner()));
}

#[test]
fn no_changed_transaction_makes_the_decoder_panic_or_disagree_with_the_sdk() {
    let (vectors, tried) = (vectors(), std::sync::atomic::AtomicU64::new(0));
    assert!(vectors.len() > 50, "the vectors were found");
    bolero::check!().with_type::<(u8, Vec<Edit>)>().for_each(|(vector, edits)| {
        tried.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut bytes = vectors[usize::from(*vector) % vectors.len()].clone();
        edits.iter().take(8).for_each(|edit| edit.apply(&mut bytes));
        compare(&bytes);
    });
    report("solana decoder", &format!("{} changed transactions, none disagreed", tried.into_inner()));
}
