//! The list `signers` of a network.

use std::path::PathBuf;

use figment::value::Value;
use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;

use super::problem::Fault;
use super::rpc::RpcUrl;
use super::secret::{Secret, resolve, secret};
use super::table::{Items, Reported, Table, good};
use super::value::{address, some_text, text};
use crate::domain::address::{Address, decode_base58_pair, decode_hex};
use crate::domain::network::Family;

/// Whether the keys of signers are read. A process that does not sign has no use for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningKeys {
    /// They are.
    Wanted,
    /// They are left where they are, unless nothing else says whose account a signer is.
    Unwanted,
}

/// Who pays for transactions.
#[derive(Debug, Clone, PartialEq)]
pub struct SignerConfig {
    /// How logs and metrics call it: 1 to 32 of `a-z`, `0-9` and `-`, unique in its network.
    pub name: String,
    /// Its account. If it is not here, its key says so, which is read then.
    pub address: Option<Address>,
    /// Its key, if that was wanted.
    pub key: Option<KeyConfig>,
}

/// Where the key of a signer is.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyConfig {
    /// In the memory of this process: as hexadecimal digits on an EVM network, in base58 on Solana.
    Local(Secret),
    /// Behind a server of the operator's.
    Remote(RemoteConfig),
    /// In AWS KMS.
    AwsKms(AwsKmsConfig),
    /// In Google's Cloud KMS.
    GcpKms(GcpKmsConfig),
}

/// A key behind a server of the operator's.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteConfig {
    /// What is asked.
    pub url: RpcUrl,
    /// How the server calls the key.
    pub key_id: String,
    /// What shows the server who asks.
    pub token: Option<Secret>,
}

/// A key in AWS KMS.
#[derive(Debug, Clone, PartialEq)]
pub struct AwsKmsConfig {
    /// Its id, its ARN, or an alias.
    pub key_id: String,
    /// Where it is.
    pub region: String,
    /// What is asked.
    pub endpoint: RpcUrl,
    /// How we show who we are.
    pub way: AwsWay,
}

/// How AWS is shown who asks.
#[derive(Debug, Clone, PartialEq)]
pub enum AwsWay {
    /// By a secret that somebody gave us.
    Fixed {
        /// The name of the secret.
        access_key_id: String,
        /// The secret.
        secret_access_key: Secret,
        /// What goes with a secret that ends.
        session_token: Option<Secret>,
    },
    /// By one that the machine or pod gets again and again: EKS Pod Identity, or a task of ECS.
    Fetched {
        /// Where it is had.
        url: RpcUrl,
        /// The file with what opens that, where something does.
        token_file: Option<PathBuf>,
    },
}

/// A key in Google's Cloud KMS.
#[derive(Debug, Clone, PartialEq)]
pub struct GcpKmsConfig {
    /// The whole name of its version: `projects/…/cryptoKeyVersions/1`.
    pub key_id: String,
    /// What is asked.
    pub endpoint: RpcUrl,
    /// Where the token of the machine's or pod's account is had.
    pub token_url: RpcUrl,
}

/// Longest name of a signer; it becomes a label of metrics and the name of a lease.
const SIGNER_NAME_MAX: usize = 32;

/// What a name that stands in paths of other services is made of, besides letters and digits.
const NAME_SIGNS: &[u8] = b"-_./:@+=";

/// Google's service.
const GCP_ENDPOINT: &str = "https://cloudkms.googleapis.com";

/// Where machines and pods of Google's get their tokens.
const GCP_TOKEN_URL: &str = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token";

/// The settings of which one says where a key is.
const PLACES: [&str; 5] = ["key", "key_file", "remote", "aws_kms", "gcp_kms"];

/// The beginnings of the ten keys of "test test test test test test test test test test test junk", which every development chain
/// gives its money to. Sixteen digits cannot be met by chance.
const PUBLIC_KEYS: [&str; 10] = [
    "ac0974bec39a17e3",
    "59c6995e998f97a5",
    "5de4111afa1a4b94",
    "7c852118294e51e6",
    "47e179ec19748859",
    "8b3a350cf5c34c91",
    "92db14e403b83dfe",
    "4bbbf85ce3377467",
    "dbda1821b80551c9",
    "2a871d0798f97d79",
];

/// What keys of a network must be like.
#[derive(Clone, Copy)]
struct Rules {
    family: Family,
    /// Whether strangers reach its nodes.
    is_public: bool,
}

