-- no-transaction
-- Every address that is removed is looked for among those that have signed for a list. Built beside the writers, whom it does not keep
-- waiting.
CREATE INDEX CONCURRENTLY addresses_by_signatory ON addresses (signed_by) WHERE signed_by IS NOT NULL;
