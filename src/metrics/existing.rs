//! Which series exist: from the start those of everything that can happen, with zero; and those of a state until its network or signer is
//! configured no more.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use prometheus::GaugeVec;

use super::outcome::{
    self, Broadcast, LimitedBy, ListingOutcome, PaidBy, Reload, Settlement, SignerFailure, SubmissionKind, TransferOutcome,
    Verification, WebhookAttempt,
};
use super::{Metrics, NetworkLabels};
use crate::domain::network::Network;
use crate::domain::payment::Unended;
use crate::domain::reason::Reason;

/// The labels of a network. They live as long as the process: there are as many as operators ever write down.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) network: &'static str,
    pub(super) signers: BTreeSet<&'static str>,
}

impl Metrics {
    /// From now on these networks and signers are known by their names, and those that were known before.
    pub fn know(&self, networks: &[NetworkLabels]) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for labels in networks {
            let names = known.entry(labels.network.clone()).or_default();
            if names.network.is_empty() {
                names.network = lasting(labels.network.as_str());
                self.start_network_at_zero(names.network);
            }
            for signer in &labels.signers {
                if !names.signers.contains(signer.as_str()) {
                    names.signers.insert(lasting(signer));
                    self.start_signer_at_zero(names.network, signer);
                }
            }
        }
    }

    /// What was measured of networks and signers that are not configured any more is shown no longer: nobody measures it, and alerts would
    /// believe its last value for ever. What was counted stays.
    pub fn forget_states(&self, is_configured: impl Fn(&Network, Option<&str>) -> bool) {
        for (network, names) in self.known.read().unwrap_or_else(PoisonError::into_inner).iter() {
            if !is_configured(network, None) {
                for gauges in self.network_states() {
                    drop(gauges.remove_label_values(&[names.network]));
                }
                for state in Unended::ALL {
                    for gauges in [&self.series.payments, &self.series.payments_oldest] {
                        drop(gauges.remove_label_values(&[names.network, state.as_str()]));
                    }
                }
            }
            for signer in names.signers.iter().filter(|signer| !is_configured(network, Some(signer))) {
                for gauges in self.signer_states() {
                    drop(gauges.remove_label_values(&[names.network, signer]));
                }
            }
        }
    }

    /// Touching a series makes it, with zero.
    pub(super) fn start_at_zero(&self) {
        self.series.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        self.series.http_requests_in_flight.with_label_values::<&str>(&[]);
        self.series.connections_refused.with_label_values::<&str>(&[]);
        for by in LimitedBy::ALL {
            self.series.rate_limited.with_label_values(&[by.label()]);
        }
        self.series.payments_waiting.with_label_values::<&str>(&[]);
        self.series.receipts_signed.with_label_values::<&str>(&[]);
        self.series.receipts_unsigned.with_label_values::<&str>(&[]);
        self.database_connections(0, 0);
        for change in outcome::CHANGES {
            self.series.invoice_changes.with_label_values(&[outcome::change(change)]);
        }
        for outcome in ListingOutcome::ALL {
            self.series.listings.with_label_values(&[outcome.label()]);
        }
        self.series.config_refused.with_label_values::<&str>(&[]);
        for reload in Reload::ALL {
            self.series.config_reloads.with_label_values(&[reload.label()]);
        }
        self.start_telling_at_zero();
    }

    fn start_telling_at_zero(&self) {
        for outcome in WebhookAttempt::ALL {
            self.series.webhook_attempts.with_label_values(&[outcome.label()]);
        }
        self.series.webhook_attempt_duration.with_label_values::<&str>(&[]);
        self.series.webhook_given_up.with_label_values::<&str>(&[]);
        self.webhook_backlog(0, 0, Duration::ZERO);
        self.events_untold(0);
        self.event_streams(0);
    }

    fn start_network_at_zero(&self, network: &str) {
        let series = &self.series;
        for gauges in self.network_states() {
            gauges.with_label_values(&[network]);
        }
        for state in Unended::ALL {
            series.payments.with_label_values(&[network, state.as_str()]);
            series.payments_oldest.with_label_values(&[network, state.as_str()]);
        }
        for counters in [&series.blocks_ingested, &series.reorgs, &series.payments_finalized, &series.payments_reversed] {
            counters.with_label_values(&[network]);
        }
        for histograms in [
            &series.verification_duration,
            &series.settlement_duration,
            &series.simulation_batch,
            &series.submission_payments,
            &series.reorg_depth,
        ] {
            histograms.with_label_values(&[network]);
        }
        series.settlement_cost.with_label_values(&[network]);
        self.start_outcomes_at_zero(network);
    }

    fn start_outcomes_at_zero(&self, network: &str) {
        for [outcome, reason] in Verification::all().map(Verification::labels) {
            self.series.verifications.with_label_values(&[network, outcome, reason]);
        }
        for [outcome, reason] in Settlement::all().map(Settlement::labels) {
            self.series.settlements.with_label_values(&[network, outcome, reason]);
        }
        for outcome in Broadcast::ALL {
            self.series.broadcasts.with_label_values(&[network, outcome.label()]);
        }
        for outcome in TransferOutcome::ALL {
            self.series.transfers.with_label_values(&[network, outcome.label()]);
        }
        for by in PaidBy::ALL {
            self.series.payments_included.with_label_values(&[network, by.label()]);
        }
        for reason in Reason::ALL {
            self.series.payments_failed.with_label_values(&[network, reason.code()]);
        }
    }

    /// What is measured of a network, and belongs to nobody once it is not configured any more.
    const fn network_states(&self) -> [&GaugeVec; 10] {
        let series = &self.series;
        [
            &series.submission_abandoned,
            &series.network_available,
            &series.network_halted,
            &series.network_stuck,
            &series.reconcile_differences,
            &series.reconcile_finished,
            &series.head_block,
            &series.cursor_block,
            &series.final_block,
            &series.head_age,
        ]
    }

    /// The same of a signer.
    const fn signer_states(&self) -> [&GaugeVec; 4] {
        let series = &self.series;
        [&series.submission_in_flight, &series.signer_balance, &series.signer_short, &series.signer_away]
    }

    fn start_signer_at_zero(&self, network: &str, signer: &str) {
        let series = &self.series;
        for gauges in self.signer_states() {
            gauges.with_label_values(&[network, signer]);
        }
        for failure in SignerFailure::ALL {
            series.signer_errors.with_label_values(&[network, signer, failure.label()]);
        }
        for kind in SubmissionKind::ALL {
            series.submissions.with_label_values(&[network, signer, kind.label()]);
        }
    }
}

fn lasting(name: &str) -> &'static str {
    Box::leak(name.to_owned().into_boxed_str())
}
