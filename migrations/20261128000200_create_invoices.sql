-- What merchants expect to be paid: the terms, and what was told of them so far.
--
-- Where an invoice stands is derived (src/domain/invoice.rs). The columns `told_…` say what its owner was told last, so that the next
-- change is the difference, and so that lists can be read by status. New tables only.
CREATE TABLE invoices (
    id            uuid          PRIMARY KEY,
    account_id    uuid          NOT NULL REFERENCES accounts (id),
    -- What a transfer names it by: SHA-256 over its id (src/domain/binding.rs).
    reference     bytea         NOT NULL CHECK (octet_length(reference) = 32),
    -- In the invoice's own unit, which is the finest of its tokens.
    amount        numeric(39,0) NOT NULL CHECK (amount > 0),
    tolerance     numeric(39,0) NOT NULL CHECK (tolerance >= 0 AND tolerance < amount),
    decimals      smallint      NOT NULL CHECK (decimals BETWEEN 0 AND 36),
    symbol        text          NOT NULL,
    payer         text,
    by_amount     boolean       NOT NULL,
    answer_at     text          NOT NULL CHECK (answer_at IN ('included', 'safe', 'final')),
    created_at    timestamptz   NOT NULL,
    expires_at    timestamptz   NOT NULL,
    -- The expiry and the merchant's grace.
    closes_at     timestamptz   NOT NULL,
    canceled_at   timestamptz,
    resource      text,
    description   text,
    -- The merchant's own name for it.
    merchant_reference text,
    metadata      jsonb         NOT NULL,
    told_status   text          NOT NULL
                  CHECK (told_status IN ('open', 'seen', 'underpaid', 'expired', 'paid', 'final', 'canceled')),
    told_paid     numeric(39,0) NOT NULL CHECK (told_paid >= 0),
    told_pending  numeric(39,0) NOT NULL CHECK (told_pending >= 0),
    told_due      numeric(39,0) NOT NULL CHECK (told_due >= 0),
    told_surplus  numeric(39,0) NOT NULL CHECK (told_surplus >= 0),
    told_late     numeric(39,0) NOT NULL CHECK (told_late >= 0),
    CONSTRAINT invoices_close_after_they_expire CHECK (created_at < expires_at AND expires_at <= closes_at)
);

CREATE UNIQUE INDEX invoices_by_reference ON invoices (reference);
-- The nonce of an EIP-3009 authorization names its invoice by 24 bytes and counts with the others.
CREATE UNIQUE INDEX invoices_by_nonce ON invoices (substring(reference FROM 1 FOR 24));
CREATE INDEX invoices_by_account ON invoices (account_id, id);
CREATE INDEX invoices_by_status ON invoices (account_id, told_status, id);
CREATE INDEX invoices_by_merchant_reference ON invoices (account_id, merchant_reference) WHERE merchant_reference IS NOT NULL;
-- Those for which the clock still runs.
CREATE INDEX invoices_to_close ON invoices (closes_at) WHERE told_status IN ('open', 'seen');

-- The ways in which an invoice can be paid.
CREATE TABLE invoice_options (
    invoice_id uuid          NOT NULL REFERENCES invoices (id),
    position   smallint      NOT NULL CHECK (position >= 0),
    network    text          NOT NULL,
    asset      text          NOT NULL,
    decimals   smallint      NOT NULL CHECK (decimals BETWEEN 0 AND 36),
    pay_to     text          NOT NULL,
    amount     numeric(39,0) NOT NULL CHECK (amount > 0),
    reserved   boolean       NOT NULL,
    -- Repeated from the invoice, so that one index finds who waits for exactly this: who is expected to pay, and whether nothing has
    -- come yet and there is time.
    payer      text,
    open       boolean       NOT NULL,
    PRIMARY KEY (invoice_id, position)
);

CREATE INDEX invoice_options_reserved ON invoice_options (network, pay_to, asset) WHERE reserved;
CREATE INDEX invoice_options_by_amount ON invoice_options (network, pay_to, asset, amount, payer) WHERE open AND NOT reserved;
CREATE INDEX invoice_options_by_address ON invoice_options (pay_to, invoice_id);
