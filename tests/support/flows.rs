//! The flows of a process without networks, for what can be asked of them directly.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::TimeDelta;
use quittance::chain::Chains;
use quittance::config::Limits;
use quittance::config::{Discovery as Settings, Listing};
use quittance::domain::clock::SystemClock;
use quittance::domain::network::Network;
use quittance::flow::availability::Availability;
use quittance::flow::discovery::Discovery;
use quittance::flow::limits::RateLimits;
use quittance::flow::telling::Telling;
use quittance::flow::turns::Turns;
use quittance::flow::waiting::Waiting;
use quittance::flow::{Bells, Flows, Patience, Policy};
use quittance::ledger::Ledger;
use quittance::metrics::Metrics;
use quittance::webhook::reach::Reach;

/// Flows over a ledger, with these policies.
pub fn over(ledger: Ledger, policies: HashMap<Network, Policy>) -> Flows {
    Flows {
        ledger,
        chains: Chains::new([]),
        clock: Arc::new(SystemClock),
        metrics: Arc::new(Metrics::new(&[])),
        waiting: Arc::new(Waiting::default()),
        bells: Bells::default(),
        availability: Availability::default(),
        policies,
        patience: Patience { v1: TimeDelta::zero(), v2: TimeDelta::zero() },
        errands: Arc::new(Turns::default()),
        reservations: Arc::new(Turns::default()),
        limits: Arc::new(RateLimits::new(Limits::default())),
        discovery: Arc::new(Discovery::new(Settings {
            list: Listing::Accounts,
            per_account_max: 2,
            forget_after: TimeDelta::days(90),
        })),
        telling: Arc::new(Telling::new(Reach::Public, 20)),
        public_url: "http://localhost".to_owned(),
        issuer: None,
    }
}
