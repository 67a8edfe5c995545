//! `/v1/export`: what the ledger has of an account as CSV, of any length, in constant memory.

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::endpoint::{Callers, Group, Operation, at};
use super::problem::{Code, Problem};
use super::streaming::{self, Cut, Writer};
use super::{Service, auth, csv};
use crate::api::places::Places;
use crate::domain::block::Heights;
use crate::domain::ids::AccountId;
use crate::domain::network::Network;
use crate::domain::payment::Payment;
use crate::flow::Flows;
use crate::ledger::LedgerError;
use crate::ledger::exports::Span;
use crate::telemetry::ErrorChain;

mod rows;

/// The paths.
pub fn group() -> Group {
    let exporting = |id, summary, table: Table| {
        Operation::new(id, summary)
            .about("All of an account, or of everybody for an operator, of any length. A stream: if it cannot be finished, the connection breaks.")
            .of(Callers::Accounts)
            .query::<ExportQuery>()
            .problems(&[Code::TooManyExports])
            .answers_text("CSV (RFC 4180) with a line of names. New columns come at the end.", MEDIA_TYPE, &csv::line(table.columns()))
            .answer_header("Content-Disposition", "The name of a file.")
    };
    Group {
        name: "Exports",
        about: "What the ledger has of an account, as CSV.",
        paths: vec![
            at("/v1/export/payments.csv").get(payments, exporting("exportPayments", "Exports payments", Table::Payments)),
            at("/v1/export/transfers.csv").get(transfers, exporting("exportTransfers", "Exports transfers", Table::Transfers)),
            at("/v1/export/invoices.csv").get(invoices, exporting("exportInvoices", "Exports invoices", Table::Invoices)),
        ],
    }
}

/// What is answered (RFC 4180).
const MEDIA_TYPE: &str = "text/csv; charset=utf-8; header=present";
/// Exports of one account at a time, or of all operators together.
const EXPORTS_OF_ACCOUNT_MAX: usize = 4;

/// Exports at a time.
const EXPORTS_MAX: usize = 32;

/// The exports that are being written, by whose books they are.
pub type Running = Places<Option<AccountId>>;

/// Nobody exports yet.
pub fn running() -> Arc<Running> {
    Places::new(EXPORTS_OF_ACCOUNT_MAX, EXPORTS_MAX)
}

/// Rows that are read at a time.
const ROWS_AT_ONCE: u32 = 500;

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    Payments,
    Transfers,
    Invoices,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExportQuery {
    /// The first moment: a time (RFC 3339), or a day, which stands for its beginning in UTC.
    #[schemars(example = &"2026-11-01")]
    from: Option<String>,
    /// The moment behind the last, likewise.
    #[schemars(example = &"2026-12-01")]
    to: Option<String>,
}

type Asked = Result<Query<ExportQuery>, actix_web::Error>;

async fn payments(service: Data<Service>, request: HttpRequest, query: Asked) -> HttpResponse {
    export(&service, &request, query, Table::Payments).await.unwrap_or_else(|problem| problem.response())
}

async fn transfers(service: Data<Service>, request: HttpRequest, query: Asked) -> HttpResponse {
    export(&service, &request, query, Table::Transfers).await.unwrap_or_else(|problem| problem.response())
}

async fn invoices(service: Data<Service>, request: HttpRequest, query: Asked) -> HttpResponse {
    export(&service, &request, query, Table::Invoices).await.unwrap_or_else(|problem| problem.response())
}

async fn export(service: &Service, request: &HttpRequest, query: Asked, table: Table) -> Result<HttpResponse, Problem> {
    let account = auth::books(service, request).await?;
    let query = query.map_err(|_| Problem::BadParameter("unknown or malformed parameter".to_owned()))?.into_inner();
    let span = Span { account, from: moment("from", query.from.as_deref())?, until: moment("to", query.to.as_deref())? };
    let running = request.app_data::<Data<Running>>().cloned().ok_or(Problem::Internal)?;
    let no_room = || Problem::Refused(Code::TooManyExports, "too many exports are being written".to_owned());
    let place = running.into_inner().take(account).ok_or_else(no_room)?;
    // What cannot even begin is told with a status; later there is none any more.
    let flows = service.flows();
    let first = service.run(async move { page(&flows, table, &span, span.below()).await }).await??;
    let flows = service.flows();
    let mut head = HttpResponse::Ok();
    let file = format!("attachment; filename=\"{}.csv\"", table.name());
    head.content_type(MEDIA_TYPE).insert_header(("content-disposition", file));
    Ok(streaming::respond(&mut head, &service.runtime, |writer| async move {
        let _place = place;
        write(&flows, table, &span, first, &writer).await.map_err(|error| {
            tracing::warn!(error = %ErrorChain(&error), "an export could not be finished");
            Cut
        })
    }))
}

