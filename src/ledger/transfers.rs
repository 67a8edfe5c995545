//! Transfers in blocks, and the claims that they pay.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::BigDecimal;
use uuid::Uuid;

use super::{Column, Ledger, LedgerError, from_bigint, read_address, read_amount, to_bigint, to_decimal};
use crate::domain::address::{encode_base58, encode_hex};
use crate::domain::amount::Amount;
use crate::domain::block::{Block, BlockHash};
use crate::domain::ids::{AccountId, InvoiceId, PaymentId, TransferId};
use crate::domain::matching::Basis;
use crate::domain::network::Network;
use crate::domain::payment::Payment;
use crate::domain::transfer::{Mark, TransactionId, Transfer, occurrences};

mod listing;

pub use listing::TransferFilter;

/// A transfer to be kept.
#[derive(Debug, Clone, Copy)]
pub struct Kept<'a> {
    /// The transfer.
    pub transfer: &'a Transfer,
    /// Who owns the address that it reached, if anybody here does.
    pub owner: Option<AccountId>,
}

/// What a transfer pays.
#[derive(Debug, Clone, Copy)]
pub struct NewClaim<'a> {
    /// The transfer.
    pub transfer: &'a Transfer,
    /// The payment, if it pays one.
    pub payment: Option<PaymentId>,
    /// The invoice, if it pays one, and why.
    pub invoice: Option<(InvoiceId, Basis)>,
}

