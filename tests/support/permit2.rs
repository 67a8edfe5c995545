//! What payers sign for Permit2: schemes `exact` and `upto`.

use std::time::{SystemTime, UNIX_EPOCH};

use alloy::primitives::{Address, Bytes, U256};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{Eip712Domain, SolCall, SolStruct};
use serde_json::{Value, json};

use super::chain::Chain;
use super::payer::{Payer, Terms};
use super::typed::{self, Fields, Kind};

alloy::sol! {
    interface Exact {
        struct TokenPermissions { address token; uint256 amount; }
        struct PermitTransferFrom { TokenPermissions permitted; uint256 nonce; uint256 deadline; }
        struct Witness { address to; uint256 validAfter; }
        struct PermitWitnessTransferFrom { TokenPermissions permitted; address spender; uint256 nonce; uint256 deadline; Witness witness; }
        function settle(PermitTransferFrom permit, address owner, Witness witness, bytes signature);
    }
    interface Upto {
        struct TokenPermissions { address token; uint256 amount; }
        struct Witness { address to; address facilitator; uint256 validAfter; }
        struct PermitWitnessTransferFrom { TokenPermissions permitted; address spender; uint256 nonce; uint256 deadline; Witness witness; }
    }
    interface Token {
        function approve(address spender, uint256 value) returns (bool);
    }
    interface Permit2 {
        function invalidateUnorderedNonces(uint256 word, uint256 mask);
    }
}

/// The most that can be allowed.
const ALL: U256 = U256::MAX;

/// What is to be signed, in parts that a test can get wrong one at a time.
#[derive(Clone, Debug)]
pub struct Order {
    /// Who pays, to whom, how much, for how long.
    pub terms: Terms,
    /// The payer.
    pub from: Address,
    /// The token.
    pub token: Address,
    /// Which contract may ask for it.
    pub spender: Address,
    /// What makes it unique.
    pub nonce: U256,
    /// Who may settle it: only of scheme `upto`.
    pub facilitator: Option<Address>,
    /// Seconds from now until it is valid.
    pub valid_in: i64,
}

/// A signed order.
#[derive(Clone, Debug)]
pub struct Permitted {
    /// `payload` of either scheme.
    pub payload: Value,
    /// What was signed.
    pub order: Order,
    network: String,
    /// What goes into the extension that lets Permit2 take the token.
    pub sponsoring: Option<Value>,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn address(chain: &Chain, path: &str) -> Address {
    chain.text(path).parse().expect("an address")
}

impl Order {
    /// An order of scheme `exact`.
    pub fn exact(chain: &Chain, payer: &Payer, terms: &Terms) -> Self {
        Self {
            terms: terms.clone(),
            from: payer.signer().address(),
            token: chain.usdc().parse().expect("an address"),
            spender: address(chain, "/exactPermit2Proxy"),
            nonce: U256::from_be_bytes(rand::random::<[u8; 32]>()),
            facilitator: None,
            valid_in: -60,
        }
    }

    /// An order of scheme `upto`, for the chain's first signer to settle.
    pub fn upto(chain: &Chain, payer: &Payer, terms: &Terms) -> Self {
        let facilitator = Some(address(chain, "/accounts/signers/0/address"));
        Self { spender: address(chain, "/uptoPermit2Proxy"), facilitator, ..Self::exact(chain, payer, terms) }
    }

    /// Signs it as an ordinary account.
    pub fn sign(self, chain: &Chain, key: &PrivateKeySigner) -> Permitted {
        self.sign_with(chain, |digest| typed::sign(key, digest))
    }

    /// Signs it in whichever way.
    pub fn sign_with(self, chain: &Chain, sign: impl FnOnce(alloy::primitives::B256) -> Vec<u8>) -> Permitted {
        let (deadline, valid_after) =
            (now().saturating_add_signed(self.terms.valid_for), now().saturating_add_signed(self.valid_in));
        let digest = self.digest(chain, deadline, valid_after);
        let signature = alloy::hex::encode_prefixed(sign(digest));
        let mut witness = json!({"to": self.terms.pay_to, "validAfter": valid_after.to_string()});
        if let Some(facilitator) = self.facilitator {
            witness["facilitator"] = facilitator.to_checksum(None).into();
        }
        let payload = json!({
            "signature": signature,
            "permit2Authorization": {
                "from": self.from.to_checksum(None),
                "permitted": {"token": self.token.to_checksum(None), "amount": self.terms.amount.to_string()},
                "spender": self.spender.to_checksum(None),
                "nonce": self.nonce.to_string(),
                "deadline": deadline.to_string(),
                "witness": witness,
            },
        });
        Permitted { payload, order: self, network: chain.network(), sponsoring: None }
    }

