//! What the schema promises, asked of PostgreSQL's own tables.

use crate::support::database;

/// Columns that name an invoice and begin no index. Nobody asks for the revisions of receipts by their invoice.
const UNINDEXED: &str = r"
    WITH names AS (
        SELECT conrelid AS relation, conkey[1] AS number FROM pg_constraint WHERE contype = 'f' AND confrelid = 'invoices'::regclass
    )
    SELECT a.attrelid::regclass::text || '.' || a.attname
    FROM names n JOIN pg_attribute a ON a.attrelid = n.relation AND a.attnum = n.number
    WHERE n.relation <> 'receipt_revisions'::regclass
      AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = n.relation AND i.indisvalid AND i.indkey[0] = n.number)
    ORDER BY 1";

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_an_invoice_is_found_without_reading_whole_tables() {
    let ledger = database::ledger(&database::fresh().await).await;

    let unindexed = sqlx::query_scalar::<_, String>(UNINDEXED).fetch_all(ledger.pool()).await;

    assert_eq!(unindexed.expect("the database answers"), Vec::<String>::new());
}
