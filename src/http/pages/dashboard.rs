//! The dashboard: what accounts read of their own, and operators of everybody, for people.
//!
//! It shows what the API answers, by the same functions and rules; a page asks them as whoever looks at it. An operator who chooses an
//! account reads what its owner reads. Nothing is changed here, so there is nothing that another site could have a browser do.

use std::sync::Arc;

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use schemars::JsonSchema;
use serde::Deserialize;

use super::money::Tokens;
use super::{EXAMPLE, Frame, MEDIA_TYPE, served, show, tell, wants_page};
use crate::api::access::{books_of, merchant_of, operator_of, party_of};
use crate::api::status::Status;
use crate::api::{Service, access};
use crate::config::Pages;
use crate::domain::account::{Caller, Scope};
use crate::domain::ids::AccountId;
use crate::flow::Flows;
use crate::http::auth;
use crate::http::endpoint::{Callers, Errors, Operation, PathItem};
use crate::http::problem::{Code, Problem};

mod accounts;
mod invoices;
mod networks;
mod overview;
mod payments;
mod session;
mod transfers;
mod webhooks;

pub use overview::{Running as Overviews, running as overviews};
pub use session::SESSION;

/// The paths.
pub fn paths() -> Vec<PathItem> {
    let groups = [
        overview::paths(),
        session::paths(),
        payments::paths(),
        invoices::paths(),
        transfers::paths(),
        webhooks::paths(),
        networks::paths(),
        accounts::paths(),
    ];
    groups.into_iter().flatten().collect()
}

/// Things on a page: as many as people look at.
const PAGE: u32 = 25;

/// Whether a path is below the dashboard.
pub fn is_at(path: &str) -> bool {
    path.strip_prefix("/dashboard").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A page of the dashboard that reads this of its query, for its description.
fn page<Q: JsonSchema>(id: &'static str, summary: &'static str, callers: Callers) -> Operation {
    Operation::new(id, summary)
        .of(callers)
        .in_sessions()
        .query::<Q>()
        .answers_text("The page.", MEDIA_TYPE, EXAMPLE)
        .errors(Errors::Pages)
        .problems(&[Code::NotFound])
}

/// As a form sends it, which has an account, or none.
const ACCOUNT_OR_NOTHING: &str = "^(acc_[0-9a-f]{32})?$";

/// What may stand behind the path of a page that is no list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OfAccount {
    /// Whose: for operators. Forms send nothing for everybody's.
    #[schemars(regex(pattern = ACCOUNT_OR_NOTHING))]
    account: Option<String>,
}

/// What may stand behind the path of a list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Listed {
    /// Whose: for operators. Forms send nothing for everybody's.
    #[schemars(regex(pattern = ACCOUNT_OR_NOTHING))]
    account: Option<String>,
    /// Behind which thing the page begins.
    cursor: Option<String>,
}

/// What may stand behind the path of a list of which a part can be chosen.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Narrowed {
    /// Whose: for operators. Forms send nothing for everybody's.
    #[schemars(regex(pattern = ACCOUNT_OR_NOTHING))]
    account: Option<String>,
    /// Only what stands there.
    state: Option<String>,
    /// Behind which thing the page begins.
    cursor: Option<String>,
}

/// A query that was asked for, or why it is none.
type Asked<Q> = Result<Query<Q>, actix_web::Error>;

/// What is wanted of a page. A form sends what is not chosen as nothing.
#[derive(Debug, Default)]
struct Wanted {
    account: Option<String>,
    state: Option<String>,
    cursor: Option<String>,
}

impl From<OfAccount> for Wanted {
    fn from(OfAccount { account }: OfAccount) -> Self {
        Self { account, ..Self::default() }
    }
}

impl From<Listed> for Wanted {
    fn from(Listed { account, cursor }: Listed) -> Self {
        Self { account, cursor, ..Self::default() }
    }
}

impl From<Narrowed> for Wanted {
    fn from(Narrowed { account, state, cursor }: Narrowed) -> Self {
        Self { account, state, cursor }
    }
}

impl Wanted {
    /// Only those that stand there, if that is wanted.
    fn state(&self) -> Option<String> {
        self.state.clone().filter(|state| !state.is_empty())
    }

    fn cursor(&self) -> Option<String> {
        self.cursor.clone().filter(|cursor| !cursor.is_empty())
    }
}