    fn digest(&self, chain: &Chain, deadline: u64, valid_after: u64) -> alloy::primitives::B256 {
        let chain_id = chain.world["chainId"].as_u64().expect("a number");
        let contract = address(chain, "/permit2");
        let domain = Eip712Domain::new(Some("Permit2".into()), None, Some(U256::from(chain_id)), Some(contract), None);
        let (amount, deadline, valid_after) = (U256::from(self.terms.amount), U256::from(deadline), U256::from(valid_after));
        let (spender, nonce, token) = (self.spender, self.nonce, self.token);
        let to = self.terms.pay_to.parse().expect("an address");
        match self.facilitator {
            None => Exact::PermitWitnessTransferFrom {
                permitted: Exact::TokenPermissions { token, amount },
                spender,
                nonce,
                deadline,
                witness: Exact::Witness { to, validAfter: valid_after },
            }
            .eip712_signing_hash(&domain),
            Some(facilitator) => Upto::PermitWitnessTransferFrom {
                permitted: Upto::TokenPermissions { token, amount },
                spender,
                nonce,
                deadline,
                witness: Upto::Witness { to, facilitator, validAfter: valid_after },
            }
            .eip712_signing_hash(&domain),
        }
    }
}

impl Permitted {
    /// Adds the payer's word to the token that Permit2 may take so much (EIP-2612), under the payer's next nonce there, which is `nonce`.
    pub fn sponsored(mut self, chain: &Chain, key: &PrivateKeySigner, nonce: u64) -> Self {
        let permit2 = address(chain, "/permit2");
        let (value, deadline) = (U256::from(self.order.terms.amount), U256::from(now() + 120));
        let fields = Fields {
            from: self.order.from,
            to: permit2,
            value,
            valid_after: U256::ZERO,
            valid_before: deadline,
            nonce: U256::from(nonce).into(),
        };
        let signature = typed::sign(key, fields.digest(Kind::Permit, &typed::usdc_domain(&chain.world)));
        self.sponsoring = Some(json!({
            "from": self.order.from.to_checksum(None), "asset": self.order.token.to_checksum(None),
            "spender": permit2.to_checksum(None), "amount": value.to_string(), "nonce": nonce.to_string(),
            "deadline": deadline.to_string(), "signature": alloy::hex::encode_prefixed(signature), "version": "1",
        }));
        self
    }

    /// The body of a verify or settle request for what was signed.
    pub fn v2(&self) -> Value {
        self.v2_of(self.order.terms.amount)
    }

    /// The same for another amount.
    pub fn v2_of(&self, amount: u128) -> Value {
        let (scheme, mut extra) = match self.order.facilitator {
            None => ("exact", json!({"assetTransferMethod": "permit2"})),
            Some(facilitator) => {
                ("upto", json!({"assetTransferMethod": "permit2", "facilitatorAddress": facilitator.to_checksum(None)}))
            }
        };
        extra["name"] = "USDC".into();
        extra["version"] = "2".into();
        let terms = &self.order.terms;
        let requirements = |amount: u128| {
            json!({
                "scheme": scheme, "network": self.network, "amount": amount.to_string(), "asset": self.order.token.to_checksum(None),
                "payTo": terms.pay_to, "maxTimeoutSeconds": terms.timeout, "extra": extra,
            })
        };
        let mut body = json!({
            "x402Version": 2,
            "paymentPayload": {
                "x402Version": 2, "resource": {"url": terms.resource}, "accepted": requirements(terms.amount), "payload": self.payload,
            },
            "paymentRequirements": requirements(amount),
        });
        if let Some(info) = &self.sponsoring {
            body["paymentPayload"]["extensions"] = json!({"eip2612GasSponsoring": {"info": info, "schema": {}}});
        }
        body
    }

    /// The call with which anybody lands it, of scheme `exact`.
    pub fn landing(&self) -> Vec<u8> {
        let authorization = &self.payload["permit2Authorization"];
        let number = |text: &Value| text.as_str().expect("a string").parse().expect("a number");
        Exact::settleCall {
            permit: Exact::PermitTransferFrom {
                permitted: Exact::TokenPermissions { token: self.order.token, amount: U256::from(self.order.terms.amount) },
                nonce: self.order.nonce,
                deadline: number(&authorization["deadline"]),
            },
            owner: self.order.from,
            witness: Exact::Witness {
                to: self.order.terms.pay_to.parse().expect("an address"),
                validAfter: number(&authorization["witness"]["validAfter"]),
            },
            signature: self.payload["signature"].as_str().expect("a string").parse::<Bytes>().expect("hexadecimal"),
        }
        .abi_encode()
    }

    /// The call with which the payer gives the nonce up.
    pub fn cancelling(&self) -> Vec<u8> {
        let (word, mask) = (self.order.nonce >> 8, U256::from(1) << usize::from(self.order.nonce.byte(0)));
        Permit2::invalidateUnorderedNoncesCall { word, mask }.abi_encode()
    }
}

/// Lets Permit2 take all that an account has.
pub async fn approve(chain: &Chain, account: &str) {
    let call = Token::approveCall { spender: address(chain, "/permit2"), value: ALL }.abi_encode();
    let sent = chain.send_as(account, &chain.usdc(), &alloy::hex::encode_prefixed(call), 1_000_000).await;
    assert_eq!(chain.receipt(&sent).await["status"], "0x1");
}
