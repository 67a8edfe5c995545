//! A payer with a key, who signs authorizations as the x402 clients do.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use alloy::primitives::{Address, B256, U256};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use serde_json::{Value, json};

use super::typed::{self, Fields, Kind, Usdc};

/// Somebody who pays.
#[derive(Clone)]
pub struct Payer {
    key: PrivateKeySigner,
    world: Arc<Value>,
}

/// What is paid, to whom, and when.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The recipient.
    pub pay_to: String,
    /// Atomic units.
    pub amount: u128,
    /// What is paid for.
    pub resource: String,
    /// `validBefore`, as seconds from now.
    pub valid_for: i64,
    /// `maxTimeoutSeconds`.
    pub timeout: u32,
}

impl Terms {
    /// A cent to `pay_to`.
    pub fn to(pay_to: &str) -> Self {
        Self {
            pay_to: pay_to.to_owned(),
            amount: 10_000,
            resource: "http://localhost/inference".to_owned(),
            valid_for: 120,
            timeout: 120,
        }
    }
}

/// A signed authorization.
#[derive(Clone, Debug)]
pub struct Signed {
    /// `payload` of the exact scheme.
    pub payload: Value,
    /// The terms.
    pub terms: Terms,
    /// Who pays.
    pub payer: String,
    /// The authorization's nonce.
    pub nonce: B256,
    /// The network, CAIP-2.
    pub network: String,
    /// The network's name in version 1.
    pub v1_network: String,
    asset: String,
    domain: (String, String),
}

impl Payer {
    /// A payer on a chain.
    pub fn new(key: &str, world: &Value) -> Self {
        Self { key: key.parse().expect("a private key"), world: Arc::new(world.clone()) }
    }

    /// The payer's address.
    pub fn address(&self) -> String {
        self.key.address().to_checksum(None)
    }

    /// The key itself, for tests that sign other things.
    pub fn signer(&self) -> &PrivateKeySigner {
        &self.key
    }

    fn text(&self, name: &str) -> String {
        self.world[name].as_str().unwrap_or_default().to_owned()
    }

    /// The call with which anybody cancels an authorization that the payer wants cancelled.
    pub fn cancel_call(&self, signed: &Signed) -> String {
        let call = typed::cancelling(&self.key, &signed.payload, &typed::usdc_domain(&self.world));
        alloy::hex::encode_prefixed(call)
    }

    /// Signs an authorization with a fresh nonce.
    pub fn authorize(&self, terms: &Terms) -> Signed {
        self.authorize_with(terms, B256::from(rand::random::<[u8; 32]>()), self.key.address())
    }

    /// Signs an authorization with a chosen nonce, as the owner of `from`.
    pub fn authorize_with(&self, terms: &Terms, nonce: B256, from: Address) -> Signed {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let valid_before = now.saturating_add_signed(terms.valid_for);
        let fields = Fields {
            from,
            to: terms.pay_to.parse().expect("an address"),
            value: U256::from(terms.amount),
            valid_after: U256::ZERO,
            valid_before: U256::from(valid_before),
            nonce,
        };
        let digest = fields.digest(Kind::TransferWithAuthorization, &typed::usdc_domain(&self.world));
        let signature = typed::sign(&self.key, digest);
        let payer = from.to_checksum(None);
        let payload = json!({
            "signature": alloy::hex::encode_prefixed(signature),
            "authorization": {
                "from": payer, "to": terms.pay_to, "value": terms.amount.to_string(),
                "validAfter": "0", "validBefore": valid_before.to_string(), "nonce": nonce.to_string(),
            },
        });
        Signed {
            payload,
            terms: terms.clone(),
            payer,
            nonce,
            network: self.text("network"),
            v1_network: self.text("v1Network"),
            asset: self.text("usdc"),
            domain: (self.text("usdcName"), self.text("usdcVersion")),
        }
    }
}

/// The token's call with which its owner moves money.
pub fn transfer_call(to: &str, value: u128) -> String {
    let call = Usdc::transferCall { to: to.parse().expect("an address"), value: U256::from(value) };
    alloy::hex::encode_prefixed(call.abi_encode())
}

/// A call of Multicall3 with which it sends some of the tokens that it holds itself, to many at once.
pub fn spread_call(token: &str, transfers: &[(String, u128)]) -> Vec<u8> {
    let transfer = |(to, value): &(String, u128)| {
        Usdc::transferCall { to: to.parse().expect("an address"), value: U256::from(*value) }.abi_encode()
    };
    aggregate(token, transfers.iter().map(transfer))
}

/// A call of Multicall3 that lands authorizations of many payers at once.
pub fn landings_call(token: &str, signed: &[Signed]) -> Vec<u8> {
    aggregate(token, signed.iter().map(|signed| typed::landing(&signed.payload)))
}

fn aggregate(token: &str, calls: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let target = token.parse().expect("an address");
    let call = |data: Vec<u8>| typed::Multicall3::Call3 { target, allowFailure: false, callData: data.into() };
    typed::Multicall3::aggregate3Call { calls: calls.map(call).collect() }.abi_encode()
}

/// The token's call with which its blacklister bars an account.
pub fn blacklist_call(account: &str) -> String {
    let call = Usdc::blacklistCall { account: account.parse().expect("an address") };
    alloy::hex::encode_prefixed(call.abi_encode())
}

impl Signed {
    /// The token's call with which anybody can land this authorization.
    pub fn call(&self) -> String {
        alloy::hex::encode_prefixed(typed::landing(&self.payload))
    }

    /// The requirements of version 2.
    pub fn requirements(&self) -> Value {
        json!({
            "scheme": "exact", "network": self.network, "amount": self.terms.amount.to_string(), "asset": self.asset,
            "payTo": self.terms.pay_to, "maxTimeoutSeconds": self.terms.timeout,
            "extra": {"name": self.domain.0, "version": self.domain.1},
        })
    }

    /// The whole body of a verify or settle request in version 2.
    pub fn v2(&self) -> Value {
        json!({
            "x402Version": 2,
            "paymentPayload": {
                "x402Version": 2, "resource": {"url": self.terms.resource}, "accepted": self.requirements(), "payload": self.payload,
            },
            "paymentRequirements": self.requirements(),
        })
    }

    /// The same in version 1.
    pub fn v1(&self) -> Value {
        json!({
            "x402Version": 1,
            "paymentPayload": {"x402Version": 1, "scheme": "exact", "network": self.v1_network, "payload": self.payload},
            "paymentRequirements": {
                "scheme": "exact", "network": self.v1_network, "maxAmountRequired": self.terms.amount.to_string(),
                "resource": self.terms.resource, "description": "", "mimeType": "application/json", "payTo": self.terms.pay_to,
                "maxTimeoutSeconds": self.terms.timeout, "asset": self.asset,
                "extra": {"name": self.domain.0, "version": self.domain.1},
            },
        })
    }
}
