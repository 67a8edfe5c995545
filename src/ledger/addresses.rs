//! Addresses at which accounts receive money.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Column, Ledger, LedgerError, is_conflict, read_address};
use crate::domain::address::Address;
use crate::domain::ids::{AccountId, AddressId};
use crate::domain::network::Network;

mod choosing;

pub use choosing::{awaited, choose, free_of, is_awaited, reserve};

const TABLE: &str = "addresses";

/// The rule that an address has one owner at a time.
const ONE_OWNER: &str = "addresses_one_owner";

/// How an account showed that an address is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, schemars::JsonSchema)]
#[schemars(rename = "AddressProofKind", rename_all = "lowercase")]
pub enum Proof {
    /// The owner of the address signed for it.
    Signature,
    /// The owner of another address of the account signed for a list with it.
    Statement,
    /// An operator said so.
    Operator,
}

impl Proof {
    /// The word on the wire and in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Statement => "statement",
            Self::Operator => "operator",
        }
    }

    /// Whether an address that somebody has by this is won by `other`: only by the owner's own signature.
    #[must_use]
    pub const fn yields_to(self, other: Self) -> bool {
        matches!((self, other), (Self::Statement | Self::Operator, Self::Signature))
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Signature, Self::Statement, Self::Operator].into_iter().find(|proof| proof.as_str() == text)
    }
}

/// An address, or the wish to register one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredAddress {
    /// Our name for it.
    pub id: AddressId,
    /// Whose it is, or is to be.
    pub account: AccountId,
    /// On which network.
    pub network: Network,
    /// The address.
    pub address: Address,
    /// When the account asked for it.
    pub created_at: DateTime<Utc>,
    /// Until when its challenge can be signed.
    pub challenged_until: DateTime<Utc>,
    /// Since when, and by what, it is the account's.
    pub proven: Option<(DateTime<Utc>, Proof)>,
    /// Since when it is not any more.
    pub removed_at: Option<DateTime<Utc>>,
}

impl RegisteredAddress {
    /// Whether `proof` takes the place of the one by which it is the account's.
    #[must_use]
    pub fn yields_to(&self, proof: Proof) -> bool {
        self.proven.is_some_and(|(_, own)| own.yields_to(proof))
    }

    /// Whether money that arrives there is the account's.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.proven.is_some() && self.removed_at.is_none()
    }
}

struct AddressRow {
    id: Uuid,
    account_id: Uuid,
    network: String,
    address: String,
    created_at: DateTime<Utc>,
    challenged_until: DateTime<Utc>,
    proven_at: Option<DateTime<Utc>>,
    proof: Option<String>,
    removed_at: Option<DateTime<Utc>>,
}

impl TryFrom<AddressRow> for RegisteredAddress {
    type Error = LedgerError;

    fn try_from(row: AddressRow) -> Result<Self, LedgerError> {
        let proof = row.proof.map(|proof| Proof::parse(&proof).column(TABLE, "proof")).transpose()?;
        Ok(Self {
            id: AddressId::from_uuid(row.id),
            account: AccountId::from_uuid(row.account_id),
            network: row.network.parse().column(TABLE, "network")?,
            address: read_address(&row.address, TABLE, "address")?,
            created_at: row.created_at,
            challenged_until: row.challenged_until,
            proven: row.proven_at.zip(proof),
            removed_at: row.removed_at,
        })
    }
}

/// Selects addresses; the text behind it says which.
macro_rules! addresses {
    ($rest:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            AddressRow,
            r#"
            SELECT id, account_id, network, address, created_at, challenged_until, proven_at, proof, removed_at
            FROM addresses
            "# + $rest
            $(, $argument)*
        )
    };
}
use addresses;

/// Records that an account wants to register an address.
///
/// # Errors
/// The database could not be reached.
pub async fn insert(db: &mut PgConnection, address: &RegisteredAddress) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        INSERT INTO addresses (id, account_id, network, address, created_at, challenged_until)
        VALUES ($1, $2, $3, $4, $5, $6)
        "#,
        address.id.uuid(),
        address.account.uuid(),
        address.network.as_str(),
        address.address.to_string(),
        address.created_at,
        address.challenged_until,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A wish to register many addresses under one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressListing {
    /// Our name for the list.
    pub id: AddressId,
    /// Whose they are to be.
    pub account: AccountId,
    /// On which network.
    pub network: Network,
    /// The address of the account that signs for them.
    pub signed_by: AddressId,
    /// The addresses.
    pub addresses: Vec<Address>,
    /// When the account asked for it.
    pub created_at: DateTime<Utc>,
    /// Until when the statement can be signed.
    pub challenged_until: DateTime<Utc>,
}

