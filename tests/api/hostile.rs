//! What arrives before anybody reads a body: requests that two readers would read differently, too much of everything, and clients that
//! take their time or leave.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::Terms;
use crate::support::raw::{self, Raw};
use crate::support::{database, eventually, http_client};

/// Within this a connection is answered or cut.
const PATIENCE: Duration = Duration::from_mins(1);

async fn start() -> (Chain, Facilitator) {
    let chain = Chain::start(ChainOptions::default()).await;
    let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &database::fresh().await)).await;
    (chain, facilitator)
}

fn host(facilitator: &Facilitator) -> &str {
    facilitator.url.trim_start_matches("http://")
}

async fn connect(facilitator: &Facilitator) -> TcpStream {
    TcpStream::connect(host(facilitator)).await.expect("it listens")
}

/// Everything that is answered until the connection is closed.
async fn rest_of(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // Whoever is cut while it still sends may learn so by a reset.
    drop(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection is closed"));
    String::from_utf8_lossy(&answer).into_owned()
}

/// What answers these bytes, until the connection is closed.
async fn ask(facilitator: &Facilitator, bytes: &[u8]) -> String {
    let mut stream = connect(facilitator).await;
    drop(stream.write_all(bytes).await);
    rest_of(&mut stream).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_two_readers_would_read_differently_is_refused_and_its_connection_closed() {
    let (_chain, facilitator) = start().await;

    let mut faults = Vec::new();
    for raw in Raw::all() {
        let request = raw.bytes(host(&facilitator));
        let answer = ask(&facilitator, &request).await;
        let answers = answer.matches("HTTP/1.1 ").count();
        let status = answer.strip_prefix("HTTP/1.1 ").and_then(|answer| answer.get(..3)).unwrap_or("cut");
        // Whoever still sends when it is refused may learn no more than that.
        let may_be_cut = raw.expect == "cut" || request.len() > 16 * 1024;
        let right = status == raw.expect && answers == usize::from(status != "cut");
        let wrong = !(right || may_be_cut && matches!(status, "cut" | "400"));
        if wrong {
            faults.push(format!("{}, {}: {answers} answers: {}", raw.row, raw.name, answer.lines().next().unwrap_or_default()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(facilitator.get("/health").await.0, 200);
}

/// A connection from another address.
async fn connect_from(facilitator: &Facilitator, source: [u8; 4]) -> TcpStream {
    raw::connect_from(host(facilitator), source).await.expect("it listens")
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_take_their_time_are_cut_and_keep_nobody_waiting() {
    const SLOW: usize = 500;
    let (chain, facilitator) = start().await;
    let drip = async |mut stream: TcpStream, drop_of: &[u8]| {
        let mut answer = [0; 2048];
        loop {
            tokio::select! {
                read = stream.read(&mut answer) => match read {
                    // The first request of those that send a second one.
                    Ok(read) if answer[..read].starts_with(b"HTTP/1.1 200") => {}
                    Ok(read) => return read == 0 || answer.starts_with(b"HTTP/1.1 408"),
                    Err(_) => return true,
                },
                () = tokio::time::sleep(Duration::from_millis(500)) => drop(stream.write_all(drop_of).await),
            }
        }
    };
    let mut slow = Vec::new();
    for number in 0..SLOW {
        let mut stream = connect(&facilitator).await;
        let first = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
        let post = "POST /settle HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
        let (begin, drop_of): (_, &[u8]) = match number % 6 {
            0 => ("GET /health HTTP/1.1\r\nX: ".to_owned(), b"a"),
            1 => (format!("{post}Content-Length: 9999\r\n\r\n"), b"a"),
            2 => (format!("{post}Transfer-Encoding: chunked\r\n\r\n"), b"1\r\na\r\n"),
            3 => (format!("{first}GET /h"), b"a"),
            4 => (first.to_owned(), b"\r\n"),
            _ => ("GET /h".to_owned(), b"a"),
        };
        stream.write_all(begin.as_bytes()).await.expect("it reads");
        slow.push(drip(stream, drop_of));
    }

    let good = async {
        for payer in 0..5 {
            let signed = chain.payers[payer].authorize(&Terms::to(&chain.text("/accounts/merchant/address")));
            let (_, settled) = facilitator.settle(&signed.v2()).await;
            assert_eq!(settled["success"], true, "{settled}");
        }
    };
    let (cut, ()) = tokio::join!(tokio::time::timeout(PATIENCE, join_all(slow)), good);
    assert!(cut.expect("all of them are cut").into_iter().all(|cut| cut));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_come_in_one_stream_are_each_processed_once() {
    const REQUESTS: usize = 1_000;
    let (chain, facilitator) = start().await;
    let signed = chain.payers[0].authorize(&Terms::to(&chain.text("/accounts/merchant/address")));
    let body = signed.v2().to_string();
    let request = |last: bool| {
        let (host, close) = (host(&facilitator), if last { "Connection: close\r\n" } else { "" });
        let head = format!("POST /settle HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{close}");
        format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    let stream: String = (1..=REQUESTS).map(|number| request(number == REQUESTS)).collect();

    let (mut reader, mut writer) = connect(&facilitator).await.into_split();
    let write = async { writer.write_all(stream.as_bytes()).await.expect("it reads") };
    let mut answer = String::new();
    let (read, ()) = tokio::join!(tokio::time::timeout(PATIENCE * 2, reader.read_to_string(&mut answer)), write);
    read.expect("it ends").expect("it is text");

    let count = |words: &str| answer.matches(words).count();
    let told = (count("HTTP/1.1 200 OK"), count("\"success\":true"), count("duplicate_settlement"));
    assert_eq!(told, (REQUESTS, 1, REQUESTS - 1));
    assert_eq!(chain.transfers_to(&signed.terms.pay_to).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_goes_on_though_its_client_has_left() {
    let (chain, facilitator) = start().await;
    let signed = chain.payers[0].authorize(&Terms::to(&chain.text("/accounts/merchant/address")));
    let body = signed.v2();
    chain.rpc("evm_setAutomine", json!([false])).await;
    let text = body.to_string();
    let head = format!("POST /settle HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n", host(&facilitator));
    let mut stream = connect(&facilitator).await;
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{text}", text.len()).as_bytes()).await.expect("it reads");
    eventually("a transaction", PATIENCE, || async { (chain.pooled().await > 0).then_some(()) }).await;
    drop(stream);
    eventually("the end of the request", PATIENCE, || async {
        (facilitator.metric("quittance_http_requests_in_flight").await == 0.0).then_some(())
    })
    .await;
    chain.mine(1).await;

    let settled = facilitator.settle_patiently(&body, PATIENCE).await;
    assert_eq!(settled["success"], true, "whoever comes back is told: {settled}");
    assert_eq!(chain.transfers_to(&signed.terms.pay_to).await.len(), 1);
}

/// More than there are connections to the database.
const CROWD: usize = 40;

/// Lets a crowd ask for what cannot be read, because somebody has locked `table`. Returns what it is answered afterwards, and what somebody
/// else is told in the meantime whose request needs the database as well.
async fn crowd_before(table: &str, ask: impl AsyncFn(&Facilitator) -> u16) -> (Vec<u16>, u16) {
    let chain = Chain::start(ChainOptions::default()).await;
    let url = database::fresh().await;
    let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &url)).await;
    let mut hold = database::ledger(&url).await.begin().await.expect("the database answers");
    let lock = sqlx::AssertSqlSafe(format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"));
    sqlx::raw_sql(lock).execute(&mut *hold).await.expect("others wait");

    let is_over = AtomicBool::new(false);
    let crowd = join_all((0..CROWD).map(async |_| {
        // What was read before is believed for a moment.
        loop {
            let status = ask(&facilitator).await;
            if is_over.load(Ordering::Relaxed) {
                return status;
            }
        }
    }));
    let other = async {
        eventually("a crowd that waits", PATIENCE, || async {
            (facilitator.metric("quittance_http_requests_in_flight").await >= CROWD as f64).then_some(())
        })
        .await;
        let (status, _) = facilitator.get("/v1/payments/pay_00000000000070008000000000000000").await;
        is_over.store(true, Ordering::Relaxed);
        hold.rollback().await.expect("the database answers");
        status
    };
    tokio::join!(crowd, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_asks_how_networks_stand_leaves_the_database_to_others() {
    let (crowd, other) = crowd_before("networks", async |facilitator| facilitator.get("/supported").await.0).await;

    assert_eq!(other, 404);
    assert_eq!(crowd, [200; CROWD]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_makes_keys_up_leaves_the_database_to_others() {
    let key = format!("key_{}.{}", "0".repeat(32), "ab".repeat(32));
    let (crowd, other) = crowd_before("api_keys", async |facilitator| {
        let request = http_client().get(format!("{}/supported", facilitator.url)).bearer_auth(&key);
        request.send().await.expect("it answers").status().as_u16()
    })
    .await;

    assert_eq!(other, 404);
    assert_eq!(crowd, [401; CROWD]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_in_the_middle_of_a_body_leaves_nothing_behind() {
    let (chain, facilitator) = start().await;
    let signed = chain.payers[0].authorize(&Terms::to(&chain.text("/accounts/merchant/address")));
    let body = signed.v2();
    let text = body.to_string();
    for framing in [format!("Content-Length: {}\r\n\r\n", text.len()), "Transfer-Encoding: chunked\r\n\r\nfff\r\n".to_owned()] {
        let head = format!("POST /settle HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n", host(&facilitator));
        let mut stream = connect(&facilitator).await;
        stream.write_all(format!("{head}{framing}{}", &text[..text.len() - 1]).as_bytes()).await.expect("it reads");
        drop(stream);
    }

    eventually("the end of the requests", PATIENCE, || async {
        (facilitator.metric("quittance_http_requests_in_flight").await == 0.0).then_some(())
    })
    .await;
    assert_eq!(chain.transfers_to(&signed.terms.pay_to).await.len(), 0);
    let settled = facilitator.settle_patiently(&body, PATIENCE).await;
    assert_eq!(settled["success"], true, "nobody else had it: {settled}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_read_their_answers_are_cut() {
    const DEAF: usize = 20;
    let (_chain, facilitator) = start().await;
    let request = format!("GET /supported HTTP/1.1\r\nHost: {}\r\n\r\n", host(&facilitator)).repeat(64);
    let deaf = (0..DEAF).map(async |_| {
        let mut stream = raw::connect_deaf(host(&facilitator), [127, 0, 0, 1]).await.expect("it listens");
        // Soon nothing is taken any more, and then the connection breaks.
        while stream.write_all(request.as_bytes()).await.is_ok() {}
    });

    let good = async {
        for _ in 0..20 {
            assert_eq!(facilitator.get("/supported").await.0, 200);
        }
    };
    let (cut, ()) = tokio::join!(tokio::time::timeout(PATIENCE * 2, join_all(deaf)), good);
    assert_eq!(cut.expect("all of them are cut").len(), DEAF);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_connections_leave_room_for_a_good_client() {
    const ADDRESSES: u8 = 4;
    const EACH: usize = 500;
    let (chain, facilitator) = start().await;
    let mut idle = Vec::new();
    for address in 0..ADDRESSES {
        for _ in 0..EACH {
            idle.push(connect_from(&facilitator, [127, 0, 1, address]).await);
        }
    }

    let signed = chain.payers[0].authorize(&Terms::to(&chain.text("/accounts/merchant/address")));
    assert_eq!(facilitator.settle(&signed.v2()).await.1["success"], true);

    let cut = join_all(idle.iter_mut().map(rest_of)).await;
    assert!(cut.iter().all(|answer| answer.is_empty() || answer.starts_with("HTTP/1.1 408")), "all of them are cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_so_many_connections_and_no_more() {
    const EACH: usize = 10;
    let chain = Chain::start(ChainOptions::default()).await;
    let options = Options::new(NetworkOptions::of(&chain), &database::fresh().await);
    let server = format!("access = \"open\"\nconnections_per_address_max = {EACH}\ntrusted_proxies = [\"127.0.3.0/24\"]\n");
    let facilitator = Facilitator::start(&Options { server, ..options }).await;
    let get = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", host(&facilitator));
    let is_served = async |stream: &mut TcpStream| {
        drop(stream.write_all(get.as_bytes()).await);
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.is_ok() && &status == b"HTTP/1.1 200"
    };

    let mut greedy = Vec::new();
    for _ in 0..EACH {
        greedy.push(connect_from(&facilitator, [127, 0, 2, 1]).await);
        assert!(is_served(greedy.last_mut().expect("one")).await);
    }
    assert!(!is_served(&mut connect_from(&facilitator, [127, 0, 2, 1]).await).await, "one too many");
    assert!(is_served(&mut connect_from(&facilitator, [127, 0, 2, 2]).await).await, "another address");
    let mut proxied = Vec::new();
    for _ in 0..=EACH {
        proxied.push(connect_from(&facilitator, [127, 0, 3, 1]).await);
        assert!(is_served(proxied.last_mut().expect("one")).await, "a proxy of the operator's");
    }
    assert!(facilitator.metric("quittance_connections_refused_total").await >= 1.0);

    greedy.pop();
    eventually("room", PATIENCE, || async {
        is_served(&mut connect_from(&facilitator, [127, 0, 2, 1]).await).await.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_that_do_not_end_take_up_no_more_than_their_room() {
    const LARGE: usize = 250_000;
    let (chain, facilitator) = start().await;
    let begin = format!(
        "POST /verify HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
        host(&facilitator),
        LARGE + 1,
        " ".repeat(LARGE)
    );
    let heavy = (0..400).map(async |_| {
        let mut stream = connect(&facilitator).await;
        drop(stream.write_all(begin.as_bytes()).await);
        rest_of(&mut stream).await
    });
    let signed = chain.payers[0].authorize(&Terms::to(&chain.text("/accounts/merchant/address")));
    let good = async {
        for _ in 0..20 {
            let (status, verified) = facilitator.verify(&signed.v2()).await;
            assert_eq!((status, &verified["isValid"]), (200, &json!(true)), "{verified}");
        }
    };

    let (answers, ()) = tokio::join!(join_all(heavy), good);
    let count = |status: &str| answers.iter().filter(|answer| answer.starts_with(status)).count();
    assert!(count("HTTP/1.1 408") > 0 && count("HTTP/1.1 503") > 0, "some waited, and some found no room");
    assert!(answers.iter().any(|answer| answer.contains("too_many_bodies")));
}
