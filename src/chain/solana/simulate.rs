//! The simulation of one payment: whether the cluster would carry it out now, and what the two token accounts hold afterwards.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use solana_client::rpc_request::RpcRequest;

use super::exact::Authorization;
use super::message::Key;
use super::rpc::{Nodes, Stated};
use super::tokens::TokenAccount;
use crate::chain::ChainError;
use crate::domain::address::{Address, encode_base58};
use crate::domain::reason::{Reason, Refusal};

/// Between two blocks.
const SLOT_TIME: Duration = Duration::from_millis(400);

/// What the cluster says about a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The slot whose state was used.
    pub slot: u64,
    /// What happened.
    pub verdict: Result<Good, Refusal>,
}

/// A payment that can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Good {
    /// What the payer held before.
    pub balance: u64,
    /// The compute units that it took.
    pub units: u64,
}

/// The part of the answer that is read. The errors of transactions are an open list, so they are kept as they come.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Simulated {
    err: Option<Value>,
    accounts: Option<Vec<Option<Account>>>,
    units_consumed: Option<u64>,
}

impl Simulated {
    fn lacks_blockhash(&self) -> bool {
        self.err.as_ref().is_some_and(|error| error == "BlockhashNotFound")
    }
}

#[derive(Deserialize)]
struct Account {
    data: (String, String),
}

/// Simulates a payment as it will be sent, without the fee payer's signature and with its own blockhash.
pub async fn simulate(nodes: &Nodes, payment: &Authorization, pay_to: Address) -> Result<Outcome, ChainError> {
    let wire = STANDARD.encode(payment.transaction.unsigned());
    let transfer = &payment.transfer;
    let accounts = [encode_base58(&transfer.source), encode_base58(&transfer.destination)];
    let config = json!({
        "encoding": "base64", "commitment": "confirmed", "sigVerify": false, "replaceRecentBlockhash": false,
        "accounts": {"encoding": "base64", "addresses": accounts},
    });
    let answer = ask(nodes, json!([wire, config])).await?;
    if let Some(error) = answer.value.err.as_ref().filter(|error| is_fee_payers(error)) {
        return Err(nodes.signer_short(encode_base58(payment.transaction.fee_payer()), error.to_string()));
    }
    Ok(Outcome { slot: answer.slot(), verdict: judge(&answer.value, payment, pay_to) })
}

/// Asks once more, and no oftener, if a node does not know the blockhash: that of the client may have been a block ahead of it.
async fn ask(nodes: &Nodes, question: Value) -> Result<Stated<Simulated>, ChainError> {
    let first: Stated<Simulated> = nodes.read(RpcRequest::SimulateTransaction, question.clone()).await?;
    if !first.value.lacks_blockhash() {
        return Ok(first);
    }
    let second = look_again(nodes, question).await?;
    // Of two nodes that do not know it, the one that has come farther says more.
    let says_more = !second.value.lacks_blockhash() || second.slot() >= first.slot();
    Ok(if says_more { second } else { first })
}

/// What the next node says, if it says so within a slot, or else the one that is preferred; where there is no other, after a slot.
async fn look_again(nodes: &Nodes, question: Value) -> Result<Stated<Simulated>, ChainError> {
    if let Some(next) = nodes.order().nth(1) {
        let answer = nodes.call_node(next, RpcRequest::SimulateTransaction, question.clone());
        if let Ok(Ok(answer)) = tokio::time::timeout(SLOT_TIME, answer).await {
            return Ok(answer);
        }
    } else {
        tokio::time::sleep(SLOT_TIME).await;
    }
    nodes.read(RpcRequest::SimulateTransaction, question).await
}

/// Whether an error says that our signer cannot pay the fee, which is not the payer's fault. The first account of a transaction pays.
fn is_fee_payers(error: &Value) -> bool {
    let left_too_poor = error.pointer("/InsufficientFundsForRent/account_index").and_then(Value::as_u64);
    let cannot_pay = ["InsufficientFundsForFee", "AccountNotFound", "InvalidAccountForFee"];
    left_too_poor == Some(0) || error.as_str().is_some_and(|error| cannot_pay.contains(&error))
}

fn judge(simulated: &Simulated, payment: &Authorization, pay_to: Address) -> Result<Good, Refusal> {
    if let Some(error) = &simulated.err {
        return Err(explain(error));
    }
    let accounts = simulated.accounts.as_deref().unwrap_or_default();
    let read = |index: usize| {
        let account = accounts.get(index)?.as_ref()?;
        TokenAccount::read(&STANDARD.decode(&account.data.0).ok()?)
    };
    let failed = |what: &str| Err(Refusal::because(Reason::SolanaSimulationFailed, what));
    let (Some(source), Some(destination)) = (read(0), read(1)) else { return failed("a token account is missing") };
    let transfer = &payment.transfer;
    let is = |key: &Key, address: Address| Address::Solana(*key) == address;
    // An owner can give an associated account away, and then the money would not reach whom the address is derived from.
    if !is(&destination.owner, pay_to) || destination.mint != transfer.mint || !destination.usable {
        return failed("the recipient's token account is not the recipient's any more, or is frozen");
    }
    if source.owner != transfer.authority || source.mint != transfer.mint {
        return failed("the money is not the payer's own");
    }
    Ok(Good { balance: source.amount.saturating_add(transfer.amount), units: simulated.units_consumed.unwrap_or_default() })
}

