-- no-transaction
-- Challenges that nobody answered are forgotten, the oldest first. Built beside the writers, whom it does not keep waiting.
CREATE INDEX CONCURRENTLY addresses_by_challenge ON addresses (challenged_until) WHERE proven_at IS NULL;
