-- no-transaction
-- Orders choose the address of a network that was kept for another invoice longest ago, or never. Built beside the writers, whom it
-- does not keep waiting.
CREATE INDEX CONCURRENTLY addresses_by_freedom ON addresses (account_id, network, (COALESCE(reserved_until, '-infinity'::timestamptz)), id)
    WHERE proven_at IS NOT NULL AND removed_at IS NULL;
