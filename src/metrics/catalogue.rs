//! The list of all metrics: one entry makes the series, its place in [`CATALOGUE`] and, through a test, a row of
//! docs/METRICS.md.

use prometheus::core::Collector;
use prometheus::{CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// What a metric is to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only ever rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts observations by size.
    Histogram,
}

impl MetricKind {
    /// The word that Prometheus uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What there is to say about a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricDoc {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// Its labels, in order.
    pub labels: &'static [&'static str],
    /// What it counts, in one sentence.
    pub help: &'static str,
}

/// A kind of series that an entry of the catalogue can have.
trait Series: Collector + Clone + Sized + 'static {
    const KIND: MetricKind;

    fn make(options: Opts, labels: &[&str], buckets: &[f64]) -> prometheus::Result<Self>;
}

impl Series for IntCounterVec {
    const KIND: MetricKind = MetricKind::Counter;

    fn make(options: Opts, labels: &[&str], _: &[f64]) -> prometheus::Result<Self> {
        Self::new(options, labels)
    }
}

impl Series for CounterVec {
    const KIND: MetricKind = MetricKind::Counter;

    fn make(options: Opts, labels: &[&str], _: &[f64]) -> prometheus::Result<Self> {
        Self::new(options, labels)
    }
}

impl Series for GaugeVec {
    const KIND: MetricKind = MetricKind::Gauge;

    fn make(options: Opts, labels: &[&str], _: &[f64]) -> prometheus::Result<Self> {
        Self::new(options, labels)
    }
}

impl Series for HistogramVec {
    const KIND: MetricKind = MetricKind::Histogram;

    fn make(options: Opts, labels: &[&str], buckets: &[f64]) -> prometheus::Result<Self> {
        Self::new(HistogramOpts { common_opts: options, buckets: buckets.to_vec() }, labels)
    }
}

fn register<S: Series>(registry: &Registry, doc: &MetricDoc, buckets: &[f64]) -> S {
    let series = S::make(Opts::new(doc.name, doc.help), doc.labels, buckets).expect("a test makes every entry of the catalogue");
    registry.register(Box::new(series.clone())).expect("every name stands in the catalogue once, which a test checks");
    series
}

/// Seconds that a request may take: from a cached answer to the patience of version 1.
const REQUEST_SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0];

/// Payments in one call or transaction, of which 100 is the most.
const BATCH_SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0];

/// Depths of reorganisations: a block or two are daily life on some networks, dozens are an incident.
const BLOCKS: &[f64] = &[1.0, 2.0, 3.0, 5.0, 8.0, 16.0, 32.0, 64.0, 128.0];

macro_rules! catalogue {
    ($($field:ident: $series:ident$(($buckets:ident))?, $name:literal, [$($label:literal),*], $help:literal;)*) => {
        /// Every metric of the service.
        pub const CATALOGUE: &[MetricDoc] = &[
            $(MetricDoc {
                name: concat!("quittance_", $name),
                kind: <$series as Series>::KIND,
                labels: &[$($label),*],
                help: $help,
            },)*
        ];

        /// The series of every metric.
        #[derive(Debug)]
        pub(super) struct Catalogue {
            $(pub(super) $field: $series,)*
        }

        impl Catalogue {
            /// Makes every series and registers it.
            pub(super) fn register(registry: &Registry) -> Self {
                let mut docs = CATALOGUE.iter();
                let mut next = || docs.next().expect("fields and entries come from the same list");
                Self {
                    $($field: register(registry, next(), &<[&[f64]]>::concat(&[$($buckets)?])),)*
                }
            }
        }
    };
}

