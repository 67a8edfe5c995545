//! Payers that are contracts: ERC-1271 wallets, delegated accounts (EIP-7702), wallets that do not exist yet (ERC-6492), hostile
//! ones; and tokens that refuse.

use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, hex};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall, SolValue};
use serde_json::{Value, json};

use super::report;
use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::{Signed, Terms};
use crate::support::proxy::Proxy;
use crate::support::typed::{self, Factory, Fields, Kind, Usdc};
use crate::support::{contract, database, deploy};

async fn start(block_time: f64) -> Chain {
    Chain::start(ChainOptions { block_time, ..ChainOptions::default() }).await
}

async fn serve(chain: &Chain, lines: &str) -> Facilitator {
    let mut network = NetworkOptions::of(chain);
    network.lines.push_str(lines);
    Facilitator::start(&Options::new(network, &database::fresh().await)).await
}

fn merchant(chain: &Chain) -> String {
    chain.text("/accounts/merchant/address")
}

fn address(text: &str) -> Address {
    text.parse().expect("an address")
}

/// Gives a wallet two dollars, from the account that the node signs for.
async fn fund(chain: &Chain, wallet: &str) {
    let call = Usdc::transferCall { to: address(wallet), value: alloy::primitives::U256::from(2_000_000) };
    chain.transact(&chain.text("/accounts/buyer/address"), Some(&chain.usdc()), &call.abi_encode()).await;
}

/// A payment of `from`, signed by the owner of the first payer's key. Contracts decide what that is worth.
fn from(chain: &Chain, wallet: &str) -> Signed {
    chain.payers[0].authorize_with(&Terms::to(&merchant(chain)), B256::from(rand::random::<[u8; 32]>()), address(wallet))
}

fn digest(chain: &Chain, signed: &Signed) -> B256 {
    Fields::of(&signed.payload).digest(Kind::TransferWithAuthorization, &typed::usdc_domain(&chain.world))
}

fn with_signature(mut signed: Signed, signature: &[u8]) -> Signed {
    signed.payload["signature"] = hex::encode_prefixed(signature).into();
    signed
}

fn signature_of(signed: &Signed) -> Vec<u8> {
    signed.payload["signature"].as_str().expect("a text").parse::<Bytes>().expect("hexadecimal").to_vec()
}

fn safe_payment(chain: &Chain, safe: &str) -> Signed {
    let owner: PrivateKeySigner = chain.text("/accounts/safeOwner/key").parse().expect("a key");
    let signed = from(chain, safe);
    let signature =
        typed::sign_for_safe(&owner, address(safe), chain.world["chainId"].as_u64().expect("a number"), digest(chain, &signed));
    with_signature(signed, &signature)
}

/// Makes an ordinary account one that delegates to a contract.
async fn delegate(chain: &Chain, account: &str, to: &str) {
    chain.rpc("anvil_setCode", json!([account, format!("0xef0100{}", &to[2..])])).await;
}

/// What both endpoints say, having made sure that it is a verdict and leaves nothing in the ledger.
async fn refusal(facilitator: &Facilitator, signed: &Signed) -> (Value, Value) {
    let before = database::traces(facilitator).await;
    let verified = facilitator.verify(&signed.v2()).await;
    let settled = facilitator.settle(&signed.v2()).await;
    // A node that takes too long over it would be 503.
    assert_eq!((verified.0, settled.0), (200, 200), "{verified:?} {settled:?}");
    assert_eq!((&verified.1["isValid"], &settled.1["success"]), (&json!(false), &json!(false)), "{verified:?} {settled:?}");
    assert_eq!(database::traces(facilitator).await, before, "a refusal leaves no trace: {settled:?}");
    (verified.1["invalidReason"].clone(), settled.1["errorReason"].clone())
}

