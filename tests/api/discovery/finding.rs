//! Lists, filters, pages and searches over a catalogue that is there already.

use chrono::Utc;
use quittance::domain::address::Address;
use quittance::domain::ids::AccountId;
use quittance::domain::reason::Version;
use quittance::ledger::resources::{self, Put, ResourceFilter};
use quittance::ledger::{Ledger, accounts, commit};
use quittance::x402::bazaar::{Kind, Resource, Terms};
use serde_json::{Value, json};

use super::{World, start};
use crate::queue::until_waiting;
use crate::support::database;

const BASE: &str = "eip155:84532";
const SEI: &str = "eip155:1329";

/// A resource that is paid at an address.
pub fn resource(url: &str, pay_to: &str) -> Resource {
    let pay_to = Address::parse_any(pay_to).expect("an address");
    let terms = Terms { network: BASE.parse().expect("a network"), scheme: "exact".to_owned(), asset: pay_to, pay_to };
    Resource {
        version: Version::V2,
        kind: Kind::Http,
        url: url.to_owned(),
        operation: "GET".to_owned(),
        description: None,
        mime_type: None,
        service_name: None,
        tags: Vec::new(),
        icon_url: None,
        bazaar: json!({"info": {"input": {"type": "http", "method": "GET"}}, "schema": true}),
        requirements: json!({"scheme": "exact", "network": BASE, "payTo": pay_to.to_string()}),
        terms,
    }
}

fn address(number: u8) -> String {
    format!("0x{}", format!("{number:02x}").repeat(20))
}

/// Other words for the same resource.
fn described(resource: Resource, name: &str, tags: &[&str], description: &str) -> Resource {
    let tags = tags.iter().map(|&tag| tag.to_owned()).collect();
    Resource { service_name: Some(name.to_owned()), tags, description: Some(description.to_owned()), ..resource }
}

async fn put(ledger: &Ledger, listed: &[Resource]) {
    for resource in listed {
        let mut db = ledger.begin().await.expect("the database answers");
        resources::put(&mut db, None, resource, 1_000, Utc::now()).await.expect("the database answers");
        commit(db).await.expect("the database answers");
    }
}

fn urls(items: &Value) -> Vec<&str> {
    items.as_array().expect("a list").iter().map(|item| item["resource"].as_str().expect("an address")).collect()
}

