//! `quittance check`: looks at everything that the service depends on, and says what is wrong.

use std::fmt;

use crate::chain::{Chain, ChainError};
use crate::config::{Config, SigningKeys};
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::network::Family;
use crate::telemetry::ErrorChain;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub subject: String,
    /// What is right with it, or wrong.
    pub result: Result<String, String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.result {
            Ok(good) => write!(formatter, "ok    {}: {good}", self.subject),
            Err(bad) => write!(formatter, "FAIL  {}: {bad}", self.subject),
        }
    }
}

/// Looks at the database, the keys of receipts, every network with its tokens, and every signer.
pub async fn check(config: &Config) -> Vec<Finding> {
    let mut findings = vec![check_database(config).await, check_receipts(config)];
    match crate::app::chains(config, &crate::app::metrics(config)) {
        Err(error) => findings.push(bad("configuration", &error)),
        Ok(chains) => {
            for chain in chains.iter() {
                findings.extend(check_network(chain.as_ref(), config).await);
            }
        }
    }
    findings
}

async fn check_database(config: &Config) -> Finding {
    let subject = "database";
    match crate::app::open_ledger(config).await {
        Err(error) => bad(subject, &error),
        Ok(open) => {
            let pinged = open.ledger.ping().await;
            open.ledger.pool().close().await;
            let stopped = match open.cluster {
                Some(cluster) => cluster.stop().await,
                None => Ok(()),
            };
            match (pinged, stopped) {
                (Ok(()), Ok(())) => good(subject, "answers, and its schema is up to date"),
                (Err(error), _) => bad(subject, &error),
                (_, Err(error)) => bad(subject, &error),
            }
        }
    }
}

/// That receipts are not signed is no fault, but nobody should find out by their absence.
fn check_receipts(config: &Config) -> Finding {
    let subject = "receipts";
    match crate::app::receipt_keys::issuer(config, SystemClock.now()) {
        Ok(Some(issuer)) => good(subject, &format!("are signed by {}, with {} keys", issuer.name(), issuer.keys().keys().len())),
        Ok(None) => good(subject, "are not signed and wait, because receipts.keys is not set"),
        Err(error) => bad(subject, &error),
    }
}

async fn check_network(chain: &dyn Chain, config: &Config) -> Vec<Finding> {
    let profile = chain.profile();
    let subject = profile.network.to_string();
    let nodes = check_nodes(chain, &subject).await;
    if let Err(error) = chain.prepare().await {
        return std::iter::once(bad(&subject, &error)).chain(nodes).collect();
    }
    let tokens: Vec<_> = profile.assets.iter().map(|asset| format!("{} {}", asset.symbol, asset.address)).collect();
    let agreed = match (profile.network.family(), chain.batches()) {
        (Family::Eip155, true) => "chain id, genesis and signing domains agree; payments share transactions",
        (Family::Eip155, false) => "chain id, genesis and signing domains agree; no Multicall3: every payment goes alone",
        (Family::Solana, _) => "genesis, mints and token programs agree",
    };
    let mut findings = vec![good(&subject, &format!("{agreed} ({})", tokens.join(", ")))];
    findings.extend(nodes);
    let floor = config
        .networks
        .iter()
        .find(|network| network.network == profile.network)
        .map_or(0, |network| network.cost.reserve_wei_min);
    let unit = profile.network.family().native_unit();
    for signer in &profile.signers {
        let subject = format!("{subject} signer {}", signer.name);
        findings.push(match look_at_signer(chain, &signer.name, config.signing_keys).await {
            Err(error) => bad(&subject, &error),
            Ok(balance) if balance < floor => Finding {
                subject,
                result: Err(format!("{} holds {balance} {unit}, less than the reserve of {floor}", signer.address)),
            },
            Ok(balance) => good(&subject, &format!("{} holds {balance} {unit}", signer.address)),
        });
    }
    findings
}

/// What a signer holds, once it has shown that it signs, if that is this replica's business.
async fn look_at_signer(chain: &dyn Chain, name: &str, signing_keys: SigningKeys) -> Result<u128, ChainError> {
    if signing_keys == SigningKeys::Wanted {
        chain.check_signer(name).await?;
    }
    chain.signer_balance(name).await
}

/// Looks at each node by itself: reads are answered by one that is right, so nobody else says which of several is not.
async fn check_nodes(chain: &dyn Chain, network: &str) -> Vec<Finding> {
    let nodes = chain.check_nodes().await;
    if nodes.len() == 1 {
        // What is wrong with it is wrong with the network.
        return Vec::new();
    }
    let nodes = nodes.into_iter().enumerate().map(|(index, (host, checked))| {
        let subject = format!("{network} node {} ({host})", index + 1);
        match checked {
            Ok(()) => good(&subject, "serves this chain"),
            Err(error) => bad(&subject, &error),
        }
    });
    nodes.collect()
}

fn good(subject: &str, what: &str) -> Finding {
    Finding { subject: subject.to_owned(), result: Ok(what.to_owned()) }
}

fn bad(subject: &str, error: &(dyn std::error::Error + 'static)) -> Finding {
    Finding { subject: subject.to_owned(), result: Err(ErrorChain(error).to_string()) }
}
