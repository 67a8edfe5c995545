//! The decoder of transactions beside the SDK's own.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::super::{report, scale};
use crate::support::fuzzed::decoder::compare;
use crate::support::root;

/// A change of a transaction that was good.
#[derive(Clone, Debug)]
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

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        any::<(u16, u8)>().prop_map(|(place, byte)| Edit::Set(place, byte)),
        any::<(u16, u8)>().prop_map(|(place, byte)| Edit::Insert(place, byte)),
        any::<(u16, u8)>().prop_map(|(place, count)| Edit::Remove(place, count)),
        any::<(u16, u16, u8)>().prop_map(|(from, to, count)| Edit::Copy(from, to, count)),
    ];
    prop::collection::vec(edit, 0..6)
}

#[test]
fn no_changed_transaction_makes_the_decoder_panic_or_disagree_with_the_sdk() {
    let (vectors, cases) = (vectors(), scale(20_000, 1_000_000));
    assert!(vectors.len() > 50, "the vectors were found");
    let taken = std::cell::Cell::new(0);
    let config = ProptestConfig { cases: cases as u32, failure_persistence: None, ..ProptestConfig::default() };
    let changed = TestRunner::new(config).run(&(0..vectors.len(), edits()), |(vector, edits)| {
        let mut bytes = vectors[vector].clone();
        for edit in &edits {
            edit.apply(&mut bytes);
        }
        taken.set(taken.get() + u64::from(compare(&bytes)));
        Ok(())
    });
    report("solana decoder", &format!("{cases} changed transactions, {} of them taken, by the SDK too", taken.get()));
    changed.expect("the decoders agree");
    assert!(taken.get() > 0, "some changes leave a transaction");
}
