//! `/discovery`: the paid resources that want to be found, for everybody.

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Service;
use super::endpoint::{Group, Operation, at};
use super::merchant::{Reply, answer};
use super::page::{PAGE as LIMIT_MAX, cursor, next_cursor, page_size_or};
use super::problem::{Code, Problem};
use crate::api::status::Status;
use crate::domain::address::Address;
use crate::domain::network::Network;
use crate::domain::reason::Version;
use crate::flow::Flows;
use crate::ledger::resources::{ListedResource, ResourceFilter};
use crate::x402::bazaar::EXTENSION;
use crate::x402::networks;

/// The paths.
pub fn group() -> Group {
    let listing = Operation::new("listResources", "Lists what can be bought, last sold first")
        .about("404 where the operator keeps no catalogue.")
        .query::<Wanted>()
        .query::<ListQuery>()
        .problems(&[Code::NotFound])
        .answers::<Resources>(Status::Ok, "A page of resources.");
    let searching = Operation::new("searchResources", "Searches what can be bought, by words")
        .about("404 where the operator keeps no catalogue.")
        .query::<Wanted>()
        .query::<SearchQuery>()
        .problems(&[Code::NotFound])
        .answers::<Found>(Status::Ok, "A page of resources, the best first.");
    Group {
        name: "Discovery",
        about: "Paid resources that want to be found (x402's `bazaar`).",
        paths: vec![at("/discovery/resources").get(list, listing), at("/discovery/search").get(search, searching)],
    }
}

/// Things on a page, unless the caller wants another number.
const PAGE: u32 = 20;

/// Where a list ends for those who turn its pages: the ledger counts up to there each time.
const OFFSET_MAX: u32 = 100_000;

/// Longest query of a search.
const QUERY_CHARS_MAX: usize = 400;

/// What the resources must be like. Parameters that nobody knows are not read: clients of later versions may send more.
#[derive(Debug, Deserialize, JsonSchema)]
struct Wanted {
    /// Only those of this type, such as `http` or `mcp`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Only those that pay this address.
    #[serde(rename = "payTo")]
    #[schemars(with = "Option<Address>")]
    pay_to: Option<String>,
    /// Only those that take this scheme.
    scheme: Option<String>,
    /// Only those that take money on this network, in the words of either version.
    network: Option<String>,
    /// Only those with the extension of this key.
    extensions: Option<String>,
}

impl Wanted {
    /// Only one extension is published, so a list of those with another one is empty.
    fn is_possible(&self) -> bool {
        self.extensions.as_deref().is_none_or(|extension| extension == EXTENSION)
    }

    fn filter(&self) -> Result<ResourceFilter, Problem> {
        Ok(ResourceFilter {
            kind: self.kind.as_deref().map(word).transpose()?,
            pay_to: self.pay_to.as_deref().map(recipient).transpose()?,
            scheme: self.scheme.as_deref().map(word).transpose()?,
            network: self.network.as_deref().map(network).transpose()?,
        })
    }
}

/// The ledger takes no NUL.
fn word(text: &str) -> Result<String, Problem> {
    let word = Some(text).filter(|text| !text.contains('\0'));
    word.map(str::to_owned).ok_or_else(|| Problem::BadParameter("a parameter has a NUL character".to_owned()))
}

fn recipient(text: &str) -> Result<String, Problem> {
    let address = Address::parse_any(text).map_err(|_| Problem::BadParameter("payTo: not an address".to_owned()))?;
    Ok(address.to_string())
}

/// A network in the words of either version.
fn network(text: &str) -> Result<Network, Problem> {
    let read = networks::parse(Version::V2, text).or_else(|_| networks::parse(Version::V1, text));
    read.map_err(|_| Problem::BadParameter("network: not a CAIP-2 identifier".to_owned()))
}

