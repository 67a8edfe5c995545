//! Paid resources that want to be found, and how each can be paid for.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::{Ledger, LedgerError, accounts};
use crate::domain::ids::{AccountId, ResourceId};
use crate::domain::network::Network;
use crate::x402::bazaar::Resource;

/// Most entries without an account, all recipients together. An address costs nothing, so a limit for each would be none.
const NAMELESS_MAX: i64 = 10_000;

/// Most ways to pay for one resource that are shown: the newest.
const TERMS_MAX: i64 = 8;

/// Only one transaction at a time counts and adds entries without an account.
const NAMELESS_LOCK: i64 = 0x6261_7a61;

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is there.
    Listed,
    /// Its owner has as many as it may have.
    Full,
}

/// A listed resource.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedResource {
    /// The version in which it is paid.
    pub x402_version: i16,
    /// `http` or `mcp`.
    pub kind: String,
    /// Where it is.
    pub url: String,
    /// What it is, for people.
    pub description: Option<String>,
    /// What it answers with.
    pub mime_type: Option<String>,
    /// Who offers it, for people.
    pub service_name: Option<String>,
    /// What it is about.
    pub tags: Vec<String>,
    /// A picture of who offers it.
    pub icon_url: Option<String>,
    /// How it is called.
    pub bazaar: Json<Value>,
    /// The payment requirements, those that were paid last first.
    pub accepts: Json<Vec<Value>>,
    /// When a payment for it was noted last.
    pub paid_at: DateTime<Utc>,
}

/// Which resources are wanted. Of the terms one must fit all that is said of them.
#[derive(Debug, Clone, Default)]
pub struct ResourceFilter {
    /// How they are called.
    pub kind: Option<String>,
    /// Who is paid, as addresses are printed.
    pub pay_to: Option<String>,
    /// How.
    pub scheme: Option<String>,
    /// Where.
    pub network: Option<Network>,
}

impl ResourceFilter {
    fn network(&self) -> Option<&str> {
        self.network.as_ref().map(Network::as_str)
    }
}

/// Selects listed resources; `$from` says out of what, `$rest` which of those that fit the filter.
macro_rules! listed {
    ($from:tt, $rest:tt, $filter:expr $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            ListedResource,
            r#"
            SELECT r.x402_version, r.kind, r.url, r.description, r.mime_type, r.service_name, r.tags, r.icon_url,
                   r.bazaar AS "bazaar: Json<Value>", r.paid_at,
                   (SELECT json_agg(t.requirements ORDER BY t.paid_at DESC, t.network, t.asset, t.pay_to)
                    FROM resource_terms t WHERE t.resource_id = r.id) AS "accepts!: Json<Vec<Value>>"
            FROM "# + $from + r#"
            WHERE ($1::text IS NULL OR r.kind = $1)
              AND EXISTS (
                SELECT FROM resource_terms t
                WHERE t.resource_id = r.id AND ($2::text IS NULL OR t.pay_to = $2) AND ($3::text IS NULL OR t.scheme = $3)
                  AND ($4::text IS NULL OR t.network = $4)
              )
            "# + $rest,
            $filter.kind.as_deref(),
            $filter.pay_to.as_deref(),
            $filter.scheme.as_deref(),
            $filter.network()
            $(, $argument)*
        )
    };
}

/// Notes that a resource was paid for, and what it says of itself now. A new entry is made if its owner has room for one: `max` for an
/// account, or for a recipient without one.
///
/// # Errors
/// The database could not be reached.
pub async fn put(
    db: &mut PgConnection,
    account: Option<AccountId>,
    resource: &Resource,
    max: u32,
    now: DateTime<Utc>,
) -> Result<Put, LedgerError> {
    let owner = owner(account, resource);
    if !may_stand(&mut *db, account, &owner, resource, max).await? {
        return Ok(Put::Full);
    }
    let id = put_entry(&mut *db, account, &owner, resource, now).await?;
    put_terms(&mut *db, id, resource, now).await?;
    Ok(Put::Listed)
}

