//! Strangers who do at once everything that costs them little, beside a good client.
//!
//! They have a fifth of a core, or less in the short form: all of them run on one thread, which measures the processor time that it has used
//! and sleeps when that is more than its share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use prost::Message as _;
use quittance::grpc::v1::facilitator_client::FacilitatorClient;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Request;

use super::{World, is_full, report, scale};
use crate::support::chain::ChainOptions;
use crate::support::cli::open_account;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::raw::{Raw, connect_deaf, connect_from};
use crate::support::{frames, grpc};

/// What the strangers have of a core: a fifth. Where nothing is optimized the service takes several times as long for what they send, and shares
/// the machine with other tests, so they have a fifth of that.
fn share() -> f64 {
    if is_full() { 0.2 } else { 0.04 }
}

/// Lines of the log, however many strangers come: who causes a line each time fills the disk.
const LINES_MAX: usize = 1_000;

/// Between two requests of the good client: it is not to be the load itself, also where nothing is optimized.
fn pace_of_good_client() -> Duration {
    Duration::from_millis(if is_full() { 20 } else { 100 })
}

/// What the client sends at once that waits for no answer before it sends the next call.
const AT_ONCE: usize = 8;

/// How much longer than without strangers the good client may wait, of a hundred requests the slowest left out.
const RATIO_MAX: f64 = 3.0;

#[tokio::test(flavor = "multi_thread")]
async fn strangers_with_a_fifth_of_a_core_neither_fill_the_service_nor_hold_up_a_good_client() {
    let (crowd, seconds) = (scale(10, 500), scale(5, 60));
    let world = World::new(ChainOptions::default()).await;
    // As an operator gets it, with all its limits.
    let options = Options::new(NetworkOptions::of(&world.chain), &world.database);
    let facilitator = Facilitator::start(&Options { server: "access = \"open\"\n[limits]\n".to_owned(), ..options }).await;
    let bodies: Vec<Value> = (0..20).map(|payer| world.signed(payer).v2()).collect();

    let key = open_account(&facilitator, "provider").await.key;

    good_clients(&facilitator, &key, &bodies, seconds).await;
    let (before, _) = good_clients(&facilitator, &key, &bodies, seconds).await;
    let attack = Attack::start(&facilitator, crowd, &bodies[0]);
    // Until the first of them are cut, everything is there at once.
    let without_key = verify_at_once(&facilitator, None, &bodies, 1);
    let ((during, at_once), late) = tokio::join!(good_clients(&facilitator, &key, &bodies, seconds), without_key);
    let kinds = attack.kinds;
    let (took, tally) = attack.stop();
    let (peak, lines) = (facilitator.peak_mib(), facilitator.log().lines().count());

    let ratio = p99(&during).as_secs_f64() / p99(&before).as_secs_f64();
    report(
        "hostile",
        &format!(
            "{} connections and {} requests of {kinds} kinds by strangers over HTTP and gRPC with {took:.2} of a core in {seconds} s: \
             at most {peak:.0} MiB and {lines} lines of log; {} verifies of a good client over both, 0 failed, p99 {:?} without them and {:?} beside them, {ratio:.2} times; \
             {} verifies of one that sends {AT_ONCE} at once on one connection, with a key, 0 failed, p99 {:?}; the last of {AT_ONCE} at once without a key \
             waited {:?} for its turn",
            tally.connections.load(Ordering::Relaxed),
            tally.requests.load(Ordering::Relaxed),
            during.len(),
            p99(&before),
            p99(&during),
            at_once.len(),
            p99(&at_once),
            late[AT_ONCE - 1],
        ),
    );
    let begun = (kinds * crowd) as u64;
    assert!(tally.connections.load(Ordering::Relaxed) > begun, "none of them came a second time");
    assert!(peak < super::MEMORY_MIB_MAX, "{peak} MiB");
    assert!(lines < LINES_MAX, "{lines} lines of log");
    assert!(!is_full() || ratio <= RATIO_MAX, "{ratio}");
    assert_eq!(facilitator.verify(&bodies[0]).await.1["isValid"], true);
}

