//! Who pays on each network, and where its key is.

use std::sync::Arc;

use reqwest::Client;

use super::AppError;
use crate::config::{KeyConfig, NetworkConfig, SignerConfig, SigningKeys};
use crate::domain::address::Address;
use crate::keys::aws::AwsKey;
use crate::keys::gcp::GcpKey;
use crate::keys::keeper;
use crate::keys::remote::RemoteKey;
use crate::keys::{KeyError, MessageKey, MessageSigner, Named, NamedMessageSigner, NamedSigner, SettlementKey, SettlementSigner};

/// The signers of an EVM network. Their keys are kept only where the process signs.
///
/// # Errors
/// A key that is none, or somebody else's.
pub fn settling(network: &NetworkConfig, wanted: SigningKeys) -> Result<Vec<NamedSigner>, AppError> {
    let client = keeper::client()?;
    named(
        network,
        wanted,
        |key| settlement_key(key, &client),
        |address| match address {
            Address::Evm(address) => Some(address),
            Address::Solana(_) => None,
        },
    )
}

/// The signers of a cluster of Solana. Their keys are kept only where the process signs.
///
/// # Errors
/// A key that is none, or somebody else's.
pub fn of_messages(network: &NetworkConfig, wanted: SigningKeys) -> Result<Vec<NamedMessageSigner>, AppError> {
    let client = keeper::client()?;
    named(
        network,
        wanted,
        |key| message_key(key, &client),
        |address| match address {
            Address::Solana(address) => Some(address),
            Address::Evm(_) => None,
        },
    )
}

/// A key, and whose it is, if it says so itself.
type Found<K> = (Option<Address>, Arc<K>);

fn named<A: Copy + PartialEq, K: ?Sized>(
    network: &NetworkConfig,
    wanted: SigningKeys,
    find: impl Fn(&KeyConfig) -> Result<Found<K>, KeyError>,
    read: impl Fn(Address) -> Option<A>,
) -> Result<Vec<Named<A, K>>, AppError> {
    let mut all: Vec<Named<A, K>> = Vec::new();
    for signer in &network.signers {
        let named =
            one(signer, wanted, &find, &read).and_then(|named| match all.iter().find(|other| other.address == named.address) {
                // Two lanes with one account would use up each other's nonces.
                Some(other) => Err(KeyError::SameAccount(other.name.clone())),
                None => Ok(named),
            });
        all.push(named.map_err(|source| AppError::Key {
            network: network.network.to_string(),
            name: signer.name.clone(),
            source: Box::new(source),
        })?);
    }
    Ok(all)
}

fn one<A, K: ?Sized>(
    signer: &SignerConfig,
    wanted: SigningKeys,
    find: impl Fn(&KeyConfig) -> Result<Found<K>, KeyError>,
    read: impl Fn(Address) -> Option<A>,
) -> Result<Named<A, K>, KeyError> {
    let found = signer.key.as_ref().map(find).transpose()?;
    let own = found.as_ref().and_then(|(address, _)| *address);
    let address = match (signer.address, own) {
        (Some(configured), Some(found)) if configured != found => return Err(KeyError::OtherAddress { found, configured }),
        (configured, found) => configured.or(found).ok_or(KeyError::NoAddress)?,
    };
    let key = found.map(|(_, key)| key).filter(|_| wanted == SigningKeys::Wanted);
    if key.is_none() && signer.key.is_some() {
        tracing::warn!(signer = signer.name, %address, "its key was read for its address alone: configure the address, and this replica needs no key");
    }
    Ok(Named { name: signer.name.clone(), address: read(address).ok_or(KeyError::NoAddress)?, key })
}

fn settlement_key(key: &KeyConfig, client: &Client) -> Result<Found<dyn SettlementSigner>, KeyError> {
    let elsewhere: Arc<dyn SettlementSigner> = match key {
        KeyConfig::Local(secret) => {
            let key = SettlementKey::parse(secret)?;
            return Ok((Some(Address::Evm(key.address())), Arc::new(key)));
        }
        KeyConfig::Remote(config) => Arc::new(RemoteKey::new(client.clone(), config)),
        KeyConfig::AwsKms(config) => Arc::new(AwsKey::new(client.clone(), config)),
        KeyConfig::GcpKms(config) => Arc::new(GcpKey::new(client.clone(), config)),
    };
    Ok((None, elsewhere))
}

fn message_key(key: &KeyConfig, client: &Client) -> Result<Found<dyn MessageSigner>, KeyError> {
    match key {
        KeyConfig::Local(secret) => {
            let key = MessageKey::parse(secret)?;
            Ok((Some(Address::Solana(key.address())), Arc::new(key)))
        }
        KeyConfig::Remote(config) => Ok((None, Arc::new(RemoteKey::new(client.clone(), config)))),
        // The configuration refuses them on Solana.
        KeyConfig::AwsKms(_) | KeyConfig::GcpKms(_) => Err(KeyError::NotAKeypair),
    }
}
