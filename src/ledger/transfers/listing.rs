//! Pages of the transfers to accounts.

use uuid::Uuid;

use super::{OwnTransfer, TransferRow, own_transfers};
use crate::domain::ids::{AccountId, InvoiceId, TransferId};
use crate::ledger::exports::Span;
use crate::ledger::{Ledger, LedgerError};

/// Which transfers of an account are wanted.
#[derive(Debug, Clone, Default)]
pub struct TransferFilter {
    /// Whether they pay something.
    pub matched: Option<bool>,
    /// Those that pay this invoice.
    pub invoice: Option<InvoiceId>,
    /// Those behind this one.
    pub after: Option<TransferId>,
    /// So many at most.
    pub limit: u32,
}

impl Ledger {
    /// A page of the transfers to an account's addresses, newest first. Those whose blocks are gone are not among them.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn list_transfers(&self, account: AccountId, filter: &TransferFilter) -> Result<Vec<OwnTransfer>, LedgerError> {
        let behind = filter.after.map_or(Uuid::max(), TransferId::uuid);
        let (account, limit) = (account.uuid(), i64::from(filter.limit));
        // A text for each wish: one for all of them would be planned for none.
        let rows = match (filter.invoice, filter.matched) {
            (Some(_), Some(false)) => return Ok(Vec::new()),
            (Some(invoice), _) => {
                let rows = own_transfers!(
                    r#"
                    WHERE c.invoice_id = $1 AND t.account_id = $2 AND t.canonical AND t.id < $3
                    ORDER BY t.id DESC LIMIT $4
                    "#,
                    invoice.uuid(),
                    account,
                    behind,
                    limit,
                );
                rows.fetch_all(self.pool()).await?
            }
            (None, Some(false)) => {
                let rows = own_transfers!(
                    r#"
                    WHERE t.account_id = $1 AND t.canonical AND NOT t.claimed AND c.network IS NULL AND t.id < $2
                    ORDER BY t.id DESC LIMIT $3
                    "#,
                    account,
                    behind,
                    limit,
                );
                rows.fetch_all(self.pool()).await?
            }
            (None, Some(true)) => {
                let rows = own_transfers!(
                    r#"
                    WHERE t.account_id = $1 AND t.canonical AND c.network IS NOT NULL AND t.id < $2
                    ORDER BY t.id DESC LIMIT $3
                    "#,
                    account,
                    behind,
                    limit,
                );
                rows.fetch_all(self.pool()).await?
            }
            (None, None) => {
                let rows = own_transfers!(
                    "WHERE t.account_id = $1 AND t.canonical AND t.id < $2 ORDER BY t.id DESC LIMIT $3",
                    account,
                    behind,
                    limit,
                );
                rows.fetch_all(self.pool()).await?
            }
        };
        rows.into_iter().map(OwnTransfer::try_from).collect()
    }

    /// A page of the transfers of a span behind a name, in the order of their names, without those whose blocks are gone. They are
    /// named when their blocks are read, which may be long after they happened.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn export_transfers(&self, span: &Span, after: Uuid, limit: u32) -> Result<Vec<OwnTransfer>, LedgerError> {
        let rows = own_transfers!(
            r#"
            WHERE t.account_id IS NOT NULL AND t.canonical AND ($1::uuid IS NULL OR t.account_id = $1) AND t.id > $2
              AND ($3::timestamptz IS NULL OR t.happened_at >= $3) AND ($4::timestamptz IS NULL OR t.happened_at < $4)
            ORDER BY t.id LIMIT $5
            "#,
            span.account.map(AccountId::uuid),
            after,
            span.from,
            span.until,
            i64::from(limit),
        );
        rows.fetch_all(self.pool()).await?.into_iter().map(OwnTransfer::try_from).collect()
    }
}
