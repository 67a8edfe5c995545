-- Time alone changes only invoices of which nothing has come. Others wait for their blocks, and must not keep these waiting.
DROP INDEX invoices_to_close;
CREATE INDEX invoices_to_close ON invoices (closes_at) WHERE told_status = 'open';