/// Keeps transfers of a canonical block, in their order in it. One that was kept before stays what it was, and counts again.
///
/// # Errors
/// The database could not be reached.
pub async fn keep(db: &mut PgConnection, network: &Network, block: &Block, kept: &[Kept<'_>]) -> Result<(), LedgerError> {
    if kept.is_empty() {
        return Ok(());
    }
    let column = |read: fn(&Transfer) -> String| kept.iter().map(|kept| read(kept.transfer)).collect::<Vec<_>>();
    let indices: Vec<_> = kept.iter().map(|kept| to_integer(kept.transfer.index)).collect();
    let amounts: Vec<_> = kept.iter().map(|kept| to_decimal(kept.transfer.amount.unwrap_or(Amount::ZERO))).collect();
    let occurrences: Vec<_> = occurrences(kept.iter().map(|kept| kept.transfer)).into_iter().map(to_integer).collect();
    let owners: Vec<_> = kept.iter().map(|kept| kept.owner.map(AccountId::uuid)).collect();
    let ids: Vec<_> = kept.iter().map(|kept| kept.owner.map(|_| TransferId::new().uuid())).collect();
    // An array of arrays must be rectangular in SQL, so the marks of a transfer travel as one text.
    let marks: Vec<_> = kept.iter().map(|kept| write_marks(&kept.transfer.marks)).collect();
    sqlx::query!(
        r#"
        INSERT INTO transfers (network, block_hash, block_number, happened_at, index, transaction, asset, sender, recipient, amount,
                               occurrence, account_id, id, marks, canonical)
        SELECT $1, $2, $3, $4, index, transaction, asset, sender, recipient, amount, occurrence, account_id, id,
               array_remove(string_to_array(marks, E'\n'), ''), true
        FROM unnest($5::int[], $6::text[], $7::text[], $8::text[], $9::text[], $10::numeric[], $11::uuid[], $12::uuid[], $13::text[],
                    $14::int[])
            AS t (index, transaction, asset, sender, recipient, amount, account_id, id, marks, occurrence)
        ON CONFLICT (network, block_hash, index) DO UPDATE SET canonical = true
        "#,
        network.as_str(),
        block.hash,
        to_bigint(block.number),
        block.timestamp,
        &indices,
        &column(|transfer| transfer.transaction.clone()),
        &column(|transfer| transfer.asset.to_string()),
        &column(|transfer| transfer.from.to_string()),
        &column(|transfer| transfer.to.to_string()),
        &amounts,
        &owners as &[Option<Uuid>],
        &ids as &[Option<Uuid>],
        &marks,
        &occurrences,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Records what kept transfers of a canonical block pay. What a transfer pays already stays; only a payment that is found later than the
/// invoice which its transfer was taken for takes the transfer over, unless the transfer names that invoice. What settled a payment that
/// named no invoice may be assigned to one besides.
///
/// # Errors
/// The database could not be reached, or a payment has been paid by another transfer.
pub async fn claim(db: &mut PgConnection, network: &Network, block: &Block, claims: &[NewClaim<'_>]) -> Result<(), LedgerError> {
    if claims.is_empty() {
        return Ok(());
    }
    let indices: Vec<_> = claims.iter().map(|claim| to_integer(claim.transfer.index)).collect();
    let transactions: Vec<_> = claims.iter().map(|claim| claim.transfer.transaction.clone()).collect();
    let payments: Vec<_> = claims.iter().map(|claim| claim.payment.map(PaymentId::uuid)).collect();
    let invoices: Vec<_> = claims.iter().map(|claim| claim.invoice.map(|(invoice, _)| invoice.uuid())).collect();
    let bases: Vec<_> = claims.iter().map(|claim| claim.invoice.map(|(_, basis)| basis.as_str().to_owned())).collect();
    sqlx::query!(
        r#"
        WITH claimed AS (
            INSERT INTO claims AS c (network, block_hash, block_number, index, transaction, payment_id, invoice_id, basis)
            SELECT $1, $2, $3, index, transaction, payment_id, invoice_id, basis
            FROM unnest($4::int[], $5::text[], $6::uuid[], $7::uuid[], $8::text[])
                AS n (index, transaction, payment_id, invoice_id, basis)
            ON CONFLICT (network, block_hash, index) DO UPDATE
            SET payment_id = COALESCE(excluded.payment_id, c.payment_id),
                invoice_id = CASE WHEN c.basis IN ('reference', 'assigned') THEN c.invoice_id ELSE excluded.invoice_id END,
                basis = CASE WHEN c.basis IN ('reference', 'assigned') THEN c.basis ELSE excluded.basis END
            WHERE c.payment_id IS NULL AND excluded.payment_id IS NOT NULL
               OR c.invoice_id IS NULL AND excluded.payment_id IS NULL AND excluded.basis = 'assigned'
            RETURNING network, block_hash, index
        )
        UPDATE transfers t SET claimed = true
        FROM claimed c
        WHERE c.network = t.network AND c.block_hash = t.block_hash AND c.index = t.index AND t.account_id IS NOT NULL
          AND NOT t.claimed
        "#,
        network.as_str(),
        block.hash,
        to_bigint(block.number),
        &indices,
        &transactions,
        &payments as &[Option<Uuid>],
        &invoices as &[Option<Uuid>],
        &bases as &[Option<String>],
    )
    .execute(db)
    .await?;
    Ok(())
}

impl Ledger {
    /// The transfers in these blocks that pay other payments than this one, by block and position.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn taken_by_others(
        &self,
        network: &Network,
        heights: RangeInclusive<u64>,
        payment: PaymentId,
    ) -> Result<Vec<(BlockHash, u32)>, LedgerError> {
        let rows = sqlx::query!(
            "SELECT block_hash, index FROM claims
             WHERE network = $1 AND block_number BETWEEN $2 AND $3 AND payment_id <> $4",
            network.as_str(),
            to_bigint(*heights.start()),
            to_bigint(*heights.end()),
            payment.uuid(),
        );
        let rows = rows.fetch_all(self.pool()).await?;
        Ok(rows.into_iter().map(|row| (row.block_hash, from_integer(row.index))).collect())
    }
}

/// Whether a transfer in a block of which it was found that it pays a payment pays another one.
///
/// # Errors
/// The database could not be reached.
pub async fn pays_another(
    db: &mut PgConnection,
    network: &Network,
    block: &Block,
    found: &[(&Payment, &Transfer)],
) -> Result<bool, LedgerError> {
    let indices: Vec<_> = found.iter().map(|(_, transfer)| to_integer(transfer.index)).collect();
    let payments: Vec<_> = found.iter().map(|(payment, _)| payment.id.uuid()).collect();
    let another = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT FROM claims c JOIN unnest($3::int[], $4::uuid[]) AS f (index, payment_id) ON c.index = f.index
            WHERE c.network = $1 AND c.block_hash = $2 AND c.payment_id <> f.payment_id
        ) AS "another!"
        "#,
        network.as_str(),
        block.hash,
        &indices,
        &payments,
    );
    Ok(another.fetch_one(db).await?)
}

/// Of these positions in a block, those of transfers that pay something already, with the invoice if it is one.
///
/// # Errors
/// The database could not be reached.
pub async fn claimed(
    db: &mut PgConnection,
    network: &Network,
    block: &Block,
    indices: &[u32],
) -> Result<Vec<(u32, Option<InvoiceId>)>, LedgerError> {
    let indices: Vec<_> = indices.iter().map(|index| to_integer(*index)).collect();
    let rows = sqlx::query!(
        "SELECT index, invoice_id FROM claims WHERE network = $1 AND block_hash = $2 AND index = ANY($3)",
        network.as_str(),
        block.hash,
        &indices,
    );
    let rows = rows.fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (from_integer(row.index), row.invoice_id.map(InvoiceId::from_uuid))).collect())
}

