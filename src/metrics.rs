//! What the service counts and measures about itself.
//!
//! There are no globals: a test has a registry of its own. Labels are bounded, because every value comes from an enum or from
//! the configuration; a network or signer that is not configured counts as `other`. The series of configured networks exist
//! from the start with zero, so that a missing one means that something is broken and a rate has a beginning.

mod catalogue;
mod existing;
mod outcome;

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus::{Gauge, GaugeVec, Registry, TextEncoder};

pub use catalogue::{CATALOGUE, MetricDoc, MetricKind};
pub use outcome::{
    Broadcast, ConnectionState, DeliveryState, LimitedBy, ListingOutcome, PaidBy, Reload, RpcOutcome, Settlement, SignerFailure,
    StatusClass, SubmissionKind, TransferOutcome, Verification, WebhookAttempt,
};

use catalogue::Catalogue;
use existing::Names;

use crate::domain::invoice::Change;
use crate::domain::network::Network;
use crate::domain::payment::Unended;
use crate::domain::reason::Reason;

/// The label of everything that is not configured.
const OTHER: &str = "other";

/// The names that a network brings into labels.
#[derive(Debug, Clone)]
pub struct NetworkLabels {
    /// The network.
    pub network: Network,
    /// The names of its signers.
    pub signers: Vec<String>,
}

/// Every metric of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    series: Catalogue,
    known: RwLock<BTreeMap<Network, Names>>,
}

/// A request that is being answered. It counts as long as this lives, so that a handler may be dropped at any await.
#[derive(Debug)]
#[must_use = "the request is over when this is dropped"]
pub struct InFlight(Gauge);

impl InFlight {
    fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Makes every series that can be known before the first request.
    #[must_use]
    pub fn new(networks: &[NetworkLabels]) -> Self {
        let registry = Registry::new();
        let series = Catalogue::register(&registry);
        register_process(&registry);
        let metrics = Self { registry, series, known: RwLock::default() };
        metrics.start_at_zero();
        metrics.know(networks);
        metrics
    }

    /// The configuration was read again.
    pub fn config_reloaded(&self, reload: Reload) {
        self.series.config_reloads.with_label_values(&[reload.label()]).inc();
        self.series.config_refused.with_label_values::<&str>(&[]).set(truth(reload == Reload::Refused));
    }