/// Records that an account wants to register a list of addresses.
///
/// # Errors
/// The database could not be reached.
pub async fn insert_list(db: &mut PgConnection, list: &AddressListing) -> Result<(), LedgerError> {
    let ids: Vec<_> = list.addresses.iter().map(|_| AddressId::new().uuid()).collect();
    let addresses: Vec<_> = list.addresses.iter().map(Address::to_string).collect();
    sqlx::query!(
        r#"
        INSERT INTO addresses (id, account_id, network, address, created_at, challenged_until, list_id, signed_by)
        SELECT id, $1, $2, address, $3, $4, $5, $6 FROM unnest($7::uuid[], $8::text[]) AS a (id, address)
        "#,
        list.account.uuid(),
        list.network.as_str(),
        list.created_at,
        list.challenged_until,
        list.id.uuid(),
        list.signed_by.uuid(),
        &ids,
        &addresses,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Makes those of a list an account's that nobody owns. Returns those that it has by now, or `None` if one of them got an owner in this
/// very moment. Then nothing was changed, and the transaction can only be given up.
///
/// # Errors
/// The database could not be reached.
pub async fn prove_list(db: &mut PgConnection, list: AddressId, now: DateTime<Utc>) -> Result<Option<Vec<Address>>, LedgerError> {
    let proven = sqlx::query!(
        r#"
        UPDATE addresses a SET proven_at = $2, proof = 'statement'
        WHERE list_id = $1 AND proven_at IS NULL AND removed_at IS NULL
          AND NOT EXISTS (SELECT FROM addresses o WHERE o.network = a.network AND o.address = a.address
                          AND o.proven_at IS NOT NULL AND o.removed_at IS NULL)
        "#,
        list.uuid(),
        now,
    );
    match proven.execute(&mut *db).await {
        Ok(_) => active_of_list(db, list).await.map(Some),
        Err(error) if is_conflict(&error, ONE_OWNER) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Those of a list that are an account's by its statement, or by more.
///
/// # Errors
/// The database could not be reached.
pub async fn active_of_list(db: &mut PgConnection, list: AddressId) -> Result<Vec<Address>, LedgerError> {
    let active = sqlx::query_scalar!(
        "SELECT address FROM addresses WHERE list_id = $1 AND proven_at IS NOT NULL AND removed_at IS NULL ORDER BY id",
        list.uuid(),
    );
    active.fetch_all(db).await?.iter().map(|address| read_address(address, TABLE, "address")).collect()
}

/// Removes at most `limit` addresses that nobody has proven, and whose challenges ended before `until`. Returns how many.
///
/// # Errors
/// The database could not be reached.
pub async fn forget_challenges(db: &mut PgConnection, until: DateTime<Utc>, limit: u32) -> Result<u64, LedgerError> {
    let gone = sqlx::query!(
        r#"
        DELETE FROM addresses WHERE id IN (
            SELECT id FROM addresses WHERE proven_at IS NULL AND challenged_until < $1 ORDER BY challenged_until LIMIT $2
        )
        "#,
        until,
        i64::from(limit),
    );
    Ok(gone.execute(db).await?.rows_affected())
}

/// An address, locked until the transaction ends.
///
/// # Errors
/// The database could not be reached.
pub async fn lock(db: &mut PgConnection, id: AddressId) -> Result<Option<RegisteredAddress>, LedgerError> {
    addresses!("WHERE id = $1 FOR UPDATE", id.uuid()).fetch_optional(db).await?.map(RegisteredAddress::try_from).transpose()
}

/// Who owns an address now, locked until the transaction ends.
///
/// # Errors
/// The database could not be reached.
pub async fn lock_owner(
    db: &mut PgConnection,
    network: &Network,
    address: Address,
) -> Result<Option<RegisteredAddress>, LedgerError> {
    let owner = addresses!(
        "WHERE network = $1 AND address = $2 AND proven_at IS NOT NULL AND removed_at IS NULL FOR UPDATE",
        network.as_str(),
        address.to_string(),
    );
    owner.fetch_optional(db).await?.map(RegisteredAddress::try_from).transpose()
}

/// Makes an address its account's from now on. Returns whether it did: not if another one was quicker. Then nothing was changed, and the
/// transaction can only be given up.
///
/// # Errors
/// The database could not be reached.
pub async fn prove(
    db: &mut PgConnection,
    id: AddressId,
    proof: Proof,
    note: Option<&str>,
    now: DateTime<Utc>,
) -> Result<bool, LedgerError> {
    let done = sqlx::query!(
        r#"
        UPDATE addresses a SET proven_at = $2, proof = $3, note = $4
        WHERE id = $1 AND proven_at IS NULL AND removed_at IS NULL
          AND NOT EXISTS (SELECT FROM addresses o WHERE o.network = a.network AND o.address = a.address
                          AND o.proven_at IS NOT NULL AND o.removed_at IS NULL)
        "#,
        id.uuid(),
        now,
        proof.as_str(),
        note,
    );
    match done.execute(db).await {
        Ok(done) => Ok(done.rows_affected() == 1),
        // An owner whose transaction ends in this very moment was not visible to the statement.
        Err(error) if is_conflict(&error, ONE_OWNER) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Ends an account's hold on an address. Returns whether it had one, or had asked for one.
///
/// # Errors
/// The database could not be reached.
pub async fn remove(db: &mut PgConnection, id: AddressId, now: DateTime<Utc>) -> Result<bool, LedgerError> {
    let done = sqlx::query!("UPDATE addresses SET removed_at = $2 WHERE id = $1 AND removed_at IS NULL", id.uuid(), now);
    Ok(done.execute(db).await?.rows_affected() == 1)
}

/// Keeps an address for the invoice that another row of the same address was kept for.
///
/// # Errors
/// The database could not be reached.
pub async fn inherit_reservation(db: &mut PgConnection, from: AddressId, to: AddressId) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        UPDATE addresses heir SET reserved_for = former.reserved_for, reserved_until = former.reserved_until
        FROM addresses former WHERE heir.id = $2 AND former.id = $1
        "#,
        from.uuid(),
        to.uuid(),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Who owns which of these addresses. The cost grows with those that are asked for and hardly with those that are registered.
///
/// # Errors
/// The database could not be reached.
pub async fn owners(
    db: &mut PgConnection,
    network: &Network,
    addresses: &[String],
    by: Option<DateTime<Utc>>,
) -> Result<Vec<(Address, AccountId)>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT network, address, account_id FROM addresses
        WHERE address = ANY($1) AND proven_at IS NOT NULL AND removed_at IS NULL AND ($2::timestamptz IS NULL OR proven_at <= $2)
        "#,
        addresses,
        by,
    );
    // Asked for by their addresses alone, they are found by their hashes.
    let rows = rows.fetch_all(db).await?.into_iter().filter(|row| row.network == network.as_str());
    rows.map(|row| Ok((read_address(&row.address, TABLE, "address")?, AccountId::from_uuid(row.account_id)))).collect()
}

impl Ledger {
    /// An address by our name for it.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn find_address(&self, id: AddressId) -> Result<Option<RegisteredAddress>, LedgerError> {
        addresses!("WHERE id = $1", id.uuid()).fetch_optional(self.pool()).await?.map(RegisteredAddress::try_from).transpose()
    }

    /// A list of addresses that waits for its statement, or has it.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn find_address_list(&self, id: AddressId) -> Result<Option<AddressListing>, LedgerError> {
        let rows = sqlx::query!(
            r#"
            SELECT account_id, network, address, created_at, challenged_until, signed_by AS "signed_by!"
            FROM addresses WHERE list_id = $1 ORDER BY id
            "#,
            id.uuid(),
        );
        let rows = rows.fetch_all(self.pool()).await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let addresses = rows.iter().map(|row| read_address(&row.address, TABLE, "address"));
        Ok(Some(AddressListing {
            id,
            account: AccountId::from_uuid(first.account_id),
            network: first.network.parse().column(TABLE, "network")?,
            signed_by: AddressId::from_uuid(first.signed_by),
            addresses: addresses.collect::<Result<_, _>>()?,
            created_at: first.created_at,
            challenged_until: first.challenged_until,
        }))
    }

    /// The addresses of a network that are somebody's now, `limit` of them at most.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn active_addresses(&self, network: &Network, limit: u32) -> Result<Vec<Address>, LedgerError> {
        let addresses = sqlx::query_scalar!(
            r#"
            SELECT address FROM addresses
            WHERE network = $1 AND proven_at IS NOT NULL AND removed_at IS NULL
            ORDER BY address LIMIT $2
            "#,
            network.as_str(),
            i64::from(limit),
        );
        let addresses = addresses.fetch_all(self.pool()).await?;
        addresses.iter().map(|address| read_address(address, TABLE, "address")).collect()
    }

    /// A page of an account's addresses, oldest first, without those that were removed.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn list_addresses(
        &self,
        account: AccountId,
        after: Option<AddressId>,
        limit: u32,
    ) -> Result<Vec<RegisteredAddress>, LedgerError> {
        let rows = addresses!(
            "WHERE account_id = $1 AND removed_at IS NULL AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3",
            account.uuid(),
            after.map(AddressId::uuid),
            i64::from(limit),
        );
        rows.fetch_all(self.pool()).await?.into_iter().map(RegisteredAddress::try_from).collect()
    }
}