/// Whose entry it is.
#[must_use]
pub fn owner(account: Option<AccountId>, resource: &Resource) -> String {
    account.map_or_else(|| resource.terms.pay_to.to_string(), |account| account.to_string())
}

/// What a search looks at, by weight: names and tags, what it is for people, and the words of its address.
fn words(resource: &Resource) -> [String; 3] {
    let split = |text: &str| text.replace(|letter: char| !letter.is_alphanumeric(), " ");
    let name = resource.service_name.clone().unwrap_or_default();
    let names = format!("{name} {} {}", resource.tags.join(" "), split(&resource.operation));
    [names, resource.description.clone().unwrap_or_default(), split(&resource.url)]
}

/// Whether it stands there already, or its owner has room for one more. For one that is new nobody else adds one for the same owner until
/// the transaction ends.
async fn may_stand(
    db: &mut PgConnection,
    account: Option<AccountId>,
    owner: &str,
    resource: &Resource,
    max: u32,
) -> Result<bool, LedgerError> {
    if stands(&mut *db, owner, resource).await? {
        return Ok(true);
    }
    if let Some(account) = account {
        accounts::lock(&mut *db, account).await?;
    } else {
        sqlx::query!("SELECT pg_advisory_xact_lock($1)", NAMELESS_LOCK).execute(&mut *db).await?;
    }
    // Another replica may have added it while this one waited.
    Ok(stands(&mut *db, owner, resource).await? || has_room(db, account, owner, max).await?)
}

async fn stands(db: &mut PgConnection, owner: &str, resource: &Resource) -> Result<bool, LedgerError> {
    let stands = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT FROM resources WHERE owner = $1 AND x402_version = $2 AND kind = $3 AND url = $4 AND operation = $5
        ) AS "stands!"
        "#,
        owner,
        i16::from(resource.version.number()),
        resource.kind.as_str(),
        resource.url,
        resource.operation,
    );
    Ok(stands.fetch_one(db).await?)
}

async fn has_room(db: &mut PgConnection, account: Option<AccountId>, owner: &str, max: u32) -> Result<bool, LedgerError> {
    let own = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM resources WHERE owner = $1"#, owner);
    let has_room = own.fetch_one(&mut *db).await? < i64::from(max);
    if account.is_some() || !has_room {
        return Ok(has_room);
    }
    let nameless = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM resources WHERE account_id IS NULL"#);
    Ok(nameless.fetch_one(db).await? < NAMELESS_MAX)
}

async fn put_entry(
    db: &mut PgConnection,
    account: Option<AccountId>,
    owner: &str,
    resource: &Resource,
    now: DateTime<Utc>,
) -> Result<ResourceId, LedgerError> {
    let [names, description, address] = words(resource);
    let put = sqlx::query_scalar!(
        r#"
        INSERT INTO resources (id, account_id, owner, x402_version, kind, url, operation, description, mime_type, service_name, tags,
                               icon_url, bazaar, created_at, paid_at, words)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14,
                setweight(to_tsvector('english', $15::text), 'A') || setweight(to_tsvector('english', $16::text), 'B')
                || setweight(to_tsvector('english', $17::text), 'C'))
        ON CONFLICT ON CONSTRAINT resources_are_listed_once DO UPDATE SET
            description = excluded.description, mime_type = excluded.mime_type, service_name = excluded.service_name,
            tags = excluded.tags, icon_url = excluded.icon_url, bazaar = excluded.bazaar, paid_at = excluded.paid_at,
            words = excluded.words
        RETURNING id
        "#,
        ResourceId::new().uuid(),
        account.map(AccountId::uuid),
        owner,
        i16::from(resource.version.number()),
        resource.kind.as_str(),
        resource.url,
        resource.operation,
        resource.description,
        resource.mime_type,
        resource.service_name,
        &resource.tags,
        resource.icon_url,
        resource.bazaar,
        now,
        names,
        description,
        address,
    );
    Ok(ResourceId::from_uuid(put.fetch_one(db).await?))
}

