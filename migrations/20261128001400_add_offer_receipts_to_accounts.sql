-- Whether settle answers for a merchant's payments carry their receipts in the shape of the x402 extension offer-receipt, too.
--
-- Adds a column with a constant default, which takes a short exclusive lock on accounts and rewrites nothing.
ALTER TABLE accounts
    ADD COLUMN offer_receipts boolean NOT NULL DEFAULT false;
