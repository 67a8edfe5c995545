//! A process that dies while it takes in what a wallet has sent, or loses the ledger's answer, credits it once and tells it once.

use serde_json::json;
use sqlx::Executor;

use super::super::crash::reached;
use super::super::{World, report, scale};
use crate::support::chain::ChainOptions;
use crate::support::facilitator::{Facilitator, Options};
use crate::support::merchant::{Merchant, pay};
use crate::support::postgres_proxy::{Cut, Fate, PostgresProxy};
use crate::support::proxy::Proxy;
use crate::support::receipts::Keys;

/// How far the transaction has come that takes the block in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Point {
    /// The transfer is being written. The process is killed.
    Writing,
    /// The COMMIT is under way, and does not arrive. The process is killed.
    Committing,
    /// It is committed. The process is killed before it hears of that.
    Committed,
    /// The COMMIT does not arrive, and its connection ends. The process goes on.
    Undelivered,
    /// It is committed, and the connection ends before the answer. The process goes on.
    Unanswered,
}

const POINTS: [Point; 5] = [Point::Writing, Point::Committing, Point::Committed, Point::Undelivered, Point::Unanswered];

/// What every one of them must have left behind in the end: one transfer, one claim, one word to the merchant, and one receipt.
const ONE_OF_EACH: [i64; 4] = [1; 4];

impl Point {
    fn fate(self) -> Option<Fate> {
        match self {
            Self::Writing => None,
            Self::Committing => Some(Fate::Held),
            Self::Committed => Some(Fate::Unheard),
            Self::Undelivered => Some(Fate::Undelivered),
            Self::Unanswered => Some(Fate::Unanswered),
        }
    }

    /// What a process that is killed here has left behind.
    fn left_behind(self) -> Option<[i64; 4]> {
        match self {
            Self::Writing | Self::Committing => Some([0; 4]),
            Self::Committed => Some(ONE_OF_EACH),
            Self::Undelivered | Self::Unanswered => None,
        }
    }
}

/// Transfers, claims, words to the merchant that its invoice is paid, and receipts.
async fn traces(world: &World) -> [i64; 4] {
    [
        world.count("SELECT count(*) FROM transfers").await,
        world.count("SELECT count(*) FROM claims").await,
        world.count("SELECT count(*) FROM events WHERE kind = 'invoice.paid'").await,
        world.count("SELECT count(*) FROM receipts").await,
    ]
}

/// To write a transfer waits for a lock that this connection holds.
const BRAKE: &str = "
    CREATE FUNCTION brake() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock(4711);
        RETURN NEW;
    END $$;
    CREATE TRIGGER brake BEFORE INSERT ON transfers FOR EACH ROW EXECUTE FUNCTION brake();
    SELECT pg_advisory_lock(4711)";

const RELEASE: &str = "SELECT pg_advisory_unlock(4711); DROP TRIGGER brake ON transfers";

/// Waits until the transaction is at the point.
async fn until_at(point: Point, world: &World, postgres: &PostgresProxy) {
    match point {
        Point::Writing => {
            world.until("a held transfer", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").await;
        }
        Point::Committed => world.until("a transfer", "SELECT count(*) FROM transfers").await,
        Point::Committing | Point::Undelivered | Point::Unanswered => {
            reached("a COMMIT that was cut off", || async { postgres.cuts() > 0 }).await;
        }
    }
}

/// Has a wallet pay an invoice, and the process end or be cut off at a point. Returns how much is wrong in the end.
async fn crash(world: &World, point: Point, payer: usize) -> usize {
    let (proxy, postgres, keys) =
        (Proxy::start(&world.chain.url), PostgresProxy::start(&world.database).await, Keys::generate().await);
    let mut options = Options { database: Some(postgres.url.clone()), ..world.options(&[&proxy]) };
    options.server.push_str(&keys.section());
    let mut facilitator = Facilitator::start(&options).await;
    let (merchant, owner) = (Merchant::open(&facilitator).await, &world.chain.payers[0]);
    merchant.register(&world.chain.network(), owner).await;
    let invoice = merchant.invoice(&json!({"amount": "0.5", "reserveAddress": true})).await;
    let account = merchant.into_account();
    let mut brake = world.ledger.acquire().await.expect("the database answers");
    match point.fate() {
        Some(fate) => postgres.cut_next(Cut { statement: "INSERT INTO transfers", fate }),
        None => brake.execute(BRAKE).await.map(drop).expect("the database is ours"),
    }

    pay(&world.chain, &world.chain.payers[payer], &owner.address(), 500_000).await;
    until_at(point, world, &postgres).await;
    if let Some(expected) = point.left_behind() {
        facilitator.kill().await;
        let found = traces(world).await;
        assert_eq!(found, expected, "what {point:?} leaves behind");
        if point == Point::Writing {
            brake.execute(RELEASE).await.expect("the database is ours");
        }
        postgres.bury();
        facilitator.restart().await;
    }

    let merchant = Merchant::again(&facilitator, account);
    let paid = merchant.until(&invoice, "paid").await;
    // Whatever would have been told twice is in front of this.
    world.chain.mine(20).await;
    let last = merchant.until(&invoice, "final").await;
    let found = traces(world).await;
    let is_once = [&paid, &last].iter().all(|shown| {
        let count = |member: &str| shown[member].as_array().map(Vec::len);
        (&shown["amountPaid"], count("transfers"), count("receipts")) == (&json!("0.5"), Some(1), Some(1))
    });
    if found != ONE_OF_EACH || !is_once {
        println!("violation: {point:?}: {found:?}, {paid}, then {last}");
    }
    usize::from(found != ONE_OF_EACH) + usize::from(!is_once)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credit_that_is_cut_off_is_made_and_told_once() {
    let rounds = scale(1, 10);
    let mut world = World::new(ChainOptions::default()).await;
    let (mut violations, mut ends) = (0, 0);
    for round in 0..rounds {
        for point in POINTS {
            world.renew().await;
            violations += crash(&world, point, 1 + round).await;
            ends += 1;
        }
    }
    report("crash of a credit", &format!("{ends} ends at {} points: {violations} violations", POINTS.len()));
    assert_eq!(violations, 0);
}