#[derive(Debug, Deserialize, JsonSchema)]
struct ListQuery {
    /// How many at most; 20 if nothing is said. No page has more than 100.
    #[schemars(range(min = 1))]
    limit: Option<u32>,
    /// How many to leave out.
    #[schemars(range(max = OFFSET_MAX))]
    offset: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct SearchQuery {
    /// Words; needed.
    #[schemars(required, length(min = 1, max = QUERY_CHARS_MAX))]
    query: Option<String>,
    /// How many at most; 20 if nothing is said. No page has more than 100.
    #[schemars(range(min = 1))]
    limit: Option<u32>,
    /// `pagination.cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ListedResource")]
struct Item {
    /// Its URL, or the name of a tool with that of its server.
    #[schemars(example = &"https://api.example/weather")]
    resource: String,
    #[serde(rename = "type")]
    kind: String,
    #[schemars(range(min = 1, max = 2))]
    x402_version: i16,
    /// The requirements by which it was sold.
    #[schemars(with = "Vec<Map<String, Value>>")]
    accepts: Vec<Value>,
    /// When it was sold last.
    #[schemars(with = "DateTime<Utc>")]
    last_updated: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_name: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon_url: Option<String>,
    /// `bazaar`, as the resource declared it.
    #[schemars(with = "Map<String, Value>")]
    extensions: Value,
}

impl From<ListedResource> for Item {
    fn from(listed: ListedResource) -> Self {
        Self {
            resource: listed.url,
            kind: listed.kind,
            x402_version: listed.x402_version,
            accepts: listed.accepts.0,
            last_updated: listed.paid_at.to_rfc3339_opts(SecondsFormat::Secs, true),
            description: listed.description,
            mime_type: listed.mime_type,
            service_name: listed.service_name,
            tags: listed.tags,
            icon_url: listed.icon_url,
            extensions: json!({EXTENSION: listed.bazaar.0}),
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ResourcePage")]
struct Resources {
    x402_version: u8,
    items: Vec<Item>,
    pagination: Page,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ResourcePagination")]
struct Page {
    limit: u32,
    offset: u32,
    /// How many there are on all pages.
    total: i64,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "FoundResources")]
struct Found {
    x402_version: u8,
    resources: Vec<Item>,
    /// Whether more was found than can be read by turning pages.
    partial_results: bool,
    pagination: FoundPage,
}

/// Clients know the end by a cursor that is `null`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FoundPagination")]
struct FoundPage {
    limit: u32,
    /// For the next page; `null` on the last one.
    cursor: Option<String>,
}

type Parameters<T> = Result<Query<T>, actix_web::Error>;

fn parameters<T>(wanted: Parameters<Wanted>, query: Parameters<T>) -> Result<(Wanted, T), Problem> {
    let malformed = |_| Problem::BadParameter("a malformed parameter".to_owned());
    Ok((wanted.map_err(malformed)?.into_inner(), query.map_err(malformed)?.into_inner()))
}

/// How many a page has. The clients of x402 ask for a thousand where they mean all, and turn pages by what the answer says.
fn page_of(limit: Option<u32>) -> Result<u32, Problem> {
    page_size_or(limit.map(|limit| limit.min(LIMIT_MAX)), PAGE)
}

fn require_on(flows: &Flows) -> Result<(), Problem> {
    if flows.discovery.is_on() { Ok(()) } else { Err(Problem::NotFound) }
}

async fn list(service: Data<Service>, wanted: Parameters<Wanted>, query: Parameters<ListQuery>) -> HttpResponse {
    answer(&service, |flows| {
        let parameters = parameters(wanted, query);
        async move {
            require_on(&flows)?;
            let (wanted, query) = parameters?;
            let (filter, limit) = (wanted.filter()?, page_of(query.limit)?);
            let offset = query.offset.unwrap_or(0);
            if offset > OFFSET_MAX {
                return Err(Problem::BadParameter(format!("offset is at most {OFFSET_MAX}")));
            }
            let _turn = flows.discovery.turn().await;
            let (listed, total) = if wanted.is_possible() {
                (flows.ledger.list_resources(&filter, limit, offset).await?, flows.ledger.count_resources(&filter).await?)
            } else {
                (Vec::new(), 0)
            };
            let items = listed.into_iter().map(Item::from).collect();
            Reply::ok(&Resources { x402_version: Version::V2.number(), items, pagination: Page { limit, offset, total } })
        }
    })
    .await
}

async fn search(service: Data<Service>, wanted: Parameters<Wanted>, query: Parameters<SearchQuery>) -> HttpResponse {
    answer(&service, |flows| {
        let parameters = parameters(wanted, query);
        async move {
            require_on(&flows)?;
            let (wanted, query) = parameters?;
            let (filter, limit) = (wanted.filter()?, page_of(query.limit)?);
            let words = words(query.query.as_deref())?;
            // A cursor counts what was read, so it is good for this very search.
            let owner = format!("{words:?} {wanted:?}");
            let offset = cursor::<u32>(&owner, query.cursor.as_deref())?.unwrap_or(0).min(OFFSET_MAX);
            let _turn = flows.discovery.turn().await;
            let found = if wanted.is_possible() {
                flows.ledger.search_resources(words, &filter, limit, offset).await?
            } else {
                Vec::new()
            };
            let more = next_cursor(&owner, &found, limit, |_| offset + limit);
            // Nobody turns so many pages.
            let is_cut = more.is_some() && offset + limit > OFFSET_MAX;
            let resources = found.into_iter().map(Item::from).collect();
            let pagination = FoundPage { limit, cursor: more.filter(|_| !is_cut) };
            Reply::ok(&Found { x402_version: Version::V2.number(), resources, partial_results: is_cut, pagination })
        }
    })
    .await
}

fn words(query: Option<&str>) -> Result<&str, Problem> {
    let is_fine = |words: &&str| (1..=QUERY_CHARS_MAX).contains(&words.chars().count()) && !words.contains('\0');
    query
        .map(str::trim)
        .filter(is_fine)
        .ok_or_else(|| Problem::BadParameter(format!("query: 1 to {QUERY_CHARS_MAX} characters are needed")))
}