/// Reads a moment, or a day, which stands for its beginning in UTC.
fn moment(name: &str, text: Option<&str>) -> Result<Option<DateTime<Utc>>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let day = || Some(text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN).and_utc());
    let moment = DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.to_utc()).or_else(day);
    moment.map(Some).ok_or_else(|| Problem::BadParameter(format!("{name}: neither a day nor a time (RFC 3339)")))
}

/// A part of a table: its lines, and the name behind which the next part begins.
struct Page {
    lines: String,
    next: Option<Uuid>,
}

impl Page {
    fn of<T>(rows: &[T], name: impl Fn(&T) -> Uuid, line: impl Fn(&T) -> String) -> Self {
        let is_full = rows.len() == ROWS_AT_ONCE as usize;
        Self { lines: rows.iter().map(line).collect(), next: rows.last().filter(|_| is_full).map(name) }
    }
}

/// Writes a table to its end, or until nobody reads it any more.
async fn write(flows: &Flows, table: Table, span: &Span, first: Page, writer: &Writer) -> Result<(), LedgerError> {
    let mut page_to_write = first;
    page_to_write.lines.insert_str(0, &csv::line(table.columns()));
    while writer.write(std::mem::take(&mut page_to_write.lines)).await {
        match page_to_write.next {
            Some(after) => page_to_write = page(flows, table, span, after).await?,
            None => break,
        }
    }
    Ok(())
}

async fn page(flows: &Flows, table: Table, span: &Span, after: Uuid) -> Result<Page, LedgerError> {
    let ledger = &flows.ledger;
    Ok(match table {
        Table::Payments => {
            let found = ledger.export_payments(span, after, ROWS_AT_ONCE).await?;
            let (heights, now) = (heights(flows, &found).await?, flows.clock.now());
            Page::of(&found, |row| row.id.uuid(), |row| csv::line(rows::payment(flows, row, heights.get(&row.network), now)))
        }
        Table::Transfers => {
            let found = ledger.export_transfers(span, after, ROWS_AT_ONCE).await?;
            Page::of(&found, |row| row.id.uuid(), |row| csv::line(rows::transfer(flows, row)))
        }
        Table::Invoices => {
            let found = ledger.export_invoices(span, after, ROWS_AT_ONCE).await?;
            Page::of(&found, |row| row.id.uuid(), |row| csv::line(rows::invoice(row)))
        }
    })
}

impl Table {
    const fn name(self) -> &'static str {
        match self {
            Self::Payments => "payments",
            Self::Transfers => "transfers",
            Self::Invoices => "invoices",
        }
    }

    const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Payments => &rows::PAYMENTS,
            Self::Transfers => &rows::TRANSFERS,
            Self::Invoices => &rows::INVOICES,
        }
    }
}

/// How far the networks of these payments were read.
async fn heights(flows: &Flows, payments: &[Payment]) -> Result<HashMap<Network, Heights>, LedgerError> {
    let mut heights = HashMap::new();
    for payment in payments {
        if !heights.contains_key(&payment.network)
            && let Some(cursor) = flows.ledger.cursor(&payment.network).await?
        {
            heights.insert(payment.network.clone(), cursor.heights);
        }
    }
    Ok(heights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_the_beginning_of_a_day() {
        let read = |text| moment("from", Some(text)).map(|moment| moment.map(|moment| moment.to_rfc3339()));

        assert_eq!(read("2026-01-02"), Ok(Some("2026-01-02T00:00:00+00:00".to_owned())));
        assert_eq!(read("2026-01-02T03:04:05.5+01:00"), Ok(Some("2026-01-02T02:04:05.500+00:00".to_owned())));
        assert_eq!(moment("from", None), Ok(None));
        for text in ["", "yesterday", "2026-13-01", "2026-01-02 03:04", "1767322800"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_full_page_has_another_one_behind_it() {
        let rows: Vec<u128> = (1..=u128::from(ROWS_AT_ONCE)).collect();
        let page = |rows: &[u128]| Page::of(rows, |row| Uuid::from_u128(*row), |row| csv::line([row.to_string()]));

        assert_eq!(page(&rows).next, Some(Uuid::from_u128(500)));
        assert_eq!(page(&rows[1..]).next, None);
        assert_eq!((page(&rows[..2]).lines.as_str(), page(&[]).next), ("1\r\n2\r\n", None));
    }
}
