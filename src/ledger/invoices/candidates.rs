//! Which invoices the transfers of a block may pay. What they do pay is for the rules of `domain::matching`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::BigDecimal;
use uuid::Uuid;

use super::decimals;
use crate::domain::amount::Amount;
use crate::domain::binding;
use crate::domain::ids::{AccountId, InvoiceId};
use crate::domain::matching::{Candidate, made_until};
use crate::domain::network::Network;
use crate::domain::transfer::{Mark, Transfer};
use crate::ledger::transfers::Kept;
use crate::ledger::{Column, LedgerError, from_decimal, read_address, to_decimal};

const TABLE: &str = "invoice_options";

/// So many transfers pay an invoice without anybody's word. Whoever sends more of them, each as little as counts, makes nobody read them
/// all again for every further one.
const CLAIMS_MAX: i64 = 1_000;

/// The invoices that the transfers of a block may pay.
///
/// Many transfers of a block can be alike, and many invoices ask for the same at one address. So what they have in common is found once.
#[derive(Debug, Default)]
pub struct Candidates {
    /// Those that a transfer names, by its position.
    named: BTreeMap<usize, Vec<Candidate>>,
    /// Those that any transfer of a group may pay.
    of_groups: Vec<Vec<Candidate>>,
    /// The groups that each transfer is of.
    groups: Vec<[usize; 3]>,
}

impl Candidates {
    /// Those of the transfer at this position.
    #[must_use]
    pub fn of(&self, position: usize) -> Vec<&Candidate> {
        let groups = self.groups.get(position).into_iter().flatten();
        let shared = groups.filter_map(|group| self.of_groups.get(*group)).flatten();
        self.named.get(&position).into_iter().flatten().chain(shared).collect()
    }
}

/// What transfers have in common that invoices ask for. Without an amount it is the address alone, which may be kept for an invoice;
/// with a sender only what waits for this payer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    asset: String,
    recipient: String,
    owner: Option<AccountId>,
    amount: Option<Amount>,
    sender: Option<String>,
}

/// The groups of a transfer.
fn groups_of(kept: &Kept<'_>) -> [Group; 3] {
    let transfer = kept.transfer;
    let (asset, recipient) = (transfer.asset.to_string(), transfer.to.to_string());
    let reserved = Group { asset, recipient, owner: kept.owner, amount: None, sender: None };
    let exact = Group { amount: Some(transfer.amount.unwrap_or(Amount::ZERO)), ..reserved.clone() };
    let expected = Group { sender: Some(transfer.from.to_string()), ..exact.clone() };
    [reserved, exact, expected]
}

