-- A payment that is given up names the transaction that did not pay, because x402 servers show it to whoever asks why. A slot
-- that is spent without the transfer lets go of its payments, so until now that transaction was forgotten.
--
-- Locks payments for a moment: the column is nullable and has no default.
ALTER TABLE payments ADD COLUMN failed_submission_id uuid REFERENCES submissions (id);

COMMENT ON COLUMN payments.failed_submission_id IS 'The newest slot that was spent without the transfer.';
COMMENT ON COLUMN payments.failures IS 'Slots that were spent without the transfer while the payment was alone in them.';
