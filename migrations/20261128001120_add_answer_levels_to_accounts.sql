-- How deep transfers must stand before a merchant's payments are answered with success.
--
-- Adds a column without a default, which takes a short exclusive lock on accounts.
ALTER TABLE accounts
    -- Levels by amount, in the form of src/domain/answer.rs. Empty: as deep as the operator says.
    ADD COLUMN answer_at jsonb CHECK (jsonb_typeof(answer_at) = 'array');
