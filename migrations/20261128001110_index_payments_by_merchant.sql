-- no-transaction
-- Merchants list their payments, newest first. Built beside the writers, whom it does not keep waiting.
CREATE INDEX CONCURRENTLY payments_by_merchant ON payments (merchant_id, id) WHERE merchant_id IS NOT NULL;
