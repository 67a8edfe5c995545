//! `/dashboard`: an account in a few numbers, or to operators everybody's payments and how the networks stand.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use super::super::chart::{Bars, share};
use super::super::money::Money;
use super::super::{Frame, words};
use super::networks::{Standing, in_a_word};
use super::{Asked, Desk, OfAccount, Scene, answer, page};
use crate::api::Service;
use crate::api::networks::standings;
use crate::api::places::{Place, Places};
use crate::domain::account::Caller;
use crate::domain::ids::AccountId;
use crate::domain::invoice::Status;
use crate::http::endpoint::{Callers, PathItem, at};
use crate::http::problem::Problem;
use crate::ledger::summaries::{COUNTED_MAX, Counted, Day, Received};
use crate::ledger::{Ledger, LedgerError};
use crate::telemetry::ErrorChain;

/// The days that are shown.
const DAYS: u32 = 14;

/// Unmatched transfers beyond that are only called many.
const UNMATCHED_MAX: u32 = 1_000;

/// Units of the longest bar of a status.
const LENGTH: u32 = 200;

/// The path.
pub fn paths() -> Vec<PathItem> {
    let operation =
        page::<OfAccount>("showDashboard", "Shows an account in a few numbers, or to operators all of them", Callers::Accounts);
    vec![at("/dashboard").get(show, operation)]
}

#[derive(Template)]
#[template(path = "dashboard/overview.html")]
struct OverviewPage {
    frame: Frame,
    desk: Desk,
    days: u32,
    /// Absent if nothing could be counted at this moment.
    payments: Option<Bars>,
    /// So many things are counted at most.
    counted_max: u32,
    /// What merchants have besides payments.
    trade: Option<Trade>,
    /// What operators look at who look at nobody in particular.
    networks: Vec<(String, Standing)>,
}

/// What a merchant has besides payments.
struct Trade {
    /// What came, with the name of its network and the number of transfers.
    received: Vec<(Money, String, u64)>,
    /// Whether more came than is counted.
    received_is_cut: bool,
    invoices: Vec<StatusLine>,
    /// Whether there are more than are counted.
    invoices_are_cut: bool,
    /// The units of the longest of their bars.
    length: u32,
    /// How many transfers nobody could place, and where they are shown.
    unmatched: (String, String),
}

struct StatusLine {
    status: &'static str,
    count: u64,
    length: u32,
}

/// Overviews that are counted for one account at a time.
const OVERVIEWS_OF_ACCOUNT_MAX: usize = 1;

/// Overviews that are counted for accounts at a time, and for operators, whom no account keeps from looking: each takes a connection to the
/// database, which payments need, too.
const OVERVIEWS_MAX: (usize, usize) = (2, 1);

/// An overview is counted within this, or not at all. The database ends each statement long before, if it is there.
const COUNTED_WITHIN: Duration = Duration::from_secs(10);

/// The overviews that are being counted, by who looks.
pub struct Running {
    accounts: Arc<Places<AccountId>>,
    operators: Arc<Places<AccountId>>,
}

/// Nobody looks yet.
pub fn running() -> Arc<Running> {
    let (accounts, operators) = OVERVIEWS_MAX;
    let places = |all| Places::new(OVERVIEWS_OF_ACCOUNT_MAX, all);
    Arc::new(Running { accounts: places(accounts), operators: places(operators) })
}

impl Running {
    fn take(&self, caller: &Caller) -> Option<Place<AccountId>> {
        let places = if caller.is_operator() { &self.operators } else { &self.accounts };
        places.take(caller.account()?)
    }
}

async fn show(service: Data<Service>, request: HttpRequest, query: Asked<OfAccount>) -> HttpResponse {
    let running = request.app_data::<Data<Running>>().cloned();
    answer(&service, &request, query, |scene| async move { make(scene, running.ok_or(Problem::Internal)?.into_inner()).await })
        .await
}

async fn make(scene: Scene, running: Arc<Running>) -> Result<OverviewPage, Problem> {
    let desk = scene.desk("overview").await?;
    let now = scene.flows.clock.now();
    let books = scene.viewer.books()?;
    let wanted = CountsWanted { books, merchant: scene.viewer.merchant().ok(), from: first_day(now) };
    let counts = match running.take(&scene.viewer.caller) {
        Some(place) => counted(&scene.flows.ledger, wanted, place).await,
        None => None,
    };
    let networks = if books.is_none() { standings(&scene.flows).await? } else { Vec::new() };
    let (payments, trade) = counts.map(|counts| (counts.payments, counts.trade)).unzip();
    Ok(OverviewPage {
        payments: payments.map(|payments| Bars::of(&payments, now.date_naive(), DAYS)),
        days: DAYS,
        counted_max: COUNTED_MAX,
        trade: trade.flatten().map(|trade| Trade::of(&scene, &desk, trade)),
        networks: networks.iter().map(|standing| (words::network(&standing.network), in_a_word(standing))).collect(),
        desk,
        frame: scene.frame,
    })
}