async fn put_terms(db: &mut PgConnection, id: ResourceId, resource: &Resource, now: DateTime<Utc>) -> Result<(), LedgerError> {
    let terms = &resource.terms;
    sqlx::query!(
        r#"
        INSERT INTO resource_terms (resource_id, network, scheme, asset, pay_to, requirements, paid_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (resource_id, network, scheme, asset, pay_to)
        DO UPDATE SET requirements = excluded.requirements, paid_at = excluded.paid_at
        "#,
        id.uuid(),
        terms.network.as_str(),
        terms.scheme,
        terms.asset.to_string(),
        terms.pay_to.to_string(),
        resource.requirements,
        now,
    )
    .execute(&mut *db)
    .await?;
    let surplus = sqlx::query!(
        r#"
        DELETE FROM resource_terms WHERE ctid IN (
            SELECT ctid FROM resource_terms WHERE resource_id = $1 ORDER BY paid_at DESC OFFSET $2
        )
        "#,
        id.uuid(),
        TERMS_MAX,
    );
    surplus.execute(db).await?;
    Ok(())
}

/// Removes at most `limit` resources that were last paid for before `until`. Returns how many.
///
/// # Errors
/// The database could not be reached.
pub async fn forget(db: &mut PgConnection, until: DateTime<Utc>, limit: u32) -> Result<u64, LedgerError> {
    let gone = sqlx::query!(
        r#"
        DELETE FROM resources
        WHERE id IN (SELECT id FROM resources WHERE paid_at < $1 ORDER BY paid_at LIMIT $2)
          -- Nor what is being paid for again at this moment.
          AND paid_at < $1
        "#,
        until,
        i64::from(limit),
    );
    Ok(gone.execute(db).await?.rows_affected())
}

/// The same for ways to pay of resources that are paid for in other ways now.
///
/// # Errors
/// The database could not be reached.
pub async fn forget_terms(db: &mut PgConnection, until: DateTime<Utc>, limit: u32) -> Result<u64, LedgerError> {
    let gone = sqlx::query!(
        r#"
        DELETE FROM resource_terms WHERE ctid IN (
            SELECT ctid FROM resource_terms WHERE paid_at < $1 ORDER BY paid_at LIMIT $2
        )
        "#,
        until,
        i64::from(limit),
    );
    Ok(gone.execute(db).await?.rows_affected())
}

impl Ledger {
    /// A page of the resources that fit, oldest entry first, so that new ones move none to another page.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn list_resources(
        &self,
        filter: &ResourceFilter,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<ListedResource>, LedgerError> {
        let (limit, offset) = (i64::from(limit), i64::from(offset));
        let page = listed!("resources r", "ORDER BY r.id LIMIT $5 OFFSET $6", filter, limit, offset);
        Ok(page.fetch_all(self.pool()).await?)
    }

    /// How many resources fit.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn count_resources(&self, filter: &ResourceFilter) -> Result<i64, LedgerError> {
        let count = sqlx::query_scalar!(
            r#"
            SELECT count(*) AS "count!" FROM resources r
            WHERE ($1::text IS NULL OR r.kind = $1)
              AND EXISTS (
                SELECT FROM resource_terms t
                WHERE t.resource_id = r.id AND ($2::text IS NULL OR t.pay_to = $2) AND ($3::text IS NULL OR t.scheme = $3)
                  AND ($4::text IS NULL OR t.network = $4)
              )
            "#,
            filter.kind.as_deref(),
            filter.pay_to.as_deref(),
            filter.scheme.as_deref(),
            filter.network(),
        );
        Ok(count.fetch_one(self.pool()).await?)
    }

    /// A page of the resources that fit and have the words of a query, as people write queries; those with more of them in better places
    /// first.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn search_resources(
        &self,
        query: &str,
        filter: &ResourceFilter,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<ListedResource>, LedgerError> {
        let (limit, offset) = (i64::from(limit), i64::from(offset));
        let page = listed!(
            "resources r, websearch_to_tsquery('english', $5) AS wanted",
            "AND r.words @@ wanted ORDER BY ts_rank(r.words, wanted) DESC, r.id LIMIT $6 OFFSET $7",
            filter,
            query,
            limit,
            offset,
        );
        Ok(page.fetch_all(self.pool()).await?)
    }
}