/// The invoices that each of these transfers may pay in a block of the time `at`.
///
/// For each transfer that is: those that it names, a few that its recipient's address is kept for, and a few that ask for exactly its
/// amount. Of these few two are as good as many, because none of them can be meant alone. They are counted behind every rule of
/// `domain::matching`, and each transfer of the call may begin one of them before its amount is compared.
///
/// An address may have been another account's before. So only invoices of the one that owns it now are looked at, and where nobody
/// does, only those that the transfer names.
///
/// # Errors
/// The database could not be reached.
pub async fn candidates(
    db: &mut PgConnection,
    network: &Network,
    at: DateTime<Utc>,
    kept: &[Kept<'_>],
) -> Result<Candidates, LedgerError> {
    let mut numbers: BTreeMap<Group, usize> = BTreeMap::new();
    let mut groups = Vec::with_capacity(kept.len());
    for kept in kept {
        groups.push(groups_of(kept).map(|group| {
            let next = numbers.len();
            *numbers.entry(group).or_insert(next)
        }));
    }
    let mut of_groups = vec![Vec::new(); numbers.len()];
    for (group, candidate) in shared(db, network, at, &numbers, kept.len()).await? {
        if let Some(candidates) = of_groups.get_mut(group) {
            candidates.push(candidate);
        }
    }
    let mut named: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (position, candidate) in named_candidates(db, kept).await? {
        named.entry(position).or_default().push(candidate);
    }
    Ok(Candidates { named, of_groups, groups })
}

/// The invoices that the transfers of a group may pay, by the number of the group.
async fn shared(
    db: &mut PgConnection,
    network: &Network,
    at: DateTime<Utc>,
    groups: &BTreeMap<Group, usize>,
    transfers: usize,
) -> Result<Vec<(usize, Candidate)>, LedgerError> {
    let enough = i64::try_from(transfers).unwrap_or(i64::MAX).saturating_add(2);
    let numbers: Vec<_> = groups.values().map(|number| i64::try_from(*number).unwrap_or(i64::MAX)).collect();
    let assets: Vec<_> = groups.keys().map(|group| group.asset.clone()).collect();
    let recipients: Vec<_> = groups.keys().map(|group| group.recipient.clone()).collect();
    let owners: Vec<_> = groups.keys().map(|group| group.owner.map(AccountId::uuid)).collect();
    let amounts: Vec<_> = groups.keys().map(|group| group.amount.map(to_decimal)).collect();
    let senders: Vec<_> = groups.keys().map(|group| group.sender.clone()).collect();
    let rows = sqlx::query_as!(
        CandidateRow,
        r#"
        WITH g AS (
            SELECT number, asset, recipient, owner, amount, sender
            FROM unnest($2::bigint[], $3::text[], $4::text[], $5::uuid[], $6::numeric[], $7::text[])
                 AS g (number, asset, recipient, owner, amount, sender)
        ), found AS (
            SELECT g.number, o.invoice_id, o.position
            FROM g CROSS JOIN LATERAL (
                (SELECT o.invoice_id, o.position FROM invoice_options o JOIN invoices i ON i.id = o.invoice_id
                 WHERE g.amount IS NULL AND o.network = $1 AND o.pay_to = g.recipient AND o.asset = g.asset
                   AND o.reserved_until >= $9 AND i.account_id = g.owner AND i.created_at <= $8 LIMIT $10)
                UNION ALL
                (SELECT o.invoice_id, o.position FROM invoice_options o JOIN invoices i ON i.id = o.invoice_id
                 WHERE g.sender IS NULL AND o.network = $1 AND o.pay_to = g.recipient AND o.asset = g.asset
                   AND o.amount = g.amount AND o.payer IS NULL AND o.open AND NOT o.reserved AND i.account_id = g.owner
                   AND i.canceled_at IS NULL AND i.created_at <= $8 AND i.closes_at >= $9
                   AND NOT EXISTS (SELECT FROM claims c WHERE c.invoice_id = i.id) LIMIT $10)
                UNION ALL
                (SELECT o.invoice_id, o.position FROM invoice_options o JOIN invoices i ON i.id = o.invoice_id
                 WHERE g.sender IS NULL AND o.network = $1 AND o.pay_to = g.recipient AND o.asset = g.asset
                   AND o.amount = g.amount AND o.payer IS NOT NULL AND o.open AND NOT o.reserved AND i.account_id = g.owner
                   AND i.canceled_at IS NULL AND i.created_at <= $8 AND i.closes_at >= $9
                   AND NOT EXISTS (SELECT FROM claims c WHERE c.invoice_id = i.id) LIMIT $10)
                UNION ALL
                (SELECT o.invoice_id, o.position FROM invoice_options o JOIN invoices i ON i.id = o.invoice_id
                 WHERE o.network = $1 AND o.pay_to = g.recipient AND o.asset = g.asset
                   AND o.amount = g.amount AND o.payer = g.sender AND o.open AND NOT o.reserved AND i.account_id = g.owner
                   AND i.canceled_at IS NULL AND i.created_at <= $8 AND i.closes_at >= $9
                   AND NOT EXISTS (SELECT FROM claims c WHERE c.invoice_id = i.id) LIMIT $10)
            ) o
        )
        SELECT f.number AS "of!", false AS "named!", o.network AS "network!", o.asset AS "asset!", o.pay_to AS "pay_to!",
               o.amount AS "amount!", o.decimals AS "decimals!", o.reserved AS "reserved!", i.id AS "id!", i.payer,
               i.by_amount AS "by_amount!", i.created_at AS "created_at!", i.closes_at AS "closes_at!",
               i.canceled_at IS NOT NULL AS "canceled!",
               (SELECT count(*) FROM (SELECT FROM claims c WHERE c.invoice_id = i.id LIMIT $11) c) AS "claims!"
        FROM found f JOIN invoice_options o USING (invoice_id, position) JOIN invoices i ON i.id = f.invoice_id
        "#,
        network.as_str(),
        &numbers,
        &assets,
        &recipients,
        &owners as &[Option<Uuid>],
        &amounts as &[Option<BigDecimal>],
        &senders as &[Option<String>],
        made_until(at),
        at,
        enough,
        CLAIMS_MAX,
    );
    rows.fetch_all(db).await?.into_iter().map(CandidateRow::candidate).collect()
}

/// The invoices that each of these transfers names, by the position of the transfer: with a nonce, a reference or a memo.
///
/// # Errors
/// The database could not be reached.
pub async fn named_candidates(db: &mut PgConnection, kept: &[Kept<'_>]) -> Result<Vec<(usize, Candidate)>, LedgerError> {
    let transfers: Vec<_> = kept.iter().map(|kept| kept.transfer).collect();
    let found = named(db, &transfers).await?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let (positions, invoices): (Vec<i64>, Vec<Uuid>) = found.into_iter().unzip();
    let owner = |position: &i64| usize::try_from(*position).ok().and_then(|position| kept.get(position)?.owner);
    let owners: Vec<_> = positions.iter().map(|position| owner(position).map(AccountId::uuid)).collect();
    let rows = sqlx::query_as!(
        CandidateRow,
        r#"
        SELECT n.position AS "of!", true AS "named!", o.network AS "network!", o.asset AS "asset!", o.pay_to AS "pay_to!",
               o.amount AS "amount!", o.decimals AS "decimals!", o.reserved AS "reserved!", i.id AS "id!", i.payer,
               i.by_amount AS "by_amount!", i.created_at AS "created_at!", i.closes_at AS "closes_at!",
               i.canceled_at IS NOT NULL AS "canceled!",
               (SELECT count(*) FROM (SELECT FROM claims c WHERE c.invoice_id = i.id LIMIT $4) c) AS "claims!"
        FROM unnest($1::bigint[], $2::uuid[], $3::uuid[]) AS n (position, invoice_id, owner)
        JOIN invoice_options o ON o.invoice_id = n.invoice_id JOIN invoices i ON i.id = n.invoice_id
        WHERE i.account_id = n.owner OR n.owner IS NULL
        "#,
        &positions,
        &invoices,
        &owners as &[Option<Uuid>],
        CLAIMS_MAX,
    );
    rows.fetch_all(db).await?.into_iter().map(CandidateRow::candidate).collect()
}

/// Of these invoices those that something pays.
///
/// # Errors
/// The database could not be reached.
pub async fn begun(db: &mut PgConnection, invoices: &[InvoiceId]) -> Result<Vec<InvoiceId>, LedgerError> {
    let invoices: Vec<_> = invoices.iter().map(|id| id.uuid()).collect();
    let begun = sqlx::query_scalar!(
        r#"SELECT i.id AS "id!" FROM unnest($1::uuid[]) AS i (id) WHERE EXISTS (SELECT FROM claims c WHERE c.invoice_id = i.id)"#,
        &invoices,
    );
    Ok(begun.fetch_all(db).await?.into_iter().map(InvoiceId::from_uuid).collect())
}

#[expect(clippy::struct_excessive_bools, reason = "they are those of `Candidate`")]
struct CandidateRow {
    /// The position of a transfer, or the number of a group.
    of: i64,
    named: bool,
    network: String,
    asset: String,
    pay_to: String,
    amount: BigDecimal,
    decimals: i16,
    reserved: bool,
    id: Uuid,
    payer: Option<String>,
    by_amount: bool,
    created_at: DateTime<Utc>,
    closes_at: DateTime<Utc>,
    canceled: bool,
    claims: i64,
}

impl CandidateRow {
    /// With what it is a candidate for.
    fn candidate(self) -> Result<(usize, Candidate), LedgerError> {
        let candidate = Candidate {
            invoice: InvoiceId::from_uuid(self.id),
            network: self.network.parse().column(TABLE, "network")?,
            asset: read_address(&self.asset, TABLE, "asset")?,
            pay_to: read_address(&self.pay_to, TABLE, "pay_to")?,
            amount: from_decimal(&self.amount).map(Amount::new).column(TABLE, "amount")?,
            decimals: decimals(self.decimals)?,
            reserved: self.reserved,
            payer: self.payer.map(|payer| read_address(&payer, "invoices", "payer")).transpose()?,
            by_amount: self.by_amount,
            begun: self.claims > 0,
            full: self.claims >= CLAIMS_MAX,
            named: self.named,
            created_at: self.created_at,
            closes_at: self.closes_at,
            canceled: self.canceled,
        };
        Ok((usize::try_from(self.of).column(TABLE, "position")?, candidate))
    }
}

/// The invoices that the marks of transfers name.
async fn named(db: &mut PgConnection, transfers: &[&Transfer]) -> Result<Vec<(i64, Uuid)>, LedgerError> {
    let (mut positions, mut names, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for (position, transfer) in (0_i64..).zip(transfers) {
        for mark in &transfer.marks {
            // Each mark gives one of the two; the other matches nothing.
            let (name, id) = match mark {
                Mark::Nonce(bytes) | Mark::Reference(bytes) => (binding::names(bytes).to_vec(), None),
                Mark::Memo(text) => match text.trim().parse::<InvoiceId>() {
                    Ok(invoice) => (Vec::new(), Some(invoice.uuid())),
                    Err(_) => continue,
                },
            };
            positions.push(position);
            names.push(name);
            ids.push(id);
        }
    }
    if positions.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        r#"
        SELECT DISTINCT m.position AS "position!", i.id
        FROM unnest($1::bigint[], $2::bytea[], $3::uuid[]) AS m (position, name, id)
        JOIN invoices i ON substring(i.reference FROM 1 FOR 24) = m.name OR i.id = m.id
        "#,
        &positions,
        &names,
        &ids as &[Option<Uuid>],
    );
    Ok(rows.fetch_all(db).await?.into_iter().map(|row| (row.position, row.id)).collect())
}