/// How long each verify took of a good client that asks steadily, and of one with a key that has many calls under way on its connection.
async fn good_clients(facilitator: &Facilitator, key: &str, bodies: &[Value], seconds: usize) -> (Vec<Duration>, Vec<Duration>) {
    tokio::join!(verify_steadily(facilitator, bodies, seconds), verify_at_once(facilitator, Some(key), bodies, seconds))
}

/// Sends so many verifies at once over gRPC, once a second, and returns how long each took. Without a key all but the first wait for turns,
/// behind strangers who do the same, and are answered.
async fn verify_at_once(facilitator: &Facilitator, key: Option<&str>, bodies: &[Value], seconds: usize) -> Vec<Duration> {
    let client = FacilitatorClient::new(grpc::connect(facilitator));
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let mut times = Vec::with_capacity(seconds * AT_ONCE);
    for _ in 0..seconds {
        ticks.tick().await;
        let asked = bodies.iter().cycle().take(AT_ONCE).map(async |body| {
            let sent = Instant::now();
            let request = grpc::verify(body);
            let request = key.map_or_else(|| Request::new(request.clone()), |key| grpc::keyed(request.clone(), key));
            let answer = client.clone().verify(request).await.expect("an answer").into_inner();
            assert!(answer.is_valid, "{answer:?}");
            sent.elapsed()
        });
        times.extend(join_all(asked).await);
    }
    times.sort();
    times
}

/// Verifies at a steady rate, whether or not the last one was answered, each second time over gRPC, and returns how long each took from
/// when it was due.
async fn verify_steadily(facilitator: &Facilitator, bodies: &[Value], seconds: usize) -> Vec<Duration> {
    let pace = pace_of_good_client();
    let requests = seconds * 1_000 / pace.as_millis() as usize;
    let channel = FacilitatorClient::new(grpc::connect(facilitator));
    let begin = tokio::time::Instant::now();
    let asked = (0..requests).map(async |number| {
        let due = begin + pace * number as u32;
        tokio::time::sleep_until(due).await;
        let body = &bodies[number % bodies.len()];
        if number % 2 == 0 {
            let (status, answer) = facilitator.verify(body).await;
            assert_eq!((status, &answer["isValid"]), (200, &json!(true)), "{answer}");
        } else {
            let answer = channel.clone().verify(grpc::verify(body)).await.expect("an answer").into_inner();
            assert!(answer.is_valid, "{answer:?}");
        }
        due.elapsed()
    });
    let mut times = join_all(asked).await;
    times.sort();
    times
}

fn p99(sorted: &[Duration]) -> Duration {
    sorted[sorted.len() * 99 / 100]
}

/// What the strangers did.
#[derive(Default)]
struct Tally {
    connections: AtomicU64,
    requests: AtomicU64,
}

/// The strangers, on their thread.
struct Attack {
    /// How many things they do.
    kinds: usize,
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
    thread: JoinHandle<f64>,
}

impl Attack {
    /// Begins with so many connections of each kind.
    fn start(facilitator: &Facilitator, crowd: usize, payment: &Value) -> Self {
        let (stop, tally) = (Arc::<AtomicBool>::default(), Arc::<Tally>::default());
        let targets = [
            Target::http(host(&facilitator.url), payment, Arc::clone(&tally)),
            Target::grpc(host(&facilitator.grpc), payment, Arc::clone(&tally)),
        ];
        let kinds = targets.iter().map(Target::kinds).sum();
        let ordered = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let all = targets.iter().flat_map(|target| (0..crowd).map(|number| target.everything(number)));
                tokio::select! { took = pace(&ordered) => took, _ = join_all(all) => unreachable!("they never end") }
            })
        });
        Self { kinds, stop, tally, thread }
    }

    /// Ends it, and returns how much of a core it took.
    fn stop(self) -> (f64, Arc<Tally>) {
        self.stop.store(true, Ordering::Relaxed);
        (self.thread.join().expect("it ends"), self.tally)
    }
}

