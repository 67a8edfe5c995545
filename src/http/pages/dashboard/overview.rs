//! `/dashboard`: an account, or everything, in a few numbers.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use chrono::{NaiveTime, TimeDelta};

use super::super::Frame;
use super::super::chart::{Bars, share};
use super::{Desk, Scene, Wanted, answer, page};
use crate::api::Service;
use crate::domain::invoice::Status;
use crate::http::endpoint::{PathItem, at};
use crate::http::problem::Problem;

/// The days that are shown.
const DAYS: u32 = 14;

/// Unmatched transfers beyond that are only called many.
const UNMATCHED_MAX: u32 = 1_000;

/// Units of the longest bar of a status.
const LENGTH: u32 = 200;

/// The path.
pub fn paths() -> Vec<PathItem> {
    let operation = page("showDashboard", "Shows an account in a few numbers, or to operators all of them").query::<Wanted>();
    vec![at("/dashboard").get(show, operation)]
}

#[derive(Template)]
#[template(path = "dashboard/overview.html")]
struct OverviewPage {
    frame: Frame,
    desk: Desk,
    days: u32,
    payments: Bars,
    /// None where there are no invoices to be seen.
    invoices: Option<Vec<StatusLine>>,
    length: u32,
    unmatched: Option<String>,
    /// Where these are shown, if the viewer reads them.
    unmatched_href: Option<String>,
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
    let from = now - TimeDelta::days(i64::from(DAYS) - 1);
    let from = from.date_naive().and_time(NaiveTime::MIN).and_utc();
    let account = if scene.viewer.is_open() { None } else { scene.viewer.reads_as().account() };
    let days = ledger.payments_by_day(account, from).await?;
    let has_invoices = scene.viewer.is_open() || scene.viewer.merchant().is_ok();
    let (invoices, unmatched) = if has_invoices {
        let unmatched = ledger.count_unmatched(account, UNMATCHED_MAX).await?;
        let unmatched = if unmatched == UNMATCHED_MAX.into() { format!("{unmatched} or more") } else { unmatched.to_string() };
        (Some(lines(&ledger.invoices_by_status(account, from).await?)), Some(unmatched))
    } else {
        (None, None)
    };
    let unmatched_href = desk.is_merchant.then(|| desk.narrowed("/transfers", &[("state", "unmatched")]));
    Ok(OverviewPage {
        payments: Bars::of(&days, now.date_naive(), DAYS),
        days: DAYS,
        invoices,
        length: LENGTH,
        unmatched,
        unmatched_href,
        desk,
        frame: scene.frame,
    })
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