    /// Everything in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        // A comment is the only way to tell a scraper what went wrong.
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| format!("# {error}\n"))
    }

    /// A request has come. Keep the result until it is answered.
    pub fn http_request_started(&self) -> InFlight {
        InFlight::new(self.series.http_requests_in_flight.with_label_values::<&str>(&[]))
    }

    /// A request was answered. `route` is the pattern, never the path.
    pub fn http_request(&self, route: &str, method: &str, status: u16, took: Duration) {
        self.series.http_requests.with_label_values(&[route, outcome::method(method), StatusClass::of(status).label()]).inc();
        self.series.http_request_duration.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// A request was refused because somebody asks too often.
    pub fn rate_limited(&self, by: LimitedBy) {
        self.series.rate_limited.with_label_values(&[by.label()]).inc();
    }

    /// A connection was refused because its address has too many.
    pub fn connection_refused(&self) {
        self.series.connections_refused.with_label_values::<&str>(&[]).inc();
    }

    /// A call over gRPC has come. Keep the result until it is answered.
    pub fn grpc_request_started(&self) -> InFlight {
        InFlight::new(self.series.grpc_requests_in_flight.with_label_values::<&str>(&[]))
    }

    /// A call was answered, or its client has left. `method` is one of ours, never what somebody invents.
    pub fn grpc_request(&self, method: &'static str, code: &'static str, took: Duration) {
        self.series.grpc_requests.with_label_values(&[method, code]).inc();
        self.series.grpc_request_duration.with_label_values(&[method]).observe(took.as_secs_f64());
    }

    /// A payment was verified.
    pub fn verification(&self, network: &Network, verification: Verification, took: Duration) {
        let network = self.network(network);
        let [outcome, reason] = verification.labels();
        self.series.verifications.with_label_values(&[network, outcome, reason]).inc();
        self.series.verification_duration.with_label_values(&[network]).observe(took.as_secs_f64());
    }

    /// A settle request was answered.
    pub fn settlement(&self, network: &Network, settlement: Settlement, took: Duration) {
        let network = self.network(network);
        let [outcome, reason] = settlement.labels();
        self.series.settlements.with_label_values(&[network, outcome, reason]).inc();
        self.series.settlement_duration.with_label_values(&[network]).observe(took.as_secs_f64());
    }

    /// So many payments shared one simulation.
    pub fn simulation(&self, network: &Network, payments: usize) {
        self.series.simulation_batch.with_label_values(&[self.network(network)]).observe(whole(payments));
    }

    /// A transaction with so many payments was handed to a node. Payments count once, with the first transaction of a slot.
    pub fn submission(&self, network: &Network, signer: &str, kind: SubmissionKind, payments: usize) {
        let labels = self.signer(network, signer);
        self.series.submissions.with_label_values(&[labels[0], labels[1], kind.label()]).inc();
        if kind == SubmissionKind::New {
            self.series.submission_payments.with_label_values(&[labels[0]]).observe(whole(payments));
        }
    }

    /// So many submissions of a signer wait for a block.
    pub fn submissions_in_flight(&self, network: &Network, signer: &str, submissions: usize) {
        self.series.submission_in_flight.with_label_values(&self.signer(network, signer)).set(whole(submissions));
    }

    /// What a node said about a transaction.
    pub fn broadcast(&self, network: &Network, outcome: Broadcast) {
        self.series.broadcasts.with_label_values(&[self.network(network), outcome.label()]).inc();
    }

    /// A transaction was signed that is expected to cost this much.
    pub fn settlement_cost(&self, network: &Network, wei: u128) {
        self.series.settlement_cost.with_label_values(&[self.network(network)]).inc_by(rough(wei));
    }

    /// So many submissions are those of signers that are configured no more.
    pub fn submissions_abandoned(&self, network: &Network, submissions: u64) {
        self.set(&self.series.submission_abandoned, network, rough(submissions.into()));
    }

    /// Whether a signer does not sign.
    pub fn signer_away(&self, network: &Network, signer: &str, is_away: bool) {
        self.series.signer_away.with_label_values(&self.signer(network, signer)).set(truth(is_away));
    }

    /// A signer did not sign.
    pub fn signer_failed(&self, network: &Network, signer: &str, failure: SignerFailure) {
        let [network, signer] = self.signer(network, signer);
        self.series.signer_errors.with_label_values(&[network, signer, failure.label()]).inc();
    }

    /// What a signer holds, and whether that is too little.
    pub fn signer_balance(&self, network: &Network, signer: &str, held: u128, is_short: bool) {
        let labels = self.signer(network, signer);
        self.series
            .signer_balance
            .with_label_values(&labels)
            .set(rough(held) / 10_f64.powi(network.family().native_decimals().into()));
        self.series.signer_short.with_label_values(&labels).set(truth(is_short));
    }

    /// Whether payments are taken on the network.
    pub fn network_available(&self, network: &Network, is_available: bool) {
        self.set(&self.series.network_available, network, truth(is_available));
    }

    /// Whether the network contradicted itself.
    pub fn network_halted(&self, network: &Network, is_halted: bool) {
        self.set(&self.series.network_halted, network, truth(is_halted));
    }

    /// Whether a block of the network cannot be read.
    pub fn network_stuck(&self, network: &Network, is_stuck: bool) {
        self.set(&self.series.network_stuck, network, truth(is_stuck));
    }

    /// What the last comparison of the network with the ledger found, and when.
    pub fn reconciled(&self, network: &Network, differences: u64, finished_at: DateTime<Utc>) {
        self.set(&self.series.reconcile_differences, network, rough(differences.into()));
        self.set(&self.series.reconcile_finished, network, rough(finished_at.timestamp().unsigned_abs().into()));
    }

    /// The newest block of a node, and how old it was when it came. Zero if it claims to be from the future.
    pub fn head(&self, network: &Network, number: u64, age: Duration) {
        self.set(&self.series.head_block, network, rough(number.into()));
        self.set(&self.series.head_age, network, age.as_secs_f64());
    }

    /// The newest block in the ledger and the newest final one.
    pub fn cursor(&self, network: &Network, cursor: u64, finalized: u64) {
        self.set(&self.series.cursor_block, network, rough(cursor.into()));
        self.set(&self.series.final_block, network, rough(finalized.into()));
    }

    /// So many blocks were written into the ledger.
    pub fn blocks_ingested(&self, network: &Network, blocks: u64) {
        self.series.blocks_ingested.with_label_values(&[self.network(network)]).inc_by(blocks);
    }

    /// So many blocks of the ledger were replaced.
    pub fn reorg(&self, network: &Network, blocks: u64) {
        let network = self.network(network);
        self.series.reorgs.with_label_values(&[network]).inc();
        self.series.reorg_depth.with_label_values(&[network]).observe(rough(blocks.into()));
    }

    /// So many transfers to registered addresses stand in a block.
    pub fn transfers(&self, network: &Network, outcome: TransferOutcome, transfers: u64) {
        self.series.transfers.with_label_values(&[self.network(network), outcome.label()]).inc_by(transfers);
    }

    /// The owner of an invoice was told something.
    pub fn invoice_changed(&self, change: Change) {
        self.series.invoice_changes.with_label_values(&[outcome::change(change)]).inc();
    }

    /// A payment's transfer stands in a block.
    pub fn payment_included(&self, network: &Network, by: PaidBy) {
        self.series.payments_included.with_label_values(&[self.network(network), by.label()]).inc();
    }

    /// So many payments became final.
    pub fn payments_finalized(&self, network: &Network, payments: u64) {
        self.series.payments_finalized.with_label_values(&[self.network(network)]).inc_by(payments);
    }

    /// A payment was undone after its success was handed out.
    pub fn payment_reversed(&self, network: &Network) {
        self.series.payments_reversed.with_label_values(&[self.network(network)]).inc();
    }

    /// A payment was given up.
    pub fn payment_failed(&self, network: &Network, reason: Reason) {
        self.series.payments_failed.with_label_values(&[self.network(network), reason.code()]).inc();
    }

    /// A settle request begins to wait for a block. Keep the result as long as it does.
    pub fn payment_waiting(&self) -> InFlight {
        InFlight::new(self.series.payments_waiting.with_label_values::<&str>(&[]))
    }

    /// How many payments there are in each state that is not their last one, and how old the oldest is.
    pub fn payments_unended(&self, found: &[(Network, Unended, u64, Duration)]) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        for (network, names) in known.iter() {
            for state in Unended::ALL {
                let found = found.iter().find(|(of, in_state, ..)| (of, *in_state) == (network, state));
                let (payments, age) = found.map(|(_, _, payments, age)| (*payments, *age)).unwrap_or_default();
                let labels = [names.network, state.as_str()];
                self.series.payments.with_label_values(&labels).set(rough(payments.into()));
                self.series.payments_oldest.with_label_values(&labels).set(age.as_secs_f64());
            }
        }
    }

    /// So many revisions of receipts were signed.
    pub fn receipts_signed(&self, revisions: u64) {
        self.series.receipts_signed.with_label_values::<&str>(&[]).inc_by(revisions);
    }

    /// So many revisions of receipts wait for a key that can sign them.
    pub fn receipts_unsigned(&self, revisions: usize) {
        self.series.receipts_unsigned.with_label_values::<&str>(&[]).set(whole(revisions));
    }

    /// A settled payment declared a resource.
    pub fn listing(&self, outcome: ListingOutcome) {
        self.series.listings.with_label_values(&[outcome.label()]).inc();
    }

    /// A node was called. `node` is its position in the configuration, which bounds it.
    pub fn rpc_request(&self, network: &Network, node: usize, method: &'static str, outcome: RpcOutcome, took: Duration) {
        let network = self.network(network);
        self.series.rpc_requests.with_label_values(&[network, &node.to_string(), method, outcome.label()]).inc();
        self.series.rpc_request_duration.with_label_values(&[network, method]).observe(took.as_secs_f64());
    }

    /// A receiver was sent a webhook.
    pub fn webhook_attempt(&self, outcome: WebhookAttempt, took: Duration) {
        self.series.webhook_attempts.with_label_values(&[outcome.label()]).inc();
        self.series.webhook_attempt_duration.with_label_values::<&str>(&[]).observe(took.as_secs_f64());
    }

    /// A delivery was given up after its last attempt.
    pub fn webhook_given_up(&self) {
        self.series.webhook_given_up.with_label_values::<&str>(&[]).inc();
    }

    /// Deliveries that have not ended, and the age of the oldest of them.
    pub fn webhook_backlog(&self, due: u64, waiting: u64, oldest: Duration) {
        for (state, deliveries) in [(DeliveryState::Due, due), (DeliveryState::Waiting, waiting)] {
            self.series.webhook_backlog.with_label_values(&[state.label()]).set(rough(deliveries.into()));
        }
        self.series.webhook_oldest.with_label_values::<&str>(&[]).set(oldest.as_secs_f64());
    }

    /// Events that are not in the stream yet.
    pub fn events_untold(&self, events: u64) {
        self.series.events_untold.with_label_values::<&str>(&[]).set(rough(events.into()));
    }

    /// Streams of events that are open.
    pub fn event_streams(&self, streams: usize) {
        self.series.event_streams.with_label_values::<&str>(&[]).set(whole(streams));
    }

    /// The connections of the pool.
    pub fn database_connections(&self, busy: usize, idle: usize) {
        for (state, connections) in [(ConnectionState::Busy, busy), (ConnectionState::Idle, idle)] {
            self.series.database_connections.with_label_values(&[state.label()]).set(whole(connections));
        }
    }

    /// Whether this process owns a lease, which is called after networks and signers as the configuration names them.
    pub fn lease(&self, lease: &str, is_held: bool) {
        self.series.lease_held.with_label_values(&[lease]).set(truth(is_held));
    }

    /// A long-lived task exists.
    pub(crate) fn task_supervised(&self, task: &'static str) {
        self.series.task_restarts.with_label_values(&[task]);
    }

    /// A long-lived task failed and is started again.
    pub(crate) fn task_restarted(&self, task: &'static str) {
        self.series.task_restarts.with_label_values(&[task]).inc();
    }

    fn set(&self, gauges: &GaugeVec, network: &Network, value: f64) {
        gauges.with_label_values(&[self.network(network)]).set(value);
    }

    /// Requests may name any network.
    fn network(&self, network: &Network) -> &'static str {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(network).map_or(OTHER, |names| names.network)
    }

    fn signer(&self, network: &Network, signer: &str) -> [&'static str; 2] {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let names = known.get(network);
        let signer = names.and_then(|names| names.signers.get(signer).copied()).unwrap_or(OTHER);
        [names.map_or(OTHER, |names| names.network), signer]
    }
}

