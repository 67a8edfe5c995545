-- Receipts: what we state about a claim, over and over as the chain changes it, and whether it was redeemed.
--
-- A receipt and its revisions are written in the transaction that makes the claim, has it become final, or loses it. They are signed
-- afterwards, from nothing but what stands here (src/flow/receipt.rs). New tables only, so no lock that anybody could feel.
CREATE TABLE receipts (
    id             uuid          PRIMARY KEY,
    network        text          NOT NULL,
    asset          text          NOT NULL,
    sender         text          NOT NULL,
    recipient      text          NOT NULL,
    amount         numeric(39,0) NOT NULL CHECK (amount > 0),
    -- What the newest revision says, so that one look finds what a block concerns.
    transaction    text          NOT NULL,
    -- Which of several equal transfers of the transaction it is, from zero.
    occurrence     integer       NOT NULL CHECK (occurrence >= 0),
    payment_id     uuid          REFERENCES payments (id),
    invoice_id     uuid          REFERENCES invoices (id),
    -- Who owned the recipient's address when the transfer was observed.
    account_id     uuid          REFERENCES accounts (id),
    revision       integer       NOT NULL CHECK (revision >= 1),
    finality       text          NOT NULL CHECK (finality IN ('included', 'final', 'revoked')),
    block_hash     text          NOT NULL,
    block_number   bigint        NOT NULL CHECK (block_number >= 0),
    index          integer       NOT NULL CHECK (index >= 0),
    -- A receipt is redeemed once, whatever its revisions say later.
    redeemed_at    timestamptz,
    redeemed_nonce text          CHECK (length(redeemed_nonce) BETWEEN 1 AND 128),
    CONSTRAINT receipts_are_for_something CHECK (payment_id IS NOT NULL OR invoice_id IS NOT NULL),
    CONSTRAINT receipts_are_revoked_after_they_are_issued CHECK (revision > 1 OR finality <> 'revoked'),
    CONSTRAINT receipts_have_nonces_of_their_redemption CHECK (redeemed_nonce IS NULL OR redeemed_at IS NOT NULL)
);

-- Business rule: a claim has one receipt that stands.
CREATE UNIQUE INDEX receipts_one_per_claim ON receipts (network, block_hash, index) WHERE finality <> 'revoked';
-- Business rule: a payment has one receipt, in whichever block and by whichever transaction it is paid in the end.
CREATE UNIQUE INDEX receipts_one_per_payment ON receipts (payment_id) WHERE payment_id IS NOT NULL;
-- Business rule: a transfer that pays an invoice without our help has one receipt, in whichever block it stands.
CREATE UNIQUE INDEX receipts_one_per_transfer
    ON receipts (network, transaction, asset, sender, recipient, amount, occurrence, invoice_id) WHERE payment_id IS NULL;
CREATE INDEX receipts_not_final ON receipts (network, block_number) WHERE finality = 'included';
CREATE INDEX receipts_by_block ON receipts (network, block_number);
CREATE INDEX receipts_by_invoice ON receipts (invoice_id, id) WHERE invoice_id IS NOT NULL;

-- What was stated, in order. The highest number of a receipt holds. A row never changes, but for its signature and, as long as there
-- is none, the time from which it counts.
CREATE TABLE receipt_revisions (
    receipt_id  uuid        NOT NULL REFERENCES receipts (id),
    number      integer     NOT NULL CHECK (number >= 1),
    finality    text        NOT NULL CHECK (finality IN ('included', 'final', 'revoked')),
    transaction text        NOT NULL,
    block_hash  text        NOT NULL,
    index       integer     NOT NULL CHECK (index >= 0),
    payment_id  uuid        REFERENCES payments (id),
    invoice_id  uuid        REFERENCES invoices (id),
    account_id  uuid        REFERENCES accounts (id),
    issued_at   timestamptz NOT NULL,
    jws         text,
    PRIMARY KEY (receipt_id, number),
    CONSTRAINT receipt_revisions_are_for_something CHECK (payment_id IS NOT NULL OR invoice_id IS NOT NULL),
    CONSTRAINT receipt_revisions_revoke_something CHECK (number > 1 OR finality <> 'revoked')
);

CREATE INDEX receipt_revisions_unsigned ON receipt_revisions (issued_at) WHERE jws IS NULL;
