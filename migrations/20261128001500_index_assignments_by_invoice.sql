-- no-transaction
-- Whoever calls an invoice off takes back what transfers were believed to be for it. Built beside the writers, whom it does not keep
-- waiting.
CREATE INDEX CONCURRENTLY assignments_by_invoice ON assignments (invoice_id);
