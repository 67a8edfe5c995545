-- Equal transfers of one transaction are told apart by their order in it, which is the same in whichever block it stands.
--
-- Columns with constant defaults, of which only those of equal transfers are rewritten, and a new key for a table that is written to only when somebody says what a
-- transfer is for, or blocks are replaced. Both tables are locked for a moment, `transfers` while its rows are checked.
ALTER TABLE transfers
    -- Which of several equal transfers of its transaction it is, from zero.
    ADD COLUMN occurrence integer NOT NULL DEFAULT 0 CHECK (occurrence >= 0);

ALTER TABLE assignments
    ADD COLUMN occurrence integer NOT NULL DEFAULT 0 CHECK (occurrence >= 0),
    DROP CONSTRAINT assignments_pkey,
    ADD PRIMARY KEY (network, transaction, asset, sender, recipient, amount, occurrence);

UPDATE transfers t SET occurrence = equal.occurrence
FROM (
    SELECT network, block_hash, index,
           row_number() OVER (PARTITION BY network, block_hash, transaction, asset, sender, recipient, amount ORDER BY index) - 1 AS occurrence
    FROM transfers
) equal
WHERE equal.occurrence > 0 AND t.network = equal.network AND t.block_hash = equal.block_hash AND t.index = equal.index;