pub(super) fn signers(table: &Table, family: Family, nodes: &[RpcUrl]) -> Result<Vec<SignerConfig>, Reported> {
    let tables = table.tables("signers")?;
    if tables.is_empty() {
        return table.refuse("signers", Fault::Empty);
    }
    let rules = Rules { family, is_public: nodes.iter().any(|node| !node.is_private()) };
    let signers: Items<SignerConfig> = tables
        .into_iter()
        .enumerate()
        .map(|(index, (path, table))| (path, table.and_then(|table| signer(&table, index, rules))))
        .collect();
    let under = |key: &'static str| move |path: String| format!("{path}.{key}");
    let names = good(&signers).map(|(path, signer)| (under("name")(path), &signer.name));
    let names_differ = table.distinct(names);
    // Two lanes with one account would use up each other's nonces.
    let keys = good(&signers).filter_map(|(path, signer)| Some((under("key")(path), digits(local(signer)?))));
    let keys_differ = table.distinct(keys);
    let addresses = good(&signers).filter_map(|(path, signer)| Some((under("address")(path), signer.address?)));
    let addresses_differ = table.distinct(addresses);
    names_differ.and(keys_differ).and(addresses_differ)?;
    super::table::all(signers)
}

fn local(signer: &SignerConfig) -> Option<&Secret> {
    match &signer.key {
        Some(KeyConfig::Local(key)) => Some(key),
        Some(KeyConfig::Remote(_) | KeyConfig::AwsKms(_) | KeyConfig::GcpKms(_)) | None => None,
    }
}

fn signer(table: &Table, index: usize, rules: Rules) -> Result<SignerConfig, Reported> {
    let name = name(table, index);
    let address = table.optional("address", address(rules.family));
    let is_known = !matches!(address, Ok(None));
    let key = match table.report.signing_keys {
        SigningKeys::Unwanted if is_known => {
            table.leave(&PLACES);
            Ok(None)
        }
        SigningKeys::Wanted | SigningKeys::Unwanted => key(table, is_known, rules).map(Some),
    };
    Ok(SignerConfig { name: name?, address: address?, key: key? })
}

fn name(table: &Table, index: usize) -> Result<String, Reported> {
    let name = table.optional("name", |value| {
        let name = text(value)?;
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_name = (1..=SIGNER_NAME_MAX).contains(&name.len()) && name.bytes().all(allowed);
        if is_name { Ok(name) } else { Err(Fault::Expected("1 to 32 of a-z, 0-9 and -")) }
    })?;
    Ok(name.unwrap_or_else(|| format!("signer-{}", index + 1)))
}

fn key(table: &Table, is_known: bool, rules: Rules) -> Result<KeyConfig, Reported> {
    let mut elsewhere = ["remote", "aws_kms", "gcp_kms"].into_iter().filter(|place| table.has(place));
    let place = elsewhere.next();
    if let Some(second) = elsewhere.next() {
        table.leave(&PLACES);
        return table.refuse(second, Fault::Conflict(table.path_of(place.unwrap_or_default())));
    }
    let local = secret(table, "key")?;
    let Some(place) = place else { return local_key(table, local, rules) };
    if local.is_some() {
        return table.refuse(place, Fault::Conflict(table.path_of("key")));
    }
    // What it signs is good only if it is this account's, so somebody must have said whose it is.
    let known = if is_known { Ok(()) } else { table.refuse("address", Fault::Missing) };
    let key = table.table(place).and_then(|inner| match (place, rules.family) {
        ("remote", _) => remote(&inner).map(KeyConfig::Remote),
        ("aws_kms", Family::Eip155) => aws_kms(&inner).map(KeyConfig::AwsKms),
        (_, Family::Eip155) => gcp_kms(&inner).map(KeyConfig::GcpKms),
        (_, Family::Solana) => table.refuse(place, Fault::Expected("an EVM network; on Solana key, key_file or remote")),
    });
    known.and(key)
}

fn local_key(table: &Table, key: Option<Secret>, rules: Rules) -> Result<KeyConfig, Reported> {
    let is_key = |key: &Secret| match rules.family {
        Family::Solana => decode_base58_pair(key.expose_secret()).map(Zeroizing::new).is_some(),
        Family::Eip155 => decode_hex::<32>(&digits(key)).map(Zeroizing::new).is_some(),
    };
    let expected = match rules.family {
        Family::Solana => "a key of 64 bytes in base58, as wallets export it",
        Family::Eip155 => "a key of 64 hexadecimal digits",
    };
    match key {
        None => table.refuse("key", Fault::Missing),
        Some(key) if !is_key(&key) => table.refuse("key", Fault::Expected(expected)),
        Some(key) if rules.is_public && is_public_key(&key) => table.refuse("key", Fault::PublicKey),
        Some(key) => Ok(KeyConfig::Local(key)),
    }
}

