//! `/dashboard/accounts`: whose things an operator looks at.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::super::Frame;
use super::super::words::Moment;
use super::{Asked, Desk, Listed, PAGE, Scene, answer, page};
use crate::api::Service;
use crate::api::page::{OPERATORS, cursor, next_cursor};
use crate::http::endpoint::{Callers, PathItem, at};
use crate::http::problem::Problem;

/// The path.
pub fn paths() -> Vec<PathItem> {
    let listing = page::<Listed>("showAccounts", "Shows operators the accounts, newest first", Callers::Operators);
    vec![at("/dashboard/accounts").get(list, listing)]
}

#[derive(Template)]
#[template(path = "dashboard/accounts.html")]
struct ListPage {
    frame: Frame,
    desk: Desk,
    rows: Vec<Row>,
    next: Option<String>,
}

struct Row {
    id: String,
    name: String,
    href: String,
    created: Moment,
}

async fn list(service: Data<Service>, request: HttpRequest, query: Asked<Listed>) -> HttpResponse {
    answer(&service, &request, query, make).await
}

async fn make(scene: Scene) -> Result<ListPage, Problem> {
    scene.viewer.operator()?;
    let desk = scene.desk("accounts").await?;
    let before = cursor(&OPERATORS, scene.wanted.cursor().as_deref())?;
    let found = scene.flows.ledger.list_accounts(before, PAGE).await?;
    let next = next_cursor(&OPERATORS, &found, PAGE, |account| account.id);
    let rows = found.into_iter().map(|account| Row {
        href: format!("{}/dashboard?account={}", desk.base, account.id),
        id: account.id.to_string(),
        name: account.name,
        created: account.created_at.into(),
    });
    Ok(ListPage { rows: rows.collect(), next: desk.next("/accounts", None, next.as_ref()), desk, frame: scene.frame })
}