async fn search(world: &World, parameters: &[(&str, &str)]) -> (u16, Value) {
    let url = format!("{}/discovery/search", world.facilitator.url);
    let url = reqwest::Url::parse_with_params(&url, parameters).expect("an address");
    let answer = world.facilitator.client().get(url).send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_without_an_account_fill_no_more_than_their_share() {
    let ledger = database::ledger(&database::fresh().await).await;
    let full = "INSERT INTO resources (id, owner, x402_version, kind, url, operation, tags, bazaar, words, created_at, paid_at)
                SELECT gen_random_uuid(), 'owner ' || number, 2, 'http', 'https://a.example/', 'GET', '{}', '{}', '', now(), now()
                FROM generate_series(2, 10000) AS number";
    sqlx::raw_sql(full).execute(ledger.pool()).await.expect("they fit");
    let mut put = Vec::new();
    for number in [1, 2, 1] {
        let mut db = ledger.begin().await.expect("the database answers");
        let resource = resource("https://api.example.com/", &address(number));
        put.push(resources::put(&mut db, None, &resource, 10, Utc::now()).await.expect("the database answers"));
        commit(db).await.expect("the database answers");
    }

    assert_eq!(put, [Put::Listed, Put::Full, Put::Listed], "who is there stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_ways_to_pay_the_newest_eight_are_shown() {
    let ledger = database::ledger(&database::fresh().await).await;
    let account = AccountId::new();
    let mut db = ledger.begin().await.expect("the database answers");
    accounts::insert_account(&mut db, account, "somebody", Utc::now()).await.expect("the database answers");
    commit(db).await.expect("the database answers");
    for number in 1..=9 {
        let mut db = ledger.begin().await.expect("the database answers");
        let resource = resource("https://api.example.com/", &address(number));
        resources::put(&mut db, Some(account), &resource, 1, Utc::now()).await.expect("the database answers");
        commit(db).await.expect("the database answers");
    }

    let listed = ledger.list_resources(&ResourceFilter::default(), 10, 0).await.expect("the database answers");
    let recipients: Vec<_> = listed[0].accepts.iter().map(|terms| terms["payTo"].as_str().expect("an address")).collect();
    let newest_first: Vec<_> = (2..=9).rev().map(address).collect();
    assert_eq!(recipients, newest_first);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_two_replicas_add_at_once_is_one_and_takes_one_place() {
    let ledger = database::ledger(&database::fresh().await).await;
    let [weather, other] = ["weather", "other"].map(|path| resource(&format!("https://api.example.com/{path}"), &address(1)));
    let put = async |resource: &Resource| {
        let mut db = ledger.begin().await.expect("the database answers");
        let put = resources::put(&mut db, None, resource, 1, Utc::now()).await.expect("the database answers");
        commit(db).await.expect("the database answers");
        put
    };

    let mut first = ledger.begin().await.expect("the database answers");
    resources::put(&mut first, None, &weather, 1, Utc::now()).await.expect("the database answers");
    let second = async {
        let newer = described(weather.clone(), "Skies", &[], "newer");
        (put(&newer).await, put(&other).await)
    };
    let release = async {
        until_waiting(&ledger, 1).await;
        commit(first).await.expect("the database answers");
    };
    let (put, ()) = tokio::join!(second, release);

    assert_eq!(put, (Put::Listed, Put::Full));
    let listed = ledger.list_resources(&ResourceFilter::default(), 10, 0).await.expect("the database answers");
    assert_eq!(listed.iter().map(|one| one.description.as_deref()).collect::<Vec<_>>(), [Some("newer")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_are_listed_by_what_is_wanted_of_them() {
    let world = start("").await;
    let (one, other) = (address(1), address(2));
    let here = |path: &str, pay_to: &str| resource(&format!("https://api.example.com/{path}"), pay_to);
    let sei = |resource: Resource| {
        let terms = Terms { network: SEI.parse().expect("a network"), scheme: "upto".to_owned(), ..resource.terms.clone() };
        Resource { terms, ..resource }
    };
    let tool = Resource { kind: Kind::Mcp, operation: "translate".to_owned(), ..here("mcp", &other) };
    // The first can be paid for in two ways: exactly on Base and up to an amount on Sei.
    put(&world.ledger, &[here("a", &one), sei(here("a", &one)), here("b", &other), tool, sei(here("c", &one))]).await;

    for (query, expected) in [
        (String::new(), vec!["a", "b", "mcp", "c"]),
        ("?type=http".to_owned(), vec!["a", "b", "c"]),
        ("?type=mcp".to_owned(), vec!["mcp"]),
        ("?type=gopher".to_owned(), vec![]),
        (format!("?payTo={other}"), vec!["b", "mcp"]),
        (format!("?payTo={}", other.to_uppercase().replace("0X", "0x")), vec!["b", "mcp"]),
        (format!("?payTo={}", address(3)), vec![]),
        ("?scheme=upto".to_owned(), vec!["a", "c"]),
        (format!("?network={SEI}"), vec!["a", "c"]),
        ("?network=sei".to_owned(), vec!["a", "c"]),
        (format!("?network={SEI}&scheme=exact"), vec![]),
        (format!("?network={BASE}&scheme=exact&payTo={one}&type=http"), vec!["a"]),
        ("?network=eip155:1".to_owned(), vec![]),
        ("?extensions=bazaar".to_owned(), vec!["a", "b", "mcp", "c"]),
        ("?extensions=sign-in-with-x".to_owned(), vec![]),
        ("?something=else".to_owned(), vec!["a", "b", "mcp", "c"]),
        ("?limit=2".to_owned(), vec!["a", "b"]),
        ("?limit=2&offset=2".to_owned(), vec!["mcp", "c"]),
        ("?type=http&limit=2&offset=2".to_owned(), vec!["c"]),
        ("?offset=9".to_owned(), vec![]),
    ] {
        let page = world.listed(&query).await;
        let expected: Vec<_> = expected.iter().map(|path| format!("https://api.example.com/{path}")).collect();
        assert_eq!(urls(&page["items"]), expected, "{query}");
    }
    let page = world.listed("?type=http&limit=2&offset=1").await;
    assert_eq!(page["pagination"], json!({"limit": 2, "offset": 1, "total": 3}));
    assert_eq!(world.listed("").await["pagination"], json!({"limit": 20, "offset": 0, "total": 4}));
    assert_eq!(world.listed("?limit=1000").await["pagination"], json!({"limit": 100, "offset": 0, "total": 4}));
    assert_eq!(world.listed("").await["items"][0]["accepts"].as_array().map(Vec::len), Some(2));
    for query in ["?limit=0", "?limit=many", "?offset=-1", "?offset=100001", "?payTo=me", "?network=nowhere", "?type=%00"] {
        let (status, problem) = world.facilitator.get(&format!("/discovery/resources{query}")).await;
        assert_eq!((status, &problem["code"]), (400, &json!("bad_parameter")), "{query}");
    }
    let url = format!("{}/discovery/resources", world.facilitator.url);
    let posted = world.facilitator.client().post(url).send().await.expect("an answer");
    assert_eq!(posted.status().as_u16(), 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_are_found_by_words() {
    let world = start("").await;
    let here = |path: &str| resource(&format!("https://api.example.com/{path}"), &address(1));
    let tool = Resource { kind: Kind::Mcp, operation: "translate_text".to_owned(), ..here("mcp") };
    put(
        &world.ledger,
        &[
            described(here("v1/air-quality"), "Clean Air", &["air"], "How clean the air of a city is, and its weather"),
            described(here("forecast"), "Skies", &["weather", "forecast"], "What comes tomorrow"),
            described(here("old"), "Annals", &["history"], "Weathers of the past"),
            described(tool, "Babel", &["language"], "Translates whatever you say"),
        ],
    )
    .await;

    for (query, expected) in [
        // Names and tags count for more than descriptions; words are found in any of their forms.
        ("weather", vec!["forecast", "v1/air-quality", "old"]),
        ("WEATHER forecast", vec!["forecast"]),
        ("weather -skies", vec!["v1/air-quality", "old"]),
        ("\"air of a city\"", vec!["v1/air-quality"]),
        ("quality", vec!["v1/air-quality"]),
        ("translating", vec!["mcp"]),
        ("history or language", vec!["old", "mcp"]),
        ("the", vec![]),
        ("submarine", vec![]),
        ("'; DROP TABLE resources; --", vec![]),
        ("& | ! ( ) : * <-> \\ \"", vec![]),
    ] {
        let (status, found) = search(&world, &[("query", query)]).await;
        assert_eq!(status, 200, "{query}: {found}");
        let expected: Vec<_> = expected.iter().map(|path| format!("https://api.example.com/{path}")).collect();
        let mut urls = urls(&found["resources"]);
        if query.contains(" or ") {
            urls.sort_unstable_by_key(|url| url.contains("mcp"));
        }
        assert_eq!(urls, expected, "{query}");
        assert_eq!((&found["partialResults"], &found["x402Version"]), (&json!(false), &json!(2)));
        assert_eq!(found["pagination"], json!({"limit": 20, "cursor": null}));
    }
    let mcp = search(&world, &[("query", "translates"), ("type", "http")]).await;
    assert_eq!(mcp.1["resources"], json!([]));
    let long = "a".repeat(401);
    for parameters in [
        vec![],
        vec![("query", " ")],
        vec![("query", long.as_str())],
        vec![("query", "a\0b")],
        vec![("query", "a"), ("limit", "0")],
    ] {
        let (status, problem) = search(&world, &parameters).await;
        assert_eq!((status, &problem["code"]), (400, &json!("bad_parameter")), "{parameters:.40?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_comes_in_pages() {
    let world = start("").await;
    let listed: Vec<_> =
        (0..5).map(|number| resource(&format!("https://api.example.com/weather/{number}"), &address(1))).collect();
    put(&world.ledger, &listed).await;

    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut parameters = vec![("query", "weather"), ("limit", "2")];
        parameters.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let (status, found) = search(&world, &parameters).await;
        assert_eq!(status, 200, "{found}");
        seen.extend(urls(&found["resources"]).into_iter().map(str::to_owned));
        let Some(next) = found["pagination"]["cursor"].as_str() else { break };
        cursor = Some(next.to_owned());
    }

    assert_eq!(seen, listed.iter().map(|resource| resource.url.clone()).collect::<Vec<_>>());
    let cursor = cursor.expect("there was more than a page");
    for parameters in [
        [("query", "weather of"), ("cursor", cursor.as_str())],
        [("query", "weather"), ("cursor", "2")],
        [("query", "weather"), ("cursor", "")],
    ] {
        assert_eq!(search(&world, &parameters).await.0, 400, "{parameters:?}");
    }
}