fn remote(table: &Table) -> Result<RemoteConfig, Reported> {
    let url = sealed_url(table, "url", None);
    let key_id = table.required("key_id", some_text);
    let token = secret(table, "token");
    Ok(RemoteConfig { url: url?, key_id: key_id?, token: token? })
}

fn aws_kms(table: &Table) -> Result<AwsKmsConfig, Reported> {
    let key_id = table.required("key_id", name_elsewhere);
    let region = table.required("region", name_elsewhere);
    let usual = region.as_ref().map_or(String::new(), |region| format!("https://kms.{region}.amazonaws.com"));
    let endpoint = sealed_url(table, "endpoint", Some(&usual)).and_then(|url| {
        // What is signed is a call of `/`.
        if url.is_bare() { Ok(url) } else { table.refuse("endpoint", Fault::Expected("a URL without a path")) }
    });
    let way = aws_way(table);
    Ok(AwsKmsConfig { key_id: key_id?, region: region?, endpoint: endpoint?, way: way? })
}

fn aws_way(table: &Table) -> Result<AwsWay, Reported> {
    let access_key_id = table.optional("access_key_id", name_elsewhere);
    let secret_access_key = secret(table, "secret_access_key");
    let session_token = secret(table, "session_token");
    let fetched = table.has("credentials_url").then(|| sealed_url(table, "credentials_url", None)).transpose();
    let token_file = table.optional("credentials_token_file", some_text);
    match (access_key_id?, secret_access_key?, session_token?, fetched?, token_file?) {
        (None, None, None, Some(url), file) => Ok(AwsWay::Fetched { url, token_file: file.map(PathBuf::from) }),
        (Some(access_key_id), Some(secret_access_key), session_token, None, None) => {
            Ok(AwsWay::Fixed { access_key_id, secret_access_key, session_token })
        }
        (_, _, _, Some(_), _) => table.refuse("credentials_url", Fault::Conflict(table.path_of("access_key_id"))),
        (None, None, ..) => table.refuse("credentials_url", Fault::Missing),
        (None, ..) => table.refuse("access_key_id", Fault::Missing),
        (_, None, ..) => table.refuse("secret_access_key", Fault::Missing),
        (.., Some(_)) => table.refuse("credentials_token_file", Fault::Conflict(table.path_of("access_key_id"))),
    }
}

fn gcp_kms(table: &Table) -> Result<GcpKmsConfig, Reported> {
    let key_id = table.required("key_id", |value| {
        let key_id = name_elsewhere(value)?;
        let is_version = key_id.starts_with("projects/") && key_id.contains("/cryptoKeyVersions/");
        if is_version { Ok(key_id) } else { Err(Fault::Expected("projects/…/cryptoKeyVersions/1")) }
    });
    let endpoint = sealed_url(table, "endpoint", Some(GCP_ENDPOINT));
    let token_url = sealed_url(table, "token_url", Some(GCP_TOKEN_URL));
    Ok(GcpKmsConfig { key_id: key_id?, endpoint: endpoint?, token_url: token_url? })
}

fn name_elsewhere(value: &Value) -> Result<String, Fault> {
    let name = some_text(value)?;
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || NAME_SIGNS.contains(&byte));
    if is_name { Ok(name) } else { Err(Fault::Expected("a name of letters, digits and -_./:@+=")) }
}

/// A URL to which secrets may be sent: by TLS, or within a network of our own.
fn sealed_url(table: &Table, key: &'static str, usual: Option<&str>) -> Result<RpcUrl, Reported> {
    let read = |text: &str| match RpcUrl::parse(text)? {
        url if url.is_sealed() => Ok(url),
        _ => Err(Fault::Expected("https://, or the address of a private network")),
    };
    let written = table.optional(key, |value| read(&resolve(value, table.report.environment)?))?;
    match (written, usual) {
        (Some(url), _) => Ok(url),
        (None, Some(usual)) => RpcUrl::parse(usual).map_err(|_| Reported),
        (None, None) => table.refuse(key, Fault::Missing),
    }
}

fn is_public_key(key: &Secret) -> bool {
    PUBLIC_KEYS.iter().any(|beginning| digits(key).starts_with(beginning))
}

/// The key in the one spelling in which two keys can be compared.
fn digits(key: &Secret) -> Zeroizing<String> {
    let text = key.expose_secret();
    Zeroizing::new(text.strip_prefix("0x").unwrap_or(text).to_ascii_lowercase())
}