fn explain(error: &Value) -> Refusal {
    match error.as_str() {
        Some("AlreadyProcessed") => Reason::TransactionProcessed.into(),
        _ => Refusal::because(Reason::SolanaSimulationFailed, format!("Simulation failed: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::solana::exact::tests::{PAY_TO, PAYER, public, request};

    const INITIALIZED: u8 = 1;
    const FROZEN: u8 = 2;

    /// Of 10,000 units of USDC, from the payer's account to the recipient's.
    fn payment() -> Authorization {
        Authorization::read(&request().payload).unwrap()
    }

    /// What a node says of a token account.
    fn account(mint: Key, owner: u8, amount: u64, state: u8) -> Account {
        let mut data = vec![0; 165];
        data[..32].copy_from_slice(&mint);
        data[32..64].copy_from_slice(&public(owner));
        data[64..72].copy_from_slice(&amount.to_le_bytes());
        data[108] = state;
        Account { data: (STANDARD.encode(data), "base64".to_owned()) }
    }

    /// The payer's account after a good simulation.
    fn source() -> Account {
        account(payment().transfer.mint, PAYER, 500, INITIALIZED)
    }

    /// The recipient's.
    fn destination() -> Account {
        account(payment().transfer.mint, PAY_TO, 10_000, INITIALIZED)
    }

    fn judged(accounts: Option<Vec<Option<Account>>>) -> Result<Good, Reason> {
        let simulated = Simulated { err: None, accounts, units_consumed: Some(405) };
        judge(&simulated, &payment(), request().pay_to).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn a_good_payment_tells_what_the_payer_held_before() {
        let good = Good { balance: 10_500, units: 405 };
        assert_eq!(judged(Some(vec![Some(source()), Some(destination())])), Ok(good));
    }

    #[test]
    fn an_account_that_is_the_recipients_no_more_is_not_paid_into() {
        let mint = payment().transfer.mint;
        for (what, there) in [
            ("given away", account(mint, PAYER, 10_000, INITIALIZED)),
            ("frozen", account(mint, PAY_TO, 10_000, FROZEN)),
            ("not in use", account(mint, PAY_TO, 10_000, 0)),
            ("of another token", account([8; 32], PAY_TO, 10_000, INITIALIZED)),
        ] {
            let judged = judged(Some(vec![Some(source()), Some(there)]));
            assert_eq!(judged, Err(Reason::SolanaSimulationFailed), "{what}");
        }
    }

    #[test]
    fn money_that_is_not_the_payers_own_pays_nothing() {
        let mint = payment().transfer.mint;
        for (what, from) in [
            ("given away, and the payer is its delegate", account(mint, PAY_TO, 500, INITIALIZED)),
            ("of another token", account([8; 32], PAYER, 500, INITIALIZED)),
        ] {
            let judged = judged(Some(vec![Some(from), Some(destination())]));
            assert_eq!(judged, Err(Reason::SolanaSimulationFailed), "{what}");
        }
    }

    #[test]
    fn both_accounts_must_be_there() {
        for data in [None, Some(STANDARD.encode([1_u8; 164])), Some("no base64".to_owned())] {
            let missing = || data.clone().map(|data| Account { data: (data, "base64".to_owned()) });
            for accounts in [vec![missing(), Some(destination())], vec![Some(source()), missing()]] {
                assert_eq!(judged(Some(accounts)), Err(Reason::SolanaSimulationFailed), "{data:?}");
            }
        }
        for accounts in [None, Some(vec![]), Some(vec![Some(source())])] {
            assert_eq!(judged(accounts), Err(Reason::SolanaSimulationFailed));
        }
    }

    #[test]
    fn a_fee_that_our_signer_cannot_pay_is_not_the_payers_fault() {
        for ours in [
            json!("InsufficientFundsForFee"),
            json!("AccountNotFound"),
            json!("InvalidAccountForFee"),
            json!({"InsufficientFundsForRent": {"account_index": 0}}),
        ] {
            assert!(is_fee_payers(&ours), "{ours}");
        }
        for theirs in [
            json!({"InsufficientFundsForRent": {"account_index": 2}}),
            json!({"InstructionError": [2, {"Custom": 1}]}),
            json!({"InstructionError": [2, "InsufficientFunds"]}),
            json!("BlockhashNotFound"),
            json!("ProgramAccountNotFound"),
        ] {
            assert!(!is_fee_payers(&theirs), "{theirs}");
        }
    }

    #[test]
    fn an_error_counts_before_everything_else() {
        let refused = |error: Value| {
            let accounts = Some(vec![Some(source()), Some(destination())]);
            let simulated = Simulated { err: Some(error), accounts, units_consumed: Some(405) };
            judge(&simulated, &payment(), request().pay_to).unwrap_err()
        };
        let failed = refused(json!({"InstructionError": [2, {"Custom": 1}]}));

        assert_eq!(refused(json!("AlreadyProcessed")), Refusal::from(Reason::TransactionProcessed));
        assert_eq!(failed.reason, Reason::SolanaSimulationFailed);
        assert_eq!(failed.detail.as_deref(), Some(r#"Simulation failed: {"InstructionError":[2,{"Custom":1}]}"#));
    }
}