/// Who looks at a page.
#[derive(Debug, Clone, Copy)]
struct Viewer {
    caller: Caller,
    /// The account that an operator has chosen.
    chosen: Option<AccountId>,
}

impl Viewer {
    fn new(caller: Caller, wanted: &Wanted) -> Result<Self, Problem> {
        let account = wanted.account.as_deref().filter(|account| !account.is_empty());
        let chosen = account.map(str::parse::<AccountId>).transpose().map_err(|_| Problem::NotFound)?;
        match caller.account() {
            None => Err(Problem::Unauthorized),
            Some(own) if chosen.is_none_or(|chosen| chosen == own) || caller.is_operator() => Ok(Self { caller, chosen }),
            Some(_) => Err(Problem::NotFound),
        }
    }

    /// As whom things are read: an operator who has chosen an account reads what its merchant reads.
    const fn reads_as(&self) -> Caller {
        match (self.caller, self.chosen) {
            (Caller::Account { scope: Scope::Operator, .. }, Some(account)) => {
                Caller::Account { account, scope: Scope::Merchant }
            }
            (caller, _) => caller,
        }
    }

    /// Whose invoices and transfers are read.
    fn merchant(&self) -> Result<AccountId, Problem> {
        self.has_chosen()?;
        merchant_of(self.reads_as())
    }

    /// Whose webhooks are read.
    fn party(&self) -> Result<AccountId, Problem> {
        self.has_chosen()?;
        party_of(self.reads_as())
    }

    /// An operator has nothing that could be read before an account is chosen.
    fn has_chosen(&self) -> Result<(), Problem> {
        if self.caller.is_operator() && self.chosen.is_none() {
            return Err(Problem::BadParameter("an operator chooses an account first".to_owned()));
        }
        Ok(())
    }

    fn operator(&self) -> Result<(), Problem> {
        operator_of(self.caller)
    }

    /// Whose payments are read; absent for an operator who has not chosen an account, who reads everybody's.
    fn books(&self) -> Result<Option<AccountId>, Problem> {
        books_of(self.reads_as())
    }
}

/// What all pages of the dashboard have above them.
struct Desk {
    /// What stands before every path.
    base: String,
    /// Where the viewer is.
    here: &'static str,
    is_operator: bool,
    is_merchant: bool,
    /// What the key is good for.
    scope: &'static str,
    /// The viewer's own account.
    name: String,
    /// The account that an operator looks at: name for people and for us.
    chosen: Option<(String, String)>,
}

impl Desk {
    async fn of(flows: &Flows, base: String, viewer: &Viewer, here: &'static str) -> Result<Self, Problem> {
        let Caller::Account { account, scope } = viewer.caller else { return Err(Problem::Unauthorized) };
        let chosen = match viewer.chosen.filter(|_| scope == Scope::Operator) {
            Some(chosen) => {
                let name = flows.ledger.account_name(chosen).await?.ok_or(Problem::NotFound)?;
                Some((name, chosen.to_string()))
            }
            None => None,
        };
        Ok(Self {
            base,
            here,
            is_operator: scope == Scope::Operator,
            is_merchant: viewer.merchant().is_ok(),
            scope: scope.as_str(),
            name: flows.ledger.account_name(account).await?.unwrap_or_default(),
            chosen,
        })
    }

    /// An address below the dashboard, for the same account.
    fn link(&self, path: &str) -> String {
        self.narrowed(path, &[])
    }

    /// The same with something to be narrowed to.
    fn narrowed(&self, path: &str, query: &[(&str, &str)]) -> String {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        if let Some((_, id)) = &self.chosen {
            pairs.append_pair("account", id);
        }
        for (name, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
            pairs.append_pair(name, value);
        }
        let query = pairs.finish();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}/dashboard{path}{mark}{query}", self.base)
    }

    /// The address of the next page of a list.
    fn next(&self, path: &str, state: Option<&str>, cursor: Option<&String>) -> Option<String> {
        cursor.map(|cursor| self.narrowed(path, &[("state", state.unwrap_or_default()), ("cursor", cursor)]))
    }
}

