-- no-transaction
-- Merchants list what nobody could place, newest first. Built beside the writers, whom it does not keep waiting.
CREATE INDEX CONCURRENTLY transfers_unclaimed ON transfers (account_id, id) WHERE account_id IS NOT NULL AND canonical AND NOT claimed;