/// Holds this thread to its share until it is told to stop.
async fn pace(stop: &AtomicBool) -> f64 {
    let (begin, share) = (Instant::now(), share());
    while !stop.load(Ordering::Relaxed) {
        let over = processor_time().as_secs_f64() - share * begin.elapsed().as_secs_f64();
        if over > 0.0 {
            // All of them stand still.
            std::thread::sleep(Duration::from_secs_f64(over / share));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    processor_time().as_secs_f64() / begin.elapsed().as_secs_f64()
}

/// What this thread has used of a processor.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    Duration::from_nanos(text.split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok()).expect("a number"))
}

fn host(url: &str) -> &str {
    url.trim_start_matches("http://")
}

/// Whom the strangers are after, and what they send.
struct Target {
    host: String,
    tally: Arc<Tally>,
    /// A part of their addresses, so that each listener has its own.
    part: u8,
    /// The beginnings that they drip the rest of, each with its drops.
    drips: Vec<(Vec<u8>, Vec<u8>)>,
    /// What those begin with that read no answer, and what they go on with, which is so many requests.
    unread: (Vec<u8>, Vec<u8>, u64),
    /// What is sent whole, again and again.
    repeated: Vec<Vec<Vec<u8>>>,
    /// A payment, by those who leave.
    payment: Vec<u8>,
}

/// The payment as somebody would have it who has not signed it.
fn forged(payment: &str) -> String {
    payment.replacen("\"signature\":\"0x", "\"signature\":\"0x0", 1)
}

impl Target {
    fn http(host: &str, payment: &Value, tally: Arc<Tally>) -> Self {
        let get = format!("GET /supported HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let post = format!("POST /verify HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n");
        let whole = |body: &str| format!("{post}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes();
        let key = format!("Authorization: Bearer key_{}.{}", "0".repeat(32), "ab".repeat(32));
        let large = format!("{post}Content-Length: 250001\r\n\r\n{}", " ".repeat(250_000));
        let payment = payment.to_string();
        Self {
            host: host.to_owned(),
            tally,
            part: 1,
            drips: vec![
                (b"GET /health HTTP/1.1\r\nX: ".to_vec(), b"a".to_vec()),
                (format!("{post}Content-Length: 9999\r\n\r\n").into_bytes(), b" ".to_vec()),
                (format!("{post}Transfer-Encoding: chunked\r\n\r\n").into_bytes(), b"1\r\n \r\n".to_vec()),
                (get.clone().into_bytes(), b"\r\n".to_vec()),
                (Vec::new(), Vec::new()),
                (large.into_bytes(), Vec::new()),
            ],
            unread: (Vec::new(), get.repeat(64).into_bytes(), 64),
            repeated: vec![
                vec![get.repeat(1_000).into_bytes()],
                Raw::all().iter().map(|raw| raw.bytes(host)).collect(),
                vec![
                    whole(&forged(&payment)),
                    whole(&"[".repeat(4_000)),
                    get.replace("\r\n\r\n", &format!("\r\n{key}\r\n\r\n")).into_bytes(),
                ],
            ],
            payment: whole(&payment),
        }
    }

    fn grpc(host: &str, payment: &Value, tally: Arc<Tally>) -> Self {
        const VERIFY: &str = "/quittance.v1.Facilitator/Verify";
        const SUPPORTED: &str = "/quittance.v1.Facilitator/Supported";
        let begin = || frames::begin(1 << 16);
        let open = |number, path| frames::open(frames::stream(number), host, path);
        let call = |number, path, message: &[u8]| [open(number, path), frames::message(frames::stream(number), message)].concat();
        let many = |path, message: &[u8]| (0..1_000).flat_map(|number| call(number, path, message)).collect::<Vec<u8>>();
        let taken_back =
            (0..1_000).flat_map(|number| [open(number, VERIFY), frames::reset(frames::stream(number))].concat()).collect();
        let endless = [frames::open_without_end(1, host, VERIFY), frames::more_headers(1).repeat(8)].concat();
        let mut verify = grpc::verify(payment);
        let good = verify.encode_to_vec();
        verify.payment_payload = forged(&verify.payment_payload);
        Self {
            host: host.to_owned(),
            tally,
            part: 2,
            drips: vec![
                (b"PRI * HTTP/2.0\r\n".to_vec(), Vec::new()),
                (begin(), frames::ping()),
                ([begin(), open(0, VERIFY)].concat(), frames::ping()),
                ([begin(), frames::open_without_end(1, host, VERIFY)].concat(), Vec::new()),
                ([frames::begin(0), call(0, SUPPORTED, b"")].concat(), frames::ping()),
                ([begin(), call(0, "/grpc.health.v1.Health/Watch", b"")].concat(), frames::ping()),
            ],
            unread: ([frames::begin(0), many(SUPPORTED, b"")].concat(), frames::ping().repeat(64), 64),
            repeated: vec![
                vec![[begin(), many(SUPPORTED, b"")].concat()],
                vec![[begin(), taken_back].concat(), [begin(), endless].concat()],
                vec![
                    [begin(), call(0, VERIFY, &verify.encode_to_vec())].concat(),
                    [begin(), call(0, VERIFY, &[0xff; 4_000])].concat(),
                    [begin(), frames::ping().repeat(1_000)].concat(),
                    b"GET / HTTP/1.1\r\n\r\n".to_vec(),
                ],
            ],
            payment: [begin(), call(0, VERIFY, &good)].concat(),
        }
    }

    /// Those who drip, those who repeat, one who reads nothing, and one who leaves.
    fn kinds(&self) -> usize {
        self.drips.len() + self.repeated.len() + 2
    }

    /// One stranger of each kind, each from an address that it shares with few others.
    async fn everything(&self, number: usize) {
        let source = |kind: usize| [127, self.part, kind as u8, 1 + (number % 200) as u8];
        let drips = self.drips.iter().enumerate().map(|(kind, (begin, more))| self.drip(source(kind), begin, more));
        let repeats = self.repeated.iter().enumerate().map(|(kind, requests)| self.repeat(source(10 + kind), requests));
        let (deaf, leaving) = (self.deaf(source(20)), self.leave(source(21)));
        tokio::join!(join_all(drips), join_all(repeats), deaf, leaving);
    }

    async fn connect(&self, source: [u8; 4]) -> Option<TcpStream> {
        self.tally.connections.fetch_add(1, Ordering::Relaxed);
        let stream = connect_from(&self.host, source).await;
        if stream.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        stream.ok()
    }

    /// Begins something and goes on with it a little each second, until it is cut off. Then it begins anew.
    async fn drip(&self, source: [u8; 4], begin: &[u8], more: &[u8]) {
        loop {
            let Some(mut stream) = self.connect(source).await else { continue };
            drop(stream.write_all(begin).await);
            let mut answer = [0; 2048];
            loop {
                tokio::select! {
                    read = stream.read(&mut answer) => if matches!(read, Ok(0) | Err(_)) { break },
                    () = tokio::time::sleep(Duration::from_secs(1)) => drop(stream.write_all(more).await),
                }
            }
        }
    }

    /// Asks and asks, and reads nothing.
    async fn deaf(&self, source: [u8; 4]) {
        loop {
            self.tally.connections.fetch_add(1, Ordering::Relaxed);
            let Ok(mut stream) = connect_deaf(&self.host, source).await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (begin, more, requests) = &self.unread;
            drop(stream.write_all(begin).await);
            while stream.write_all(more).await.is_ok() {
                self.tally.requests.fetch_add(*requests, Ordering::Relaxed);
            }
        }
    }

    /// Sends each of these on a connection of its own, again and again, and reads what comes.
    async fn repeat(&self, source: [u8; 4], requests: &[Vec<u8>]) {
        for request in requests.iter().cycle() {
            let Some(stream) = self.connect(source).await else { continue };
            let (mut reader, mut writer) = stream.into_split();
            self.tally.requests.fetch_add(1, Ordering::Relaxed);
            let mut room = [0; 4096];
            let read = async { while reader.read(&mut room).await.is_ok_and(|read| read > 0) {} };
            let both = async { tokio::join!(read, async { drop(writer.write_all(request).await) }) };
            // Whoever is kept alive goes by itself.
            drop(tokio::time::timeout(Duration::from_secs(3), both).await);
        }
    }

    /// Asks and leaves before it is answered.
    async fn leave(&self, source: [u8; 4]) {
        let request = &self.payment;
        for cut in [request.len(), request.len() / 2].into_iter().cycle() {
            let Some(mut stream) = self.connect(source).await else { continue };
            self.tally.requests.fetch_add(1, Ordering::Relaxed);
            drop(stream.write_all(&request[..cut]).await);
            // Nothing else makes room for the others.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
