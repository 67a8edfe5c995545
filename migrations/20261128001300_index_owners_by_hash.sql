-- no-transaction
-- Each block asks who owns the recipients of its transfers, most of whom nobody has registered. A hash tells that by one page, however
-- many addresses there are. Built beside the writers, whom it does not keep waiting.
CREATE INDEX CONCURRENTLY addresses_by_address ON addresses USING hash (address) WHERE proven_at IS NOT NULL AND removed_at IS NULL;
