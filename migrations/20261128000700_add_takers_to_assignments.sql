-- Who was told that a presented transfer pays its invoice. It is told once, in whichever block the transfer stands.
--
-- Adds columns without defaults to a table that is written to only when somebody says what a transfer is for.
ALTER TABLE assignments
    -- The request that took the success. Empty while only the merchant has said it, and nobody has presented the transfer.
    ADD COLUMN handed_out_to text,
    ADD COLUMN handed_out_at timestamptz,
    ADD CONSTRAINT assignments_handed_out_to_somebody CHECK ((handed_out_at IS NULL) = (handed_out_to IS NULL));