/// Memory, processor time and open files of the process, under the names that every client library uses.
fn register_process(registry: &Registry) {
    #[cfg(target_os = "linux")]
    registry
        .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
        .expect("no metric of ours has a name that begins with process_");
    #[cfg(not(target_os = "linux"))]
    let _ = registry;
}

fn truth(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

fn whole(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

/// Prometheus knows only floating point. Its 53 bits are enough for a graph, and for nothing that is money.
#[expect(clippy::cast_precision_loss, reason = "a graph needs no more than 53 bits")]
fn rough(number: u128) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS_MD: &str = include_str!("../docs/METRICS.md");

    fn base() -> Network {
        "eip155:8453".parse().unwrap()
    }

    fn metrics() -> Metrics {
        Metrics::new(&[NetworkLabels { network: base(), signers: vec!["base-1".to_owned()] }])
    }

    /// The value of one series.
    fn value(metrics: &Metrics, series: &str) -> Option<String> {
        let text = metrics.render();
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).map(str::to_owned)
    }

    fn row(metric: &MetricDoc) -> String {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} | {} |", metric.name, metric.kind.as_str(), labels.join(", "), metric.help)
    }

    #[test]
    fn the_document_lists_exactly_the_metrics_that_exist() {
        let documented: Vec<&str> = METRICS_MD.lines().filter(|line| line.starts_with("| `quittance_")).collect();
        let existing: Vec<String> = CATALOGUE.iter().map(row).collect();

        assert_eq!(documented, existing, "docs/METRICS.md should hold:\n{}", existing.join("\n"));
    }

    #[test]
    fn names_and_help_follow_the_rules_of_prometheus() {
        for metric in CATALOGUE {
            let is_counter = metric.kind == MetricKind::Counter;
            assert_eq!(metric.name.ends_with("_total"), is_counter, "{}", metric.name);
            assert!(metric.name.starts_with("quittance_") && metric.help.ends_with('.'), "{}", metric.name);
            assert_eq!(CATALOGUE.iter().filter(|other| other.name == metric.name).count(), 1, "{}", metric.name);
        }
    }

    #[test]
    fn the_series_of_a_configured_network_exist_before_anything_happens() {
        let metrics = metrics();

        for series in [
            "quittance_verifications_total{network=\"eip155:8453\",outcome=\"invalid\",reason=\"insufficient_funds\"}",
            "quittance_settlements_total{network=\"eip155:8453\",outcome=\"success\",reason=\"none\"}",
            "quittance_settlement_duration_seconds_count{network=\"eip155:8453\"}",
            "quittance_submissions_total{kind=\"outbid\",network=\"eip155:8453\",signer=\"base-1\"}",
            "quittance_signer_short{network=\"eip155:8453\",signer=\"base-1\"}",
            "quittance_reorgs_total{network=\"eip155:8453\"}",
            "quittance_payments_included_total{by=\"stranger\",network=\"eip155:8453\"}",
            "quittance_transfers_total{network=\"eip155:8453\",outcome=\"unmatched\"}",
            "quittance_invoice_changes_total{change=\"paid_late\"}",
            "quittance_payments_waiting",
        ] {
            assert_eq!(value(&metrics, series).as_deref(), Some("0"), "{series}");
        }
        let build = format!("quittance_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        assert_eq!(value(&metrics, &build).as_deref(), Some("1"));
    }

    #[test]
    fn of_what_is_not_configured_any_more_the_counts_stay() {
        let metrics = metrics();
        metrics.know(&[NetworkLabels { network: base(), signers: vec!["base-2".to_owned()] }]);
        metrics.submission(&base(), "base-1", SubmissionKind::New, 3);
        metrics.signer_balance(&base(), "base-1", 1, true);
        let short =
            |signer: &str| value(&metrics, &format!("quittance_signer_short{{network=\"eip155:8453\",signer=\"{signer}\"}}"));
        let (head, oldest) = (
            "quittance_head_block{network=\"eip155:8453\"}",
            "quittance_payments_oldest_seconds{network=\"eip155:8453\",state=\"queued\"}",
        );

        metrics.forget_states(|_, signer| signer != Some("base-1"));
        assert_eq!((short("base-1"), short("base-2").as_deref()), (None, Some("0")));
        assert!(value(&metrics, head).is_some() && value(&metrics, oldest).is_some());
        // The last word of a task that is about to end.
        metrics.signer_balance(&base(), "base-1", 1, true);
        assert!(short("base-1").is_some(), "it is known by its name");
        metrics.forget_states(|_, _| false);

        assert_eq!([short("base-1"), short("base-2"), value(&metrics, head), value(&metrics, oldest)], [None, None, None, None]);
        let counted = "quittance_submissions_total{kind=\"new\",network=\"eip155:8453\",signer=\"base-1\"}";
        assert_eq!(value(&metrics, counted).as_deref(), Some("1"));
    }

    #[test]
    fn what_happens_is_counted() {
        let (metrics, second) = (metrics(), Duration::from_secs(1));

        metrics.http_request("/verify", "POST", 200, second);
        metrics.verification(&base(), Verification::Invalid(Reason::Expired), second);
        metrics.settlement(&base(), Settlement::Success, second);
        metrics.submission(&base(), "base-1", SubmissionKind::New, 3);
        metrics.submission(&base(), "base-1", SubmissionKind::Resend, 3);
        metrics.settlement_cost(&base(), 600_000_000_000);
        metrics.signer_balance(&base(), "base-1", 1_500_000_000_000_000_000, true);
        metrics.rpc_request(&base(), 1, "eth_call", RpcOutcome::Unknown, second);
        metrics.transfers(&base(), TransferOutcome::Matched, 2);
        metrics.invoice_changed(Change::Paid);

        for (series, expected) in [
            ("quittance_http_requests_total{method=\"POST\",route=\"/verify\",status=\"2xx\"}", "1"),
            (
                "quittance_verifications_total{network=\"eip155:8453\",outcome=\"invalid\",reason=\"invalid_exact_evm_payload_authorization_valid_before\"}",
                "1",
            ),
            ("quittance_settlement_duration_seconds_sum{network=\"eip155:8453\"}", "1"),
            ("quittance_submission_payments_sum{network=\"eip155:8453\"}", "3"),
            ("quittance_settlement_cost_wei_total{network=\"eip155:8453\"}", "600000000000"),
            ("quittance_signer_balance_native{network=\"eip155:8453\",signer=\"base-1\"}", "1.5"),
            ("quittance_signer_short{network=\"eip155:8453\",signer=\"base-1\"}", "1"),
            ("quittance_transfers_total{network=\"eip155:8453\",outcome=\"matched\"}", "2"),
            ("quittance_invoice_changes_total{change=\"paid\"}", "1"),
            ("quittance_rpc_requests_total{method=\"eth_call\",network=\"eip155:8453\",node=\"1\",outcome=\"unknown\"}", "1"),
        ] {
            assert_eq!(value(&metrics, series).as_deref(), Some(expected), "{series}");
        }
    }

    #[test]
    fn a_client_cannot_make_new_series() {
        let metrics = metrics();
        let lines =
            |metrics: &Metrics| metrics.render().lines().filter(|line| line.starts_with("quittance_verifications_total")).count();
        let before = lines(&metrics);

        for chain in 1..100 {
            metrics.verification(&format!("eip155:{chain}").parse().unwrap(), Verification::Unavailable, Duration::ZERO);
            metrics.http_request("/verify", &format!("METHOD{chain}"), 405, Duration::ZERO);
        }

        assert_eq!(lines(&metrics), before + 1);
        let others = "quittance_verifications_total{network=\"other\",outcome=\"unavailable\",reason=\"none\"}";
        assert_eq!(value(&metrics, others).as_deref(), Some("99"));
        assert_eq!(
            value(&metrics, "quittance_http_requests_total{method=\"other\",route=\"/verify\",status=\"4xx\"}").as_deref(),
            Some("99")
        );
    }

    #[test]
    fn a_request_is_in_flight_until_its_guard_is_dropped() {
        let metrics = metrics();
        let in_flight = || value(&metrics, "quittance_http_requests_in_flight").unwrap();

        let guards = [metrics.http_request_started(), metrics.http_request_started()];
        assert_eq!(in_flight(), "2");

        drop(guards);
        assert_eq!(in_flight(), "0");
    }
}
