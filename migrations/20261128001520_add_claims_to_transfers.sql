-- The few transfers that pay nothing are found without reading all those that do.
--
-- Adds a column with a constant default, which takes a short exclusive lock on transfers and rewrites nothing.
ALTER TABLE transfers
    -- Whether there is a claim on it. Only of transfers to accounts, since no others are listed. One that is claimed may lack it, because
    -- an older version does not know the column; who reads by it looks at the claims, too.
    ADD COLUMN claimed boolean NOT NULL DEFAULT false;
