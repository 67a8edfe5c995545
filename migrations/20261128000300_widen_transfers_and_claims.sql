-- Transfers to registered addresses are kept, whatever they pay, and may pay invoices.
--
-- Adds columns without defaults that must be computed and drops a NOT NULL, each of which takes a short exclusive lock on tables that
-- an older version writes to once for each block.
ALTER TABLE transfers
    -- Who owned the recipient's address when the transfer was observed.
    ADD COLUMN account_id uuid REFERENCES accounts (id),
    -- Its name for that account. Transfers to others have none.
    ADD COLUMN id         uuid UNIQUE,
    -- The time of its block.
    ADD COLUMN happened_at timestamptz,
    -- The block's nonce, reference and memos of it, in the words of src/ledger/transfers.rs.
    ADD COLUMN marks      text[] NOT NULL DEFAULT '{}',
    ADD CONSTRAINT transfers_of_accounts_are_whole CHECK ((account_id IS NULL) = (id IS NULL) AND (id IS NULL OR happened_at IS NOT NULL));

CREATE INDEX transfers_by_account ON transfers (account_id, id) WHERE account_id IS NOT NULL;
CREATE INDEX transfers_by_transaction ON transfers (network, transaction);

-- Business rules: a claim is for a payment, an invoice, or both; a transfer has one claim at most, and a payment too.
ALTER TABLE claims
    ALTER COLUMN payment_id DROP NOT NULL,
    ADD COLUMN invoice_id uuid REFERENCES invoices (id),
    ADD COLUMN basis      text CHECK (basis IN ('assigned', 'payment', 'reference', 'reserved', 'payer', 'amount')),
    ADD CONSTRAINT claims_are_for_something CHECK (payment_id IS NOT NULL OR invoice_id IS NOT NULL),
    ADD CONSTRAINT claims_of_invoices_have_a_basis CHECK ((invoice_id IS NULL) = (basis IS NULL));

CREATE INDEX claims_by_invoice ON claims (invoice_id) WHERE invoice_id IS NOT NULL;

-- What merchants and payers have said that a transfer is for. It holds when the network moves the transaction to another block.
CREATE TABLE assignments (
    network     text          NOT NULL,
    transaction text          NOT NULL,
    asset       text          NOT NULL,
    sender      text          NOT NULL,
    recipient   text          NOT NULL,
    amount      numeric(39,0) NOT NULL,
    invoice_id  uuid          NOT NULL REFERENCES invoices (id),
    assigned_at timestamptz   NOT NULL,
    PRIMARY KEY (network, transaction, asset, sender, recipient, amount)
);

-- The invoice that a payment was asked for with.
ALTER TABLE payments ADD COLUMN invoice_id uuid REFERENCES invoices (id);
CREATE INDEX payments_by_invoice ON payments (invoice_id) WHERE invoice_id IS NOT NULL;

ALTER TABLE events ADD COLUMN invoice_id uuid REFERENCES invoices (id);
CREATE INDEX events_by_invoice ON events (invoice_id) WHERE invoice_id IS NOT NULL;
CREATE INDEX events_of_account ON events (account_id, position) WHERE account_id IS NOT NULL AND position IS NOT NULL;