/// What a list can be narrowed to, and whether it is.
fn choices(words: &[&'static str], chosen: Option<&str>) -> Vec<(&'static str, bool)> {
    words.iter().map(|word| (*word, chosen == Some(*word))).collect()
}

/// What a page is made with.
struct Scene {
    flows: Arc<Flows>,
    viewer: Viewer,
    wanted: Wanted,
    frame: Frame,
}

impl Scene {
    async fn desk(&self, here: &'static str) -> Result<Desk, Problem> {
        Desk::of(&self.flows, self.frame.base.clone(), &self.viewer, here).await
    }

    fn tokens(&self) -> Tokens<'_> {
        Tokens(&self.flows)
    }
}

/// Makes a page for whoever looks at it, or says why there is none.
async fn answer<Q, T, F>(
    service: &Data<Service>,
    request: &HttpRequest,
    query: Asked<Q>,
    make: impl FnOnce(Scene) -> F,
) -> HttpResponse
where
    Q: Into<Wanted>,
    T: Template + Send + 'static,
    F: Future<Output = Result<T, Problem>> + Send + 'static,
{
    let answered = async {
        served(service, Pages::Everything)?;
        let caller = caller(service, request).await?;
        let wanted = query.map_err(|_| Problem::BadParameter("unknown or malformed parameter".to_owned()))?.into_inner();
        let wanted = wanted.into();
        let viewer = Viewer::new(caller, &wanted)?;
        let scene = Scene { flows: service.flows(), viewer, wanted, frame: Frame::of(service) };
        service.run(make(scene)).await?
    };
    match answered.await {
        Ok(page) => show(Status::Ok, None, &page),
        Err(Problem::Unauthorized) if wants_page(request.headers()) => session::ask(service, false),
        Err(problem) if wants_page(request.headers()) => tell(service, &problem),
        Err(problem) => problem.response(),
    }
}

/// Who looks: the holder of the session that the browser keeps, or else of the key in the request. What a browser sends in `Authorization`
/// may be for a proxy in front.
async fn caller(service: &Service, request: &HttpRequest) -> Result<Caller, Problem> {
    match session::resume(service, request).await? {
        Some(caller) => Ok(caller),
        None => access::caller(service, auth::envelope(request)).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(scope: Scope) -> (AccountId, Caller) {
        let account = AccountId::new();
        (account, Caller::Account { account, scope })
    }

    fn wanting(account: AccountId) -> Wanted {
        Wanted { account: Some(account.to_string()), ..Wanted::default() }
    }

    #[test]
    fn only_operators_choose_whose_things_they_see() {
        let (own, merchant) = caller(Scope::Merchant);
        let (_, operator) = caller(Scope::Operator);

        assert_eq!(Viewer::new(merchant, &Wanted::default()).unwrap().merchant(), Ok(own));
        assert_eq!(Viewer::new(merchant, &wanting(own)).unwrap().merchant(), Ok(own));
        assert_eq!(Viewer::new(merchant, &wanting(AccountId::new())).unwrap_err(), Problem::NotFound);
        let other = Viewer::new(operator, &wanting(own)).unwrap();
        assert_eq!((other.merchant(), other.party(), other.books(), other.operator()), (Ok(own), Ok(own), Ok(Some(own)), Ok(())));
        let open = Viewer::new(operator, &Wanted::default()).unwrap();
        assert_eq!(open.books(), Ok(None));
        assert!(matches!((open.merchant(), open.party()), (Err(Problem::BadParameter(_)), Err(Problem::BadParameter(_)))));
        assert_eq!(Viewer::new(Caller::Anonymous, &Wanted::default()).unwrap_err(), Problem::Unauthorized);
    }

    #[test]
    fn a_providers_key_opens_what_it_opens_elsewhere() {
        let (own, provider) = caller(Scope::Provider);
        let viewer = Viewer::new(provider, &Wanted::default()).unwrap();

        assert_eq!(
            (viewer.party(), viewer.merchant(), viewer.operator()),
            (Ok(own), Err(Problem::Forbidden), Err(Problem::Forbidden))
        );
    }

    #[test]
    fn everything_below_the_dashboard_is_at_it_and_nothing_else() {
        for path in ["/dashboard", "/dashboard/", "/dashboard/payments/pay_1"] {
            assert!(is_at(path), "{path}");
        }
        for path in ["/", "/dashboards", "/v1/dashboard", "/i/dashboard"] {
            assert!(!is_at(path), "{path}");
        }
    }
}
