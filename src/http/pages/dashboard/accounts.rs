//! `/dashboard/accounts`: whose things an operator looks at.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::super::words::Moment;
use super::super::{Frame, words};
use super::{Asked, Desk, Listed, PAGE, Scene, answer, page};
use crate::api::Service;
use crate::api::page::{OPERATORS, cursor, next_cursor};
use crate::domain::amount::Amount;
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
    /// What settling for it has cost in 24 hours, in whole coins and with the name of each network.
    cost: Vec<(String, String)>,
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
    let chains: Vec<_> = scene.flows.chains.iter().map(|chain| chain.profile().network.clone()).collect();
    let networks: Vec<_> = chains.iter().map(ToString::to_string).collect();
    let accounts: Vec<_> = found.iter().map(|account| account.id).collect();
    let spent = scene.flows.ledger.spent_on_accounts(&networks, &accounts, scene.flows.clock.now()).await?;
    let cost = |account| {
        let of = spent.iter().filter(move |(of, ..)| *of == account);
        of.filter_map(|(_, network, spent)| {
            let network = chains.iter().find(|known| known.as_str() == network)?;
            Some((Amount::new(*spent).to_decimal(network.family().native_decimals()), words::network(network)))
        })
    };
    let rows = found.into_iter().map(|account| Row {
        cost: cost(account.id).collect(),
        href: format!("{}/dashboard?account={}", desk.base, account.id),
        id: account.id.to_string(),
        name: account.name,
        created: account.created_at.into(),
    });
    Ok(ListPage { rows: rows.collect(), next: desk.next("/accounts", None, next.as_ref()), desk, frame: scene.frame })
}
