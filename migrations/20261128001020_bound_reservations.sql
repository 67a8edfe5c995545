-- Finds the invoice that an address is kept for at a time without looking at all those that it was kept for before.
--
-- Keeps writers out of invoice_options while the new column of reserved options is filled and indexed.
ALTER TABLE invoice_options
    -- Until when the address is kept for the invoice, as in `addresses`. None if it is not, or was given back.
    ADD COLUMN reserved_until timestamptz;

UPDATE invoice_options o SET reserved_until = i.closes_at
FROM invoices i WHERE i.id = o.invoice_id AND o.reserved AND i.canceled_at IS NULL;

DROP INDEX invoice_options_reserved;
CREATE INDEX invoice_options_reserved ON invoice_options (network, pay_to, asset, reserved_until) WHERE reserved_until IS NOT NULL;
