-- Who was paid reads what was paid: the account that owns the recipient's address.
--
-- Adds a column without a default, which takes a short exclusive lock on payments.
ALTER TABLE payments
    -- Who owned it when the payment was accepted, and from its transfer on who owned it then. Empty if nobody did.
    ADD COLUMN merchant_id uuid REFERENCES accounts (id);

UPDATE payments p SET merchant_id = t.account_id
FROM claims c JOIN transfers t ON t.network = c.network AND t.block_hash = c.block_hash AND t.index = c.index
WHERE c.payment_id = p.id AND t.account_id IS NOT NULL;