/// The positions of the transfers that are recorded of a block.
///
/// # Errors
/// The database could not be reached.
pub async fn recorded(db: &mut PgConnection, network: &Network, block_hash: &str) -> Result<Vec<u32>, LedgerError> {
    let indices = sqlx::query_scalar!(
        "SELECT index FROM transfers WHERE network = $1 AND block_hash = $2 AND canonical",
        network.as_str(),
        block_hash
    );
    Ok(indices.fetch_all(db).await?.into_iter().map(from_integer).collect())
}

/// A transfer to an address of an account, as its owner reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTransfer {
    /// Our name for it.
    pub id: TransferId,
    /// Whose address it reached.
    pub account: AccountId,
    /// On which network.
    pub network: Network,
    /// In which block. Its parent is not kept.
    pub block: Block,
    /// What moved.
    pub transfer: Transfer,
    /// Which of several equal transfers of its transaction it is.
    pub occurrence: u32,
    /// Whether its block is still one of the chain's.
    pub canonical: bool,
    /// Whether it pays something.
    pub is_claimed: bool,
    /// The payment that it pays.
    pub payment: Option<PaymentId>,
    /// The invoice that it pays, and why.
    pub invoice: Option<(InvoiceId, Basis)>,
    /// What binds it to something, in words.
    pub marks: Vec<String>,
}

struct TransferRow {
    id: Option<Uuid>,
    account_id: Option<Uuid>,
    network: String,
    block_hash: String,
    block_number: i64,
    happened_at: Option<DateTime<Utc>>,
    index: i32,
    transaction: String,
    asset: String,
    sender: String,
    recipient: String,
    amount: BigDecimal,
    occurrence: i32,
    canonical: bool,
    marks: Vec<String>,
    is_claimed: bool,
    payment_id: Option<Uuid>,
    invoice_id: Option<Uuid>,
    basis: Option<String>,
}

const TABLE: &str = "transfers";

impl TryFrom<TransferRow> for OwnTransfer {
    type Error = LedgerError;

    fn try_from(row: TransferRow) -> Result<Self, LedgerError> {
        let basis = row.basis.map(|basis| Basis::parse(&basis).column("claims", "basis")).transpose()?;
        let block = Block {
            number: from_bigint(row.block_number),
            hash: row.block_hash,
            parent_hash: String::new(),
            timestamp: row.happened_at.column(TABLE, "happened_at")?,
        };
        let transfer = Transfer {
            transaction: row.transaction,
            index: from_integer(row.index),
            asset: read_address(&row.asset, TABLE, "asset")?,
            from: read_address(&row.sender, TABLE, "sender")?,
            to: read_address(&row.recipient, TABLE, "recipient")?,
            amount: Some(read_amount(&row.amount, TABLE)?),
            marks: Vec::new(),
        };
        Ok(Self {
            id: row.id.map(TransferId::from_uuid).column(TABLE, "id")?,
            account: row.account_id.map(AccountId::from_uuid).column(TABLE, "account_id")?,
            network: row.network.parse().column(TABLE, "network")?,
            block,
            transfer,
            occurrence: from_integer(row.occurrence),
            canonical: row.canonical,
            is_claimed: row.is_claimed,
            payment: row.payment_id.map(PaymentId::from_uuid),
            invoice: row.invoice_id.map(InvoiceId::from_uuid).zip(basis),
            marks: row.marks,
        })
    }
}

/// Selects transfers of accounts with what they pay; the text behind it says which.
macro_rules! own_transfers {
    ($rest:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            TransferRow,
            r#"
            SELECT t.id, t.account_id, t.network AS "network!", t.block_hash AS "block_hash!", t.block_number AS "block_number!", t.happened_at,
                   t.index AS "index!", t.transaction AS "transaction!", t.asset AS "asset!", t.sender AS "sender!",
                   t.recipient AS "recipient!", t.amount AS "amount!", t.occurrence AS "occurrence!", t.canonical AS "canonical!",
                   t.marks AS "marks!", c.network IS NOT NULL AS "is_claimed!", c.payment_id AS "payment_id?", c.invoice_id AS "invoice_id?",
                   c.basis AS "basis?"
            FROM transfers t LEFT JOIN claims c ON c.network = t.network AND c.block_hash = t.block_hash AND c.index = t.index
            "# + $rest
            $(, $argument)*
        )
    };
}
use own_transfers;

