-- What a transfer was credited to before its block was replaced holds in its next block, like somebody's word, and for the reason that it
-- had then.
--
-- A column with a constant default, which rewrites nothing, on a small table.
ALTER TABLE assignments
    ADD COLUMN basis text NOT NULL DEFAULT 'assigned'
        CHECK (basis IN ('assigned', 'payment', 'reference', 'reserved', 'payer', 'amount'));