/// What is to be counted.
#[derive(Debug, Clone, Copy)]
struct CountsWanted {
    /// Whose payments; everybody's if absent.
    books: Option<AccountId>,
    /// Whose trade.
    merchant: Option<AccountId>,
    /// From when on.
    from: DateTime<Utc>,
}

/// What was counted.
struct Counts {
    payments: Counted<Vec<Day>>,
    trade: Option<TradeCounts>,
}

struct TradeCounts {
    received: Counted<Vec<Received>>,
    invoices: Counted<Vec<(Status, u64)>>,
    unmatched: u64,
}

/// Counts in a task of its own, which keeps its place until its connection is free again, also when whoever looks has left. `None` if it
/// could not be done.
#[expect(clippy::disallowed_methods, reason = "it ends by itself, and whoever waits for it hears how")]
async fn counted(ledger: &Ledger, wanted: CountsWanted, place: Place<AccountId>) -> Option<Counts> {
    let ledger = ledger.clone();
    let counting = tokio::spawn(async move {
        let _place = place;
        let counted = tokio::time::timeout(COUNTED_WITHIN, count(&ledger, wanted)).await;
        counted.unwrap_or_else(|_| Err(LedgerError::silent()))
    });
    // Its panic stands in the log.
    let counted = counting.await.ok()?;
    counted.inspect_err(|error| tracing::warn!(error = %ErrorChain(error), "an overview could not be counted")).ok()
}

async fn count(ledger: &Ledger, CountsWanted { books, merchant, from }: CountsWanted) -> Result<Counts, LedgerError> {
    let mut summaries = ledger.summaries().await?;
    let payments = match books {
        Some(account) => summaries.payments_by_day(account, from).await?,
        None => summaries.all_payments_by_day(from).await?,
    };
    let trade = match merchant {
        Some(merchant) => Some(TradeCounts {
            received: summaries.received_since(merchant, from).await?,
            invoices: summaries.invoices_by_status(merchant, from).await?,
            unmatched: summaries.count_unmatched(merchant, UNMATCHED_MAX).await?,
        }),
        None => None,
    };
    summaries.end().await?;
    Ok(Counts { payments, trade })
}

/// When the first of the days began that are shown.
fn first_day(now: DateTime<Utc>) -> DateTime<Utc> {
    let first = now - TimeDelta::days(i64::from(DAYS) - 1);
    first.date_naive().and_time(NaiveTime::MIN).and_utc()
}

impl Trade {
    fn of(scene: &Scene, desk: &Desk, TradeCounts { received, invoices, unmatched }: TradeCounts) -> Self {
        let tokens = scene.tokens();
        let sums = received.of.into_iter().map(|received| {
            let money = tokens.money(&received.network, &received.asset, &received.amount.to_string());
            (money, words::network_of(&received.network), received.transfers)
        });
        Self {
            received: sums.collect(),
            received_is_cut: received.is_cut,
            invoices: lines(&invoices.of),
            invoices_are_cut: invoices.is_cut,
            length: LENGTH,
            unmatched: (at_most(unmatched, UNMATCHED_MAX), desk.narrowed("/transfers", &[("state", "unmatched")])),
        }
    }
}

/// A number that was counted up to some limit.
fn at_most(count: u64, max: u32) -> String {
    if count >= max.into() { format!("{max} or more") } else { count.to_string() }
}

/// Every status, also those in which nothing stands.
fn lines(counts: &[(Status, u64)]) -> Vec<StatusLine> {
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let line = |status: Status| {
        let count = counts.iter().find(|(other, _)| *other == status).map_or(0, |(_, count)| *count);
        StatusLine { status: status.as_str(), count, length: share(count, most, LENGTH) }
    };
    Status::ALL.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_and_the_last_one_is_today() {
        let now = DateTime::parse_from_rfc3339("2026-11-30T13:14:15Z").unwrap().to_utc();

        assert_eq!(first_day(now).to_rfc3339(), "2026-11-17T00:00:00+00:00");
    }

    #[test]
    fn beyond_a_limit_a_number_is_only_called_large() {
        assert_eq!((at_most(7, 10), at_most(10, 10)), ("7".to_owned(), "10 or more".to_owned()));
    }

    #[test]
    fn every_status_has_its_line_and_the_most_frequent_one_the_longest() {
        let lines = lines(&[(Status::Paid, 4), (Status::Open, 1)]);
        let length = |status: Status| lines.iter().find(|line| line.status == status.as_str()).map(|line| line.length);

        assert_eq!(lines.len(), Status::ALL.len());
        assert_eq!((length(Status::Paid), length(Status::Open)), (Some(LENGTH), Some(LENGTH / 4)));
        assert_eq!(length(Status::Expired), Some(0));
    }
}
