//! `/dashboard`: an account in a few numbers, or to operators everybody's payments and how the networks stand.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use super::super::chart::{Bars, share};
use super::super::money::Money;
use super::super::{Frame, words};
use super::networks::{Standing, in_a_word};
use super::{Desk, Scene, Wanted, answer, page};
use crate::api::Service;
use crate::api::networks::standings;
use crate::domain::ids::AccountId;
use crate::domain::invoice::Status;
use crate::http::endpoint::{Callers, PathItem, at};
use crate::http::problem::Problem;
use crate::ledger::summaries::COUNTED_MAX;

/// The days that are shown.
const DAYS: u32 = 14;

/// Unmatched transfers beyond that are only called many.
const UNMATCHED_MAX: u32 = 1_000;

/// Units of the longest bar of a status.
const LENGTH: u32 = 200;

/// The path.
pub fn paths() -> Vec<PathItem> {
    let operation = page("showDashboard", "Shows an account in a few numbers, or to operators all of them", Callers::Accounts);
    vec![at("/dashboard").get(show, operation)]
}

#[derive(Template)]
#[template(path = "dashboard/overview.html")]
struct OverviewPage {
    frame: Frame,
    desk: Desk,
    days: u32,
    payments: Bars,
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
    invoices: Vec<StatusLine>,
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

async fn show(service: Data<Service>, request: HttpRequest, query: Result<Query<Wanted>, actix_web::Error>) -> HttpResponse {
    answer(&service, &request, query, make).await
}

async fn make(scene: Scene) -> Result<OverviewPage, Problem> {
    let desk = scene.desk("overview").await?;
    let ledger = &scene.flows.ledger;
    let now = scene.flows.clock.now();
    let from = first_day(now);
    let books = scene.viewer.books()?;
    let payments = match books {
        Some(account) => ledger.payments_by_day(account, from).await?,
        None => ledger.all_payments_by_day(from).await?,
    };
    let trade = match scene.viewer.merchant() {
        Ok(merchant) => Some(Trade::of(&scene, &desk, merchant, from).await?),
        Err(_) => None,
    };
    let networks = if books.is_none() { standings(&scene.flows).await? } else { Vec::new() };
    Ok(OverviewPage {
        payments: Bars::of(&payments, now.date_naive(), DAYS),
        days: DAYS,
        counted_max: COUNTED_MAX,
        trade,
        networks: networks.iter().map(|standing| (words::network(&standing.network), in_a_word(standing))).collect(),
        desk,
        frame: scene.frame,
    })
}

/// When the first of the days began that are shown.
fn first_day(now: DateTime<Utc>) -> DateTime<Utc> {
    let first = now - TimeDelta::days(i64::from(DAYS) - 1);
    first.date_naive().and_time(NaiveTime::MIN).and_utc()
}

impl Trade {
    async fn of(scene: &Scene, desk: &Desk, merchant: AccountId, from: DateTime<Utc>) -> Result<Self, Problem> {
        let (ledger, tokens) = (&scene.flows.ledger, scene.tokens());
        let received = ledger.received_since(merchant, from).await?.into_iter().map(|received| {
            let money = tokens.money(&received.network, &received.asset, &received.amount.to_string());
            (money, words::network_of(&received.network), received.transfers)
        });
        let invoices = lines(&ledger.invoices_by_status(merchant, from).await?);
        let unmatched = at_most(ledger.count_unmatched(merchant, UNMATCHED_MAX).await?, UNMATCHED_MAX);
        let place = desk.narrowed("/transfers", &[("state", "unmatched")]);
        Ok(Self { received: received.collect(), invoices, length: LENGTH, unmatched: (unmatched, place) })
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