/// On which network a transfer of an account stands.
///
/// # Errors
/// The database could not be reached.
pub async fn network_of(db: &mut PgConnection, account: AccountId, id: TransferId) -> Result<Option<Network>, LedgerError> {
    let network =
        sqlx::query_scalar!("SELECT network FROM transfers WHERE id = $1 AND account_id = $2", id.uuid(), account.uuid());
    network.fetch_optional(db).await?.map(|network| network.parse().column(TABLE, "network")).transpose()
}

/// A transfer of an account, locked until the transaction ends.
///
/// # Errors
/// The database could not be reached.
pub async fn lock_own(db: &mut PgConnection, account: AccountId, id: TransferId) -> Result<Option<OwnTransfer>, LedgerError> {
    sqlx::query!("SELECT FROM transfers WHERE id = $1 AND account_id = $2 FOR UPDATE", id.uuid(), account.uuid())
        .execute(&mut *db)
        .await?;
    // A statement of its own: it sees what others have said of the transfer while the first one waited for it.
    let row = own_transfers!("WHERE t.id = $1 AND t.account_id = $2", id.uuid(), account.uuid());
    row.fetch_optional(db).await?.map(OwnTransfer::try_from).transpose()
}

/// Locks what a transaction moved to an account until the transaction of the ledger ends. To be read by a statement behind it.
///
/// # Errors
/// The database could not be reached.
pub async fn lock_moved(
    db: &mut PgConnection,
    account: AccountId,
    network: &Network,
    transaction: &str,
) -> Result<(), LedgerError> {
    sqlx::query!(
        "SELECT FROM transfers WHERE network = $1 AND transaction = $2 AND account_id = $3 ORDER BY index FOR UPDATE",
        network.as_str(),
        transaction,
        account.uuid(),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// What a transaction moved to an account, in the canonical block that holds it.
///
/// # Errors
/// The database could not be reached.
pub async fn moved(
    db: &mut PgConnection,
    account: AccountId,
    network: &Network,
    transaction: &str,
) -> Result<Vec<OwnTransfer>, LedgerError> {
    let rows = own_transfers!(
        "WHERE t.network = $1 AND t.transaction = $2 AND t.account_id = $3 AND t.canonical ORDER BY t.index",
        network.as_str(),
        transaction,
        account.uuid(),
    );
    rows.fetch_all(db).await?.into_iter().map(OwnTransfer::try_from).collect()
}

/// Of these transactions, those that we have signed. What they move is for the payments in them.
///
/// # Errors
/// The database could not be reached.
pub async fn signed_here(
    db: &mut PgConnection,
    network: &Network,
    transactions: &[String],
) -> Result<Vec<TransactionId>, LedgerError> {
    let known = sqlx::query_scalar!(
        "SELECT transaction FROM attempts WHERE network = $1 AND transaction = ANY($2)",
        network.as_str(),
        transactions
    );
    Ok(known.fetch_all(db).await?)
}

/// Whether we have signed this transaction for a payment that may still be told as paid by it: one that no transfer is recorded for, and
/// that was not given up. One whose success was told before its transfer was undone counts too, whatever has become of it since.
///
/// # Errors
/// The database could not be reached.
pub async fn awaits_payment(db: &mut PgConnection, network: &Network, transaction: &str) -> Result<bool, LedgerError> {
    let awaits = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT FROM attempts a JOIN payments p ON p.id = ANY (a.payments)
            WHERE a.network = $1 AND a.transaction = $2 AND (p.given_up_at IS NULL OR p.handed_out_at IS NOT NULL)
              AND NOT EXISTS (SELECT FROM claims c WHERE c.payment_id = p.id)
        ) AS "awaits!"
        "#,
        network.as_str(),
        transaction,
    );
    Ok(awaits.fetch_one(db).await?)
}

/// Positions in a block and numbers of equal transfers fit: no block has 2^31 logs.
pub(super) fn to_integer(index: u32) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

pub(super) fn from_integer(index: i32) -> u32 {
    u32::try_from(index).unwrap_or(0)
}

