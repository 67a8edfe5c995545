-- References are looked for by their first 24 bytes, which invoices_by_nonce does, and which are unique themselves.
--
-- Takes a short exclusive lock on invoices.
DROP INDEX invoices_by_reference;
