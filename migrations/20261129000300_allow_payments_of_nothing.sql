-- A resource server that charges by use may charge nothing (scheme `upto`). The signature is used up all the same, by a payment of nothing.
-- Holds the table for a moment; the rows that are there are looked at by the next migration.
ALTER TABLE payments DROP CONSTRAINT payments_amount_check;
ALTER TABLE payments ADD CONSTRAINT payments_amount_check CHECK (amount >= 0) NOT VALID;
-- Nothing is ever sent for it, and it is told as soon as it is recorded.
ALTER TABLE payments ADD CONSTRAINT payments_of_nothing_are_final
    CHECK (amount > 0 OR (final_at IS NOT NULL AND handed_out_at IS NOT NULL)) NOT VALID;