async fn is_paid(chain: &Chain, facilitator: &Facilitator, signed: &Signed, what: &str) {
    let verified = facilitator.verify(&signed.v2()).await;
    let settled = facilitator.settle(&signed.v2()).await;

    assert_eq!(verified.1["isValid"], true, "{what}: {verified:?}");
    assert_eq!(settled.1["success"], true, "{what}: {settled:?}");
    let topic = format!("0x{:0>64}", signed.payer[2..].to_lowercase());
    let transfers = chain.transfers_to(&merchant(chain)).await;
    let transfers: Vec<_> = transfers.iter().filter(|log| log["topics"][1] == topic.as_str()).collect();
    assert_eq!(transfers.len(), 1, "{what}");
    assert_eq!(transfers[0]["transactionHash"], settled.1["transaction"], "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_pays_if_its_own_code_agrees() {
    let chain = start(0.25).await;
    let facilitator = serve(&chain, "").await;
    let owner = address(&chain.payers[0].address());
    let wallet = deploy(&chain, &contract("EcdsaWallet"), &owner.abi_encode()).await;
    fund(&chain, &wallet).await;
    let delegated = &chain.payers[1];
    delegate(&chain, &delegated.address(), &wallet).await;
    let stubborn = &chain.payers[2];
    delegate(&chain, &stubborn.address(), &deploy(&chain, &contract("RevertingWallet"), &[]).await).await;
    let terms = Terms::to(&merchant(&chain));

    is_paid(&chain, &facilitator, &from(&chain, &wallet), "a wallet with one owner").await;
    is_paid(&chain, &facilitator, &safe_payment(&chain, &chain.text("/safe")), "a Safe").await;
    is_paid(&chain, &facilitator, &delegated.authorize(&terms), "a delegated account whose delegate agrees").await;

    // A wrapper around the signature of a wallet that stands is taken off.
    let again = from(&chain, &chain.text("/safe"));
    let again = safe_signed_in_wrapper(&chain, &again);
    let (verified, settled) = (facilitator.verify(&again.v2()).await, facilitator.settle(&again.v2()).await);
    assert_eq!((&verified.1["isValid"], &settled.1["success"]), (&json!(true), &json!(true)), "{verified:?} {settled:?}");

    // The account's own key signed, and the code at its address has the last word.
    let (verified, settled) = refusal(&facilitator, &stubborn.authorize(&terms)).await;
    assert_eq!((verified.as_str(), settled.as_str()), (Some("invalid_exact_evm_signature"), Some("invalid_exact_evm_signature")));
    // Somebody else signed for the wallet.
    let stranger = chain.payers[3].authorize_with(&terms, B256::repeat_byte(9), address(&wallet));
    let (verified, settled) = refusal(&facilitator, &stranger).await;
    assert_eq!((verified.as_str(), settled.as_str()), (Some("invalid_exact_evm_signature"), Some("invalid_exact_evm_signature")));
}

fn safe_signed_in_wrapper(chain: &Chain, signed: &Signed) -> Signed {
    let signed = safe_payment(chain, &signed.payer);
    let factory = address(&chain.text("/counterfactualSafe/factory"));
    let wrapped = typed::wrap(factory, &[1, 2, 3], &signature_of(&signed));
    with_signature(signed, &wrapped)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_does_not_exist_yet_pays_through_an_allowed_factory_only() {
    let chain = start(0.25).await;
    let factory = deploy(&chain, &contract("WalletFactory"), &[]).await;
    let safe_factory = chain.text("/counterfactualSafe/factory");
    let open = serve(&chain, &format!("factories = [{factory:?}, {safe_factory:?}]\n")).await;
    let closed = serve(&chain, "").await;
    let (owner, salt) = (address(&chain.payers[0].address()), B256::repeat_byte(7));
    let arguments = owner.abi_encode();
    let code =
        [hex::decode(contract("EcdsaWallet")["bytecode"].as_str().expect("code")).expect("hexadecimal"), arguments].concat();
    let wallet = typed::create2(address(&factory), salt, &code).to_checksum(None);
    fund(&chain, &wallet).await;
    let deployment = Factory::createWalletCall { owner, salt }.abi_encode();
    let signed = from(&chain, &wallet);
    let signed = with_signature(signed.clone(), &typed::wrap(address(&factory), &deployment, &signature_of(&signed)));
    let safe = safe_payment(&chain, &chain.text("/counterfactualSafe/address"));
    let safe_deployment = chain.text("/counterfactualSafe/factoryData").parse::<Bytes>().expect("hexadecimal");
    let safe = with_signature(safe.clone(), &typed::wrap(address(&safe_factory), &safe_deployment, &signature_of(&safe)));

    for refused in [&signed, &safe] {
        let (verified, settled) = refusal(&closed, refused).await;
        assert_eq!(
            (verified.as_str(), settled.as_str()),
            (Some("eip6492_factory_not_allowed"), Some("eip6492_factory_not_allowed"))
        );
        assert_eq!(chain.rpc("eth_getCode", json!([refused.payer, "latest"])).await, "0x");
    }
    is_paid(&chain, &open, &signed, "a wallet of an allowed factory").await;
    is_paid(&chain, &open, &safe, "a Safe of an allowed factory").await;
    for paid in [&signed, &safe] {
        assert_ne!(chain.rpc("eth_getCode", json!([paid.payer, "latest"])).await, "0x", "the wallet stands now");
    }

    // The factory is allowed, the signature is another's: the deployment must not be paid for.
    let salt = B256::repeat_byte(8);
    let wallet = typed::create2(address(&factory), salt, &code).to_checksum(None);
    fund(&chain, &wallet).await;
    let forged = chain.payers[1].authorize_with(&Terms::to(&merchant(&chain)), B256::repeat_byte(1), address(&wallet));
    let deployment = Factory::createWalletCall { owner, salt }.abi_encode();
    let forged = with_signature(forged.clone(), &typed::wrap(address(&factory), &deployment, &signature_of(&forged)));
    refusal(&open, &forged).await;
    assert_eq!(chain.rpc("eth_getCode", json!([wallet, "latest"])).await, "0x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_wallet_costs_no_money_and_is_a_verdict() {
    let chain = start(0.25).await;
    let proxy = Proxy::start(&chain.url);
    let network = NetworkOptions { rpc: vec![proxy.url.clone()], ..NetworkOptions::of(&chain) };
    let facilitator = Facilitator::start(&Options::new(network, &database::fresh().await)).await;
    let mut payments = Vec::new();
    for name in ["GasBurnerWallet", "ReturnBombWallet", "RevertingWallet"] {
        let wallet = deploy(&chain, &contract(name), &[]).await;
        fund(&chain, &wallet).await;
        payments.push((name, from(&chain, &wallet)));
    }
    let burner = deploy(&chain, &contract("BurnerDelegate"), &[]).await;
    delegate(&chain, &chain.payers[1].address(), &burner).await;
    payments.push(("an account that delegates to a burner", chain.payers[1].authorize(&Terms::to(&merchant(&chain)))));
    let fickle = deploy(&chain, &contract("FickleWallet"), &[]).await;
    fund(&chain, &fickle).await;

    for (name, signed) in &payments {
        let (verified, settled) = refusal(&facilitator, signed).await;
        assert_eq!(verified, settled, "{name}");
    }
    assert_eq!(proxy.calls("eth_sendRawTransaction"), 0, "nothing was paid for a payment that cannot land");

    report(
        "wallets hostile",
        &format!("{} kinds of hostile payers: refused alike by both endpoints, nothing sent, nothing recorded", payments.len()),
    );

    // This one is good in every simulation and bad in every block: one transaction is lost on it, and then it is known.
    let signed = from(&chain, &fickle);
    let first = facilitator.settle_patiently(&signed.v2(), Duration::from_mins(1)).await;
    let second = facilitator.settle(&signed.v2()).await;
    assert_eq!((&first["success"], &second.1["success"]), (&json!(false), &json!(false)), "{first} {second:?}");
    assert_eq!(first["transaction"].as_str().map(str::len), Some(66), "it names the transaction that did not pay: {first}");
    assert_eq!(first["transaction"], second.1["transaction"]);
    assert!(proxy.sent().len() <= 2, "{} transactions for a payment that never lands: {first}", proxy.sent().len());
    assert_eq!(chain.transfers_to(&merchant(&chain)).await.len(), 0);

    // The lane goes on.
    let honest = chain.payers[2].authorize(&Terms::to(&merchant(&chain)));
    is_paid(&chain, &facilitator, &honest, "an honest payer after all of them").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_refuses_is_not_asked_on_chain() {
    let chain = start(0.25).await;
    let proxy = Proxy::start(&chain.url);
    let network = NetworkOptions { rpc: vec![proxy.url.clone()], ..NetworkOptions::of(&chain) };
    let facilitator = Facilitator::start(&Options::new(network, &database::fresh().await)).await;
    let (usdc, ruler) = (chain.usdc(), chain.text("/accounts/deployer/address"));
    let command = async |call: Vec<u8>| drop(chain.transact(&ruler, Some(&usdc), &call).await);
    let refused = async |what: &str, words: &str| {
        let signed = chain.payers[0].authorize(&Terms::to(&merchant(&chain)));
        let answer = facilitator.verify(&signed.v2()).await;
        let (verified, settled) = refusal(&facilitator, &signed).await;
        assert_eq!(verified, "invalid_exact_evm_transaction_simulation_failed", "{what}");
        assert_eq!(settled, verified, "{what}");
        assert!(answer.1["invalidMessage"].as_str().unwrap_or_default().contains(words), "{what}: {answer:?}");
    };
    let (payer, payee) = (address(&chain.payers[0].address()), address(&merchant(&chain)));

    command(Usdc::blacklistCall { account: payer }.abi_encode()).await;
    refused("the payer is on the token's list", "blacklisted").await;
    command(Usdc::unBlacklistCall { account: payer }.abi_encode()).await;
    command(Usdc::blacklistCall { account: payee }.abi_encode()).await;
    refused("the recipient is on the token's list", "blacklisted").await;
    command(Usdc::unBlacklistCall { account: payee }.abi_encode()).await;
    command(Usdc::pauseCall {}.abi_encode()).await;
    refused("the token is paused", "paused").await;
    assert_eq!(proxy.calls("eth_sendRawTransaction"), 0);

    command(Usdc::unpauseCall {}.abi_encode()).await;
    let signed = chain.payers[0].authorize(&Terms::to(&merchant(&chain)));
    is_paid(&chain, &facilitator, &signed, "the token goes on").await;
}
