//! Keys of receipts, and verifiers that share nothing with the service that signs.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::SecretString;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::facilitator::{NetworkOptions, Options, binary};

/// A file with a keyring. It goes when this is dropped.
pub struct Keys {
    directory: TempDir,
}

impl Keys {
    /// Has the binary make new keys.
    pub async fn generate() -> Self {
        let keys = Self { directory: tempfile::tempdir().expect("a directory") };
        let file = keys.file();
        let output = run(&["keys", "generate", "--out", text(&file)]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        keys
    }

    /// Where they are.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("keys.json")
    }

    /// The section of a configuration that names them.
    pub fn section(&self) -> String {
        format!("\n[receipts]\nkeys_file = {:?}\n", self.file())
    }

    /// One network on an external database, with these keys.
    pub fn options(&self, network: NetworkOptions, database: &SecretString) -> Options {
        let mut options = Options::new(network, database);
        options.server.push_str(&self.section());
        options
    }

    /// Another command for the same file; what it printed.
    pub async fn command(&self, name: &str, more: &[&str]) -> String {
        let file = self.file();
        let mut words = vec!["keys", name, "--file", text(&file)];
        words.extend(more);
        let output = run(&words).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}

/// Runs the binary without any configuration.
pub async fn run(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).output().await.expect("the binary runs")
}

/// The receipt in the answer to a settle.
pub fn receipt_in(answer: &Value) -> String {
    let receipt =
        answer.pointer("/extensions/settlement-receipt/info/receipt").unwrap_or_else(|| panic!("no receipt in {answer}"));
    assert_eq!(receipt["format"], "jws", "{answer}");
    receipt["signature"].as_str().expect("a text").to_owned()
}

/// A part of a JWS, unverified.
fn part(jws: &str, number: usize) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(jws.split('.').nth(number).expect("three parts")).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// What a receipt says, unverified.
pub fn claims_of(jws: &str) -> Value {
    part(jws, 1)
}

/// The name of the key that signed a receipt, unverified.
pub fn kid_of(jws: &str) -> String {
    part(jws, 0)["kid"].as_str().expect("a name").to_owned()
}

/// The same receipt with another payload.
pub fn forged(jws: &str, claims: &Value) -> String {
    let parts: Vec<_> = jws.split('.').collect();
    format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2])
}

/// The same receipt with another header.
pub fn with_header(jws: &str, header: &Value) -> String {
    let (_, rest) = jws.split_once('.').expect("three parts");
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}

/// Receipt and keys as files.
fn files(receipt: &str, jwks: &Value) -> (TempDir, [PathBuf; 2]) {
    let directory = tempfile::tempdir().expect("a directory");
    let files = ["receipt", "jwks.json"].map(|name| directory.path().join(name));
    std::fs::write(&files[0], format!("{receipt}\n")).expect("it is writable");
    std::fs::write(&files[1], jwks.to_string()).expect("it is writable");
    (directory, files)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("Unicode")
}

/// The JSON that a program printed, or its words if it ended with 1.
pub(super) fn printed(output: Output) -> Result<Value, String> {
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout).expect("JSON"));
    }
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), b"".as_slice()));
    Err(String::from_utf8(output.stderr).expect("UTF-8"))
}

/// What `quittance receipt verify` prints of a receipt, or why it refuses it. No service is asked.
pub async fn verify_offline(receipt: &str, jwks: &Value, issuer: &str) -> Result<Value, String> {
    let (_directory, [receipt, jwks]) = files(receipt, jwks);
    printed(run(&["receipt", "verify", text(&receipt), "--jwks", text(&jwks), "--issuer", issuer]).await)
}

/// The same of a receipt that comes through a pipe, whoever issued it.
pub async fn verify_piped(receipt: &str, jwks: &Value) -> Result<Value, String> {
    let (_directory, [_, jwks]) = files(receipt, jwks);
    let mut command = Command::new(binary());
    command.args(["receipt", "verify", "-", "--jwks", text(&jwks)]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("the binary runs");
    let mut pipe = process.stdin.take().expect("it is piped");
    pipe.write_all(format!("{receipt}\n").as_bytes()).await.expect("it is read");
    drop(pipe);
    printed(process.wait_with_output().await.expect("it ends"))
}

/// What the code of others says of a receipt: `signer` and `claims`, or why it is refused. Of a JWS two libraries must say the same.
pub async fn verify_independently(receipt: &str, jwks: &Value) -> Result<Value, String> {
    let (_directory, [file, keys]) = files(receipt, jwks);
    let script = super::root().join("dev/verify-receipt.mjs");
    let output = Command::new("node").args([&script, &keys, &file]).stdin(Stdio::null()).output().await.expect("node runs");
    let verdict = printed(output);
    if !receipt.starts_with('{') {
        let claims = verdict.as_ref().map(|said| &said["claims"]).ok();
        assert_eq!(verify_in_rust(receipt, jwks).ok().as_ref(), claims, "jose: {verdict:?}");
    }
    verdict
}

/// What the claims of a JWS are by the crate `jsonwebtoken`, or why it refuses them. Its key is named as in the key set, or by a DID.
pub fn verify_in_rust(jws: &str, jwks: &Value) -> Result<Value, String> {
    let name = jsonwebtoken::decode_header(jws).map_err(|error| error.to_string())?.kid.ok_or("no key is named")?;
    let kid = name.rsplit_once('#').map_or(name.as_str(), |(_, fragment)| fragment);
    let key = jwks["keys"].as_array().expect("keys").iter().find(|key| key["kid"] == kid).ok_or("no such key")?;
    let key: Jwk = serde_json::from_value(key.clone()).map_err(|error| error.to_string())?;
    let key = DecodingKey::from_jwk(&key).map_err(|error| error.to_string())?;
    let mut rules = Validation::new(Algorithm::EdDSA);
    // A receipt is no ticket: it is for everybody, and does not expire.
    rules.required_spec_claims.clear();
    (rules.validate_exp, rules.validate_aud) = (false, false);
    let decoded = jsonwebtoken::decode(jws, &key, &rules).map_err(|error| error.to_string())?;
    Ok(decoded.claims)
}