catalogue! {
    build_info: GaugeVec, "build_info", ["version"], "Always 1; the label says which version runs.";

    http_requests: IntCounterVec, "http_requests_total", ["route", "method", "status"], "HTTP requests by class of answer.";
    http_request_duration: HistogramVec(REQUEST_SECONDS), "http_request_duration_seconds", ["route"], "Time from a request to its answer.";
    http_requests_in_flight: GaugeVec, "http_requests_in_flight", [], "HTTP requests that are being answered.";
    grpc_requests: IntCounterVec, "grpc_requests_total", ["method", "code"], "Calls over gRPC by how they ended; one whose client left is CANCELLED.";
    grpc_request_duration: HistogramVec(REQUEST_SECONDS), "grpc_request_duration_seconds", ["method"], "Time from a call over gRPC to the beginning of its answer.";
    grpc_requests_in_flight: GaugeVec, "grpc_requests_in_flight", [], "Calls over gRPC that are being answered, open streams among them.";

    rate_limited: IntCounterVec, "rate_limited_total", ["by"], "Requests that were refused because somebody asks too often, by whose limit it was.";
    connections_refused: IntCounterVec, "connections_refused_total", [], "Connections that were closed at once because their address has too many.";

    verifications: IntCounterVec, "verifications_total", ["network", "outcome", "reason"], "Verified payments by verdict.";
    verification_duration: HistogramVec(REQUEST_SECONDS), "verification_duration_seconds", ["network"], "Time from a verify request to its verdict.";
    settlements: IntCounterVec, "settlements_total", ["network", "outcome", "reason"], "Settle requests by answer.";
    settlement_duration: HistogramVec(REQUEST_SECONDS), "settlement_duration_seconds", ["network"], "Time from a settle request to its answer.";
    simulation_batch: HistogramVec(BATCH_SIZES), "simulation_batch_size", ["network"], "Payments that shared one simulation.";

    submissions: IntCounterVec, "submissions_total", ["network", "signer", "kind"], "Transactions handed to nodes: new ones, the same again, with a higher fee, or to cancel.";
    submission_payments: HistogramVec(BATCH_SIZES), "submission_payments", ["network"], "Payments in a submission.";
    submission_in_flight: GaugeVec, "submission_in_flight", ["network", "signer"], "Submissions that no block holds yet.";
    submission_abandoned: GaugeVec, "submission_abandoned", ["network"], "Submissions of signers that are not configured any more, for which nobody cares.";
    broadcasts: IntCounterVec, "broadcasts_total", ["network", "outcome"], "What nodes said about transactions they were handed.";
    settlement_cost: CounterVec, "settlement_cost_wei_total", ["network"], "What the signed transactions are expected to cost, in the smallest unit of the coin.";
    signer_balance: GaugeVec, "signer_balance_native", ["network", "signer"], "What a signer holds, in whole coins.";
    signer_short: GaugeVec, "signer_short", ["network", "signer"], "1 while a signer cannot pay for the next hour.";
    signer_away: GaugeVec, "signer_away", ["network", "signer"], "1 while a signer does not sign, and its payments wait.";
    signer_errors: IntCounterVec, "signer_errors_total", ["network", "signer", "cause"], "Times that a signer did not sign, by cause.";

    network_available: GaugeVec, "network_available", ["network"], "1 while payments are taken on the network.";
    network_halted: GaugeVec, "network_halted", ["network"], "1 after the network contradicted a final block, or a token got other code; stays until an operator decides.";
    network_stuck: GaugeVec, "network_stuck", ["network"], "1 while a block cannot be read, which is never passed over.";
    head_block: GaugeVec, "head_block", ["network"], "Newest block that a node told of.";
    cursor_block: GaugeVec, "cursor_block", ["network"], "Newest block in the ledger.";
    final_block: GaugeVec, "final_block", ["network"], "Newest block that can no longer be replaced.";
    head_age: GaugeVec, "head_age_seconds", ["network"], "Age of the newest block by its own timestamp.";
    blocks_ingested: IntCounterVec, "blocks_ingested_total", ["network"], "Blocks written into the ledger.";
    reorgs: IntCounterVec, "reorgs_total", ["network"], "Times that blocks of the ledger were replaced.";
    reorg_depth: HistogramVec(BLOCKS), "reorg_depth_blocks", ["network"], "Blocks that were replaced at a time.";

    reconcile_differences: GaugeVec, "reconcile_differences", ["network"], "Differences between network and ledger that the last comparison found.";
    reconcile_finished: GaugeVec, "reconcile_finished_timestamp_seconds", ["network"], "When the last comparison of network and ledger was done, in seconds since 1970; 0 if it never was.";
    transfers: IntCounterVec, "transfers_total", ["network", "outcome"], "Transfers to registered addresses, by whether they pay something.";
    invoice_changes: IntCounterVec, "invoice_changes_total", ["change"], "What the owners of invoices were told.";

    payments_included: IntCounterVec, "payments_included_total", ["network", "by"], "Payments whose transfer stands in a block, by who sent it.";
    payments_finalized: IntCounterVec, "payments_finalized_total", ["network"], "Payments whose transfer can no longer be undone.";
    payments_reversed: IntCounterVec, "payments_reversed_total", ["network"], "Payments whose success was handed out before their block was replaced.";
    payments_failed: IntCounterVec, "payments_failed_total", ["network", "reason"], "Payments given up, by reason.";
    payments_waiting: GaugeVec, "payments_waiting", [], "Settle requests that wait for a block.";
    payments: GaugeVec, "payments", ["network", "state"], "Payments in a state that is not their last one.";
    payments_oldest: GaugeVec, "payments_oldest_seconds", ["network", "state"], "Age of the oldest payment in a state that is not its last one; 0 if there is none.";

    receipts_signed: IntCounterVec, "receipts_signed_total", [], "Revisions of receipts that the worker has signed.";
    receipts_unsigned: GaugeVec, "receipts_unsigned", [], "Revisions of receipts that no key can sign, as the worker saw it last.";

    listings: IntCounterVec, "listings_total", ["outcome"], "Settled payments that declared a resource, by what became of the declaration.";

    rpc_requests: IntCounterVec, "rpc_requests_total", ["network", "node", "method", "outcome"], "Calls to nodes; a node is called by its position in the configuration.";
    rpc_request_duration: HistogramVec(REQUEST_SECONDS), "rpc_request_duration_seconds", ["network", "method"], "Time that nodes took to answer.";

    webhook_attempts: IntCounterVec, "webhook_attempts_total", ["outcome"], "Attempts to deliver webhooks, by how they went.";
    webhook_attempt_duration: HistogramVec(REQUEST_SECONDS), "webhook_attempt_duration_seconds", [], "Time that receivers of webhooks took to answer, or not to.";
    webhook_given_up: IntCounterVec, "webhook_given_up_total", [], "Deliveries of webhooks that were given up after their last attempt.";
    webhook_backlog: GaugeVec, "webhook_backlog", ["state"], "Deliveries of webhooks that have not ended: due now, or waiting for another attempt.";
    webhook_oldest: GaugeVec, "webhook_oldest_seconds", [], "Age of the oldest delivery of a webhook that has not ended.";
    events_untold: GaugeVec, "events_untold", [], "Events of accounts that have no place in the stream yet.";
    event_streams: GaugeVec, "event_streams", [], "Streams of events that are open.";

    database_connections: GaugeVec, "database_connections", ["state"], "Connections of the pool.";

    config_reloads: IntCounterVec, "config_reloads_total", ["outcome"], "Times that the configuration was read again, by whether it was taken.";
    config_refused: GaugeVec, "config_refused", [], "1 while the configuration that was read last was not taken, and an older one counts.";

    lease_held: GaugeVec, "lease_held", ["lease"], "1 while this process owns the lane or watcher.";
    task_restarts: IntCounterVec, "task_restarts_total", ["task"], "Times that a long-lived task failed and was started again.";
}