/// The marks of a transfer, a line each.
fn write_marks(marks: &[Mark]) -> String {
    let lines = marks.iter().map(|mark| match mark {
        Mark::Nonce(bytes) => format!("nonce {}", encode_hex(bytes)),
        Mark::Reference(bytes) => format!("reference {}", encode_base58(bytes)),
        // A memo is anybody's text: what could end the line, or upset whoever reads it, is left out.
        Mark::Memo(text) => {
            let text: String = text.chars().filter(|character| !character.is_control()).take(MEMO_CHARS_KEPT).collect();
            format!("memo {text}")
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What is kept of a memo.
const MEMO_CHARS_KEPT: usize = 256;

/// A payment that lost its transfer in a reorganisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostClaim {
    /// Which payment.
    pub payment: PaymentId,
    /// Who asked for it.
    pub provider: Option<AccountId>,
    /// The transaction that is gone.
    pub transaction: String,
    /// Whether somebody was told of its success.
    pub handed_out: bool,
}

/// What the claims on dropped blocks were for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lost {
    /// The payments.
    pub payments: Vec<LostClaim>,
    /// The invoices.
    pub invoices: Vec<InvoiceId>,
}

/// Removes the claims that stand on blocks above `ancestor`. What was credited there is kept as what was said of its transfer, so that
/// this pays the same again wherever it stands next.
///
/// # Errors
/// The database could not be reached.
pub async fn drop_claims_above(
    db: &mut PgConnection,
    network: &Network,
    ancestor: u64,
    now: DateTime<Utc>,
) -> Result<Lost, LedgerError> {
    remember_credits_above(db, network, ancestor, now).await?;
    // Successes are handed out under locks on payments and their claims, in the order of the payments. To come in another order
    // would be to wait for each other in a circle.
    sqlx::query!(
        r#"
        SELECT FROM claims c JOIN payments p ON p.id = c.payment_id
        WHERE c.network = $1 AND c.block_number > $2 ORDER BY p.id FOR UPDATE OF p
        "#,
        network.as_str(),
        to_bigint(ancestor),
    )
    .execute(&mut *db)
    .await?;
    let dropped = sqlx::query!(
        r#"
        WITH dropped AS (
            DELETE FROM claims WHERE network = $1 AND block_number > $2
            RETURNING network, block_hash, index, payment_id, invoice_id, transaction
        ), freed AS (
            UPDATE transfers t SET claimed = false
            FROM dropped d WHERE d.network = t.network AND d.block_hash = t.block_hash AND d.index = t.index AND t.claimed
        )
        SELECT payment_id, invoice_id, transaction AS "transaction!" FROM dropped
        "#,
        network.as_str(),
        to_bigint(ancestor),
    );
    let dropped = dropped.fetch_all(&mut *db).await?;
    let invoices = dropped.iter().filter_map(|row| row.invoice_id).map(InvoiceId::from_uuid).collect();
    let (payments, transactions): (Vec<_>, Vec<_>) =
        dropped.into_iter().filter_map(|row| Some((row.payment_id?, row.transaction))).unzip();
    // A statement of its own: it sees what was handed out while the first one waited for the claims.
    let rows = sqlx::query!(
        r#"
        SELECT p.id, p.provider_id, lost.transaction AS "transaction!", p.handed_out_at IS NOT NULL AS "handed_out!"
        FROM unnest($1::uuid[], $2::text[]) AS lost (payment_id, transaction) JOIN payments p ON p.id = lost.payment_id
        "#,
        &payments,
        &transactions,
    );
    let payments = rows.fetch_all(db).await?.into_iter().map(|row| LostClaim {
        payment: PaymentId::from_uuid(row.id),
        provider: row.provider_id.map(AccountId::from_uuid),
        transaction: row.transaction,
        handed_out: row.handed_out,
    });
    Ok(Lost { payments: payments.collect(), invoices })
}

/// Notes which invoices the transfers in blocks above `ancestor` were credited to, unless somebody has said it. Payments find their
/// transfers again themselves, but not what was said of these before.
async fn remember_credits_above(
    db: &mut PgConnection,
    network: &Network,
    ancestor: u64,
    now: DateTime<Utc>,
) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        INSERT INTO assignments (network, transaction, asset, sender, recipient, amount, occurrence, invoice_id, basis, assigned_at)
        SELECT t.network, t.transaction, t.asset, t.sender, t.recipient, t.amount, t.occurrence, c.invoice_id, c.basis, $3
        FROM claims c JOIN transfers t ON t.network = c.network AND t.block_hash = c.block_hash AND t.index = c.index
        WHERE c.network = $1 AND c.block_number > $2 AND c.invoice_id IS NOT NULL
          AND (c.payment_id IS NULL OR c.basis IN ('assigned', 'reference'))
        ON CONFLICT DO NOTHING
        "#,
        network.as_str(),
        to_bigint(ancestor),
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}
