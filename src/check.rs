//! `quittance check`: looks at everything that the service depends on, and says what is wrong.

use std::fmt;
use std::ops::Range;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use crate::chain::{Chain, ChainError};
use crate::config::{Config, NetworkConfig, SigningKeys};
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::network::Family;
use crate::ledger::orders::{Halt, Halts};
use crate::ledger::{Ledger, LedgerError};
use crate::telemetry::ErrorChain;

/// What our clock and the database's may differ by.
const CLOCKS_DIFFER_MAX: TimeDelta = TimeDelta::seconds(1);

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

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (Ok(said) | Err(said)) = &self.result;
        let mut finding = serializer.serialize_struct("Finding", 3)?;
        finding.serialize_field("subject", &self.subject)?;
        finding.serialize_field("ok", &self.result.is_ok())?;
        finding.serialize_field("said", said)?;
        finding.end()
    }
}

/// Everything that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// One thing each.
    pub findings: Vec<Finding>,
}

impl CheckReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.result.is_ok())
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(formatter, "{end}{finding}")?;
        }
        Ok(())
    }
}

/// Looks at the database and what it says of networks and lanes, the keys of receipts, every network with its tokens, and every signer.
pub async fn check(config: &Config) -> CheckReport {
    let mut findings = check_database(config).await;
    findings.push(check_receipts(config));
    match crate::app::chains(config, &crate::app::metrics(config)) {
        Err(error) => findings.push(bad("configuration", &error)),
        Ok(chains) => {
            for chain in chains.iter() {
                findings.extend(check_network(chain.as_ref(), config).await);
            }
        }
    }
    CheckReport { findings }
}

async fn check_database(config: &Config) -> Vec<Finding> {
    let subject = "database";
    match crate::app::open_ledger(config).await {
        Err(error) => vec![bad(subject, &error)],
        Ok(open) => {
            let ordered = check_orders(config, &open.ledger).await;
            let clock = check_clock(&open.ledger).await;
            open.ledger.pool().close().await;
            let stopped = match open.cluster {
                Some(cluster) => cluster.stop().await,
                None => Ok(()),
            };
            match (ordered, clock, stopped) {
                (Ok(ordered), Ok(clock), Ok(())) => {
                    let answers = good(subject, "answers, and its schema is up to date");
                    std::iter::once(answers).chain(clock).chain(ordered).collect()
                }
                (Err(error), ..) | (_, Err(error), _) => vec![bad(subject, &error)],
                (.., Err(error)) => vec![bad(subject, &error)],
            }
        }
    }
}

/// Authorizations have their time by our clock, and leases and deadlines by the database's.
async fn check_clock(ledger: &Ledger) -> Result<Option<Finding>, LedgerError> {
    let asked_at = SystemClock.now();
    let theirs = ledger.now().await?;
    Ok(compare_clocks(asked_at..SystemClock.now(), theirs))
}

/// What is wrong with our clock, which passed through a span while the database's was read.
fn compare_clocks(ours: Range<DateTime<Utc>>, theirs: DateTime<Utc>) -> Option<Finding> {
    let (ahead, behind) = (ours.start - theirs, theirs - ours.end);
    let differ = |by: TimeDelta, words: &str| {
        let said = format!("is at least {} ms {words} the database's", by.num_milliseconds());
        (by > CLOCKS_DIFFER_MAX).then(|| Finding { subject: "clock".to_owned(), result: Err(said) })
    };
    differ(ahead, "ahead of").or_else(|| differ(behind, "behind"))
}

/// Networks that are halted, and lanes that are drained. A drained lane is no fault, but nobody should wonder where it is.
async fn check_orders(config: &Config, ledger: &Ledger) -> Result<Vec<Finding>, LedgerError> {
    let mut findings = Vec::new();
    for NetworkConfig { network, .. } in &config.networks {
        let Halts { found, ordered } = ledger.halts(network).await?.unwrap_or_default();
        for (by, halt) in [("its watcher", found), ("an operator", ordered)] {
            let result = |Halt { reason, .. }| Err(format!("was halted by {by}: {reason}"));
            findings.extend(halt.map(|halt| Finding { subject: network.to_string(), result: result(halt) }));
        }
        for signer in ledger.drained_lanes(network).await? {
            findings.push(good(&format!("{network} lane {signer}"), "takes no new payments, because an operator drains it"));
        }
    }
    Ok(findings)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_wrong_that_differs_however_long_the_answer_took() {
        let at = |milliseconds: i64| DateTime::from_timestamp_millis(1_000_000 + milliseconds).unwrap();
        let said = |theirs| compare_clocks(at(0)..at(5_000), at(theirs)).map(|finding| finding.result.unwrap_err());

        for right in [-1_000, 0, 2_500, 6_000] {
            assert_eq!(said(right), None, "{right}");
        }
        assert_eq!(said(-1_001).unwrap(), "is at least 1001 ms ahead of the database's");
        assert_eq!(said(8_000).unwrap(), "is at least 3000 ms behind the database's");
    }
}
