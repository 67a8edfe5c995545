//! Wallets on Solana that pay their own fees, and pay without asking anybody.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use quittance::chain::solana::associated;
use quittance::chain::solana::programs::{ASSOCIATED_TOKEN, MEMO, TOKEN, TOKEN_2022};
use quittance::domain::address::{decode_base58, decode_base58_pair, encode_base58};
use quittance::domain::asset::TokenProgram;
use serde_json::json;

use super::Cluster;

type Key = [u8; 32];

/// Enough for the fees of every test.
const LAMPORTS: u64 = 1_000_000_000;

/// What a wallet can write into a transfer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks<'a> {
    /// A memo.
    pub memo: Option<&'a str>,
    /// The account that it names (the `reference` of Solana Pay).
    pub reference: Option<&'a str>,
}

/// A token of the world.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    mint: Key,
    program: TokenProgram,
}

impl Token {
    /// A token by its name in the world, such as `usdc`.
    pub fn of(cluster: &Cluster, name: &str) -> Self {
        let program = match key(&cluster.text(&format!("/mints/{name}/program"))) {
            TOKEN => TokenProgram::Token,
            TOKEN_2022 => TokenProgram::Token2022,
            program => panic!("{program:?} is no token program"),
        };
        Self { mint: key(&cluster.text(&format!("/mints/{name}/address"))), program }
    }

    fn account(self, owner: &Key) -> Key {
        associated::account(owner, &self.mint, self.program).expect("an account")
    }

    const fn program(self) -> Key {
        match self.program {
            TokenProgram::Token => TOKEN,
            TokenProgram::Token2022 => TOKEN_2022,
        }
    }
}

/// A call of a program: accounts, and whether they are written to.
#[derive(Clone, Debug)]
pub struct Call {
    program: Key,
    accounts: Vec<(Key, bool)>,
    data: Vec<u8>,
}

/// Somebody with a key and some SOL.
pub struct Wallet {
    key: SigningKey,
}

impl Wallet {
    /// An account of the world by its place, such as `/payers/0`, with SOL for its fees.
    pub async fn of(cluster: &Cluster, place: &str) -> Self {
        let pair = decode_base58_pair(&cluster.text(&format!("{place}/key"))).expect("a keypair");
        let wallet = Self { key: SigningKey::from_keypair_bytes(&pair).expect("a keypair") };
        cluster.rpc("surfnet_setAccount", json!([wallet.address(), {"lamports": LAMPORTS}])).await;
        wallet
    }

    /// The address.
    pub fn address(&self) -> String {
        encode_base58(&self.owner())
    }

    fn owner(&self) -> Key {
        self.key.verifying_key().to_bytes()
    }

    /// A signature over a text, as wallets print it.
    pub fn sign(&self, text: &str) -> String {
        encode_base58(&self.key.sign(text.as_bytes()).to_bytes())
    }

    /// Sends a token to somebody who has an account for it, and returns the transaction.
    pub async fn pay(&self, cluster: &Cluster, token: Token, to: &str, units: u64, marks: Marks<'_>) -> String {
        self.send(cluster, &self.transfer(token, to, units, marks)).await
    }

    fn transfer(&self, token: Token, to: &str, units: u64, marks: Marks<'_>) -> Vec<Call> {
        let (owner, to) = (self.owner(), key(to));
        let mut accounts = vec![(token.account(&owner), true), (token.mint, false), (token.account(&to), true), (owner, true)];
        accounts.extend(marks.reference.map(|reference| (key(reference), false)));
        // TransferChecked with six decimals.
        let data = [&[12][..], &units.to_le_bytes(), &[6]].concat();
        let memo = marks.memo.map(|memo| Call { program: MEMO, accounts: Vec::new(), data: memo.as_bytes().to_vec() });
        std::iter::once(Call { program: token.program(), accounts, data }).chain(memo).collect()
    }

    /// Has the program of associated accounts fetch what lies in the account of this wallet's own account, which is a transfer inside
    /// another program's call. Returns the transaction.
    pub async fn recover(&self, cluster: &Cluster, token: Token, units: u64) -> String {
        let owner = self.owner();
        let own = token.account(&owner);
        let (holder, mint) = (encode_base58(&own), encode_base58(&token.mint));
        cluster.rpc("surfnet_setTokenAccount", json!([holder, mint, {"amount": units}])).await;
        let accounts = vec![
            (token.account(&own), true),
            (token.mint, false),
            (own, true),
            (own, false),
            (token.mint, false),
            (owner, true),
            (token.program(), false),
        ];
        // RecoverNested.
        self.send(cluster, &[Call { program: ASSOCIATED_TOKEN, accounts, data: vec![2] }]).await
    }

    /// Sends a transaction of these calls, which this wallet alone signs and pays for, and returns its name.
    pub async fn send(&self, cluster: &Cluster, calls: &[Call]) -> String {
        let message = self.message(calls, &key(&cluster.latest_blockhash().await));
        let signature = self.key.sign(&message).to_bytes();
        let wire = STANDARD.encode([&[1][..], &signature, &message].concat());
        let config = json!({"encoding": "base64", "skipPreflight": true, "preflightCommitment": "confirmed"});
        let sent = cluster.rpc("sendTransaction", json!([wire, config])).await;
        let name = encode_base58(&signature);
        assert_eq!(sent, json!(name), "the node names a transaction by its signature");
        name
    }

    /// A message of the old form. Lists are so short that their lengths take one byte.
    fn message(&self, calls: &[Call], blockhash: &Key) -> Vec<u8> {
        let (mut written, mut read) = (vec![self.owner()], Vec::new());
        let named = |calls: &[Call], wanted: bool| -> Vec<Key> {
            let accounts = calls.iter().flat_map(|call| call.accounts.iter());
            accounts.filter(|(_, writes)| *writes == wanted).map(|(account, _)| *account).collect()
        };
        for account in named(calls, true) {
            if !written.contains(&account) {
                written.push(account);
            }
        }
        for account in named(calls, false).into_iter().chain(calls.iter().map(|call| call.program)) {
            if !written.contains(&account) && !read.contains(&account) {
                read.push(account);
            }
        }
        let keys = [written.as_slice(), read.as_slice()].concat();
        let place = |account: &Key| keys.iter().position(|key| key == account).expect("it is one of them") as u8;
        let mut message = vec![1, 0, read.len() as u8, keys.len() as u8];
        message.extend(keys.concat());
        message.extend_from_slice(blockhash);
        message.push(calls.len() as u8);
        for Call { program, accounts, data } in calls {
            message.extend([place(program), accounts.len() as u8]);
            message.extend(accounts.iter().map(|(account, _)| place(account)));
            message.push(data.len() as u8);
            message.extend_from_slice(data);
        }
        message
    }
}

fn key(text: &str) -> Key {
    decode_base58(text).expect("32 bytes in base58")
}
