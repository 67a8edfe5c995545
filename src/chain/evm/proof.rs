//! Proof that whoever controls an address signed a text.
//!
//! Where there is code, it alone decides (EIP-1271), delegated code (EIP-7702) included; an ordinary account signs for itself
//! (EIP-191). The contract is asked in the simulation that payments go through, so it has no more gas than a payment, and what
//! a node calls a revert does not matter: the answer comes from the chain itself.

use alloy::primitives::{Address as EvmAddress, B256, Bytes, b256, eip191_hash_message};
use alloy::sol_types::SolCall;

use super::abi::Wallet;
use super::exact::signature::{plain, unwrap};
use super::outcome::Outcome;
use super::simulate::{Question, Simulator};
use crate::chain::ChainError;
use crate::chain::address::Proof;
use crate::domain::address::Address;
use crate::x402::exact_evm;

/// What a contract answers to say yes: the selector of the function itself (EIP-1271), filled up to a word.
const YES: B256 = b256!("1626ba7e00000000000000000000000000000000000000000000000000000000");

/// Whether `signature`, as `0x` and hexadecimal digits, is one of `address` over `text`.
pub async fn verify(simulator: &Simulator, address: Address, text: &str, signature: &str) -> Result<Proof, ChainError> {
    let Address::Evm(account) = address else { return Ok(Proof::Invalid) };
    let Some(signature) = read(signature) else { return Ok(Proof::Malformed) };
    let hash = eip191_hash_message(text);
    let outcome = simulator.simulate(question(account.into(), hash, signature.clone())).await?;
    Ok(if is_good(&outcome, address, hash, &signature) { Proof::Valid } else { Proof::Invalid })
}

/// The signature without the wrapper that wallets put around it until they are deployed, and some afterwards (ERC-6492). `None` if the
/// text is no signature.
pub fn read(signature: &str) -> Option<Bytes> {
    let bytes = exact_evm::signature(signature).ok()?;
    unwrap(&bytes).ok().map(|(inner, _)| inner)
}

/// Asks the account for its opinion, and with it what its code is.
fn question(account: EvmAddress, hash: B256, signature: Bytes) -> Question {
    let data = Wallet::isValidSignatureCall { hash, signature }.abi_encode().into();
    // There is no token in this, so what would be read of one is not known.
    Question { token: EvmAddress::ZERO, payer: account, nonce: B256::ZERO, target: account, data, look_anyway: false }
}

fn is_good(outcome: &Outcome, address: Address, hash: B256, signature: &[u8]) -> bool {
    match outcome.payer_code {
        Some(_) => outcome.success && outcome.return_data.get(..32) == Some(YES.as_slice()),
        None => plain(signature, hash, address).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::network::Family;
    use alloy::primitives::hex;
    use alloy::sol_types::SolValue;

    const TEXT: &str = "https://pay.example.org asks you to prove that you control an address.\né";

    /// Over `TEXT` by the first account of the usual test mnemonic, made with viem.
    const SIGNATURE: &str = "0x93332d0eadccde0c6fb74bcd11d49bc1242181892ef729ccbc9635a05add8cfb460e34599c381b20dba53f22c0cce7677848a9fe3ac4694e1ada5e0f0f02fc9e1b";

    /// What a function that returns `true` answers.
    const TRUE: B256 = b256!("0000000000000000000000000000000000000000000000000000000000000001");

    fn signer() -> Address {
        Address::parse(Family::Eip155, "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266").unwrap()
    }

    fn ordinary() -> Outcome {
        Outcome {
            block: 7,
            success: false,
            payer_code: None,
            balance: None,
            authorization_used: None,
            gas_used: 0,
            return_data: Bytes::new(),
        }
    }

    /// A contract that answers `word`.
    fn contract(word: &[u8]) -> Outcome {
        Outcome { success: true, payer_code: Some(B256::repeat_byte(1)), return_data: Bytes::copy_from_slice(word), ..ordinary() }
    }

    fn judge(outcome: &Outcome, address: Address, text: &str, signature: &str) -> bool {
        is_good(outcome, address, eip191_hash_message(text), &read(signature).unwrap())
    }

    #[test]
    fn an_ordinary_account_signs_for_itself() {
        let other = Address::Evm([3; 20]);
        let with_parity = SIGNATURE.strip_suffix("1b").unwrap().to_owned() + "00";

        assert!(judge(&ordinary(), signer(), TEXT, SIGNATURE));
        assert!(judge(&ordinary(), signer(), TEXT, &with_parity));
        assert!(!judge(&ordinary(), other, TEXT, SIGNATURE));
        assert!(!judge(&ordinary(), signer(), &TEXT.replace("prove", "pr0ve"), SIGNATURE));
        assert!(!judge(&ordinary(), signer(), TEXT, &SIGNATURE[..130]));
    }

    #[test]
    fn where_there_is_code_it_alone_decides() {
        let yes = contract(YES.as_slice());

        assert!(judge(&yes, Address::Evm([3; 20]), TEXT, "0xabcd"));
        assert!(judge(&contract(&[YES.as_slice(), &[7; 40]].concat()), signer(), TEXT, "0xabcd"));
        assert!(!judge(&Outcome { success: false, ..yes.clone() }, signer(), TEXT, SIGNATURE), "a revert");
        assert!(!judge(&contract(&[]), signer(), TEXT, SIGNATURE));
        assert!(!judge(&contract(&YES[..31]), signer(), TEXT, SIGNATURE));
        assert!(!judge(&contract(&[0xff; 32]), signer(), TEXT, SIGNATURE));
        assert!(!judge(&contract(TRUE.as_slice()), signer(), TEXT, SIGNATURE), "true is another answer");
    }

    #[test]
    fn the_account_is_asked_as_the_standard_says() {
        // Made with viem.
        let expected = hex::decode("1626ba7e1b57722653b026c593f6f22f4ed443f225a846478a7e7d72afb9ee404babe61f00000000000000000000000000000000000000000000000000000000000000400000000000000000000000000000000000000000000000000000000000000002abcd000000000000000000000000000000000000000000000000000000000000").unwrap();
        let account = EvmAddress::repeat_byte(3);
        let question = question(account, eip191_hash_message(TEXT), read("0xabcd").unwrap());

        assert_eq!(question.data.to_vec(), expected);
        assert_eq!((question.payer, question.target), (account, account));
        assert_eq!(Wallet::isValidSignatureCall::SELECTOR, YES[..4]);
    }

    #[test]
    fn a_signature_has_a_form_and_may_be_wrapped() {
        let wrap = |inner: &str| {
            let inner = Bytes::from(hex::decode(inner).unwrap());
            let wrapper = "6492".repeat(16);
            hex::encode_prefixed((EvmAddress::repeat_byte(4), Bytes::new(), inner).abi_encode_params()) + &wrapper
        };

        assert!(judge(&ordinary(), signer(), TEXT, &wrap(SIGNATURE)));
        for malformed in ["", "0x", "abcd", "0xabc", "0xzz", &format!("0x{}", "6492".repeat(16)), &wrap(&wrap(SIGNATURE))] {
            assert_eq!(read(malformed), None, "{malformed:.20?}");
        }
    }
}
