-- Addresses at which accounts receive money, and how they showed that these are theirs.
--
-- A row begins as a challenge and is nobody's until it is proven. New table only, so no lock that anybody could feel.
CREATE TABLE addresses (
    id             uuid        PRIMARY KEY,
    account_id     uuid        NOT NULL REFERENCES accounts (id),
    network        text        NOT NULL,
    address        text        NOT NULL,
    created_at     timestamptz NOT NULL,
    -- The signature must come before this.
    challenged_until timestamptz NOT NULL,
    proven_at      timestamptz,
    -- By the owner's signature, by that of another address of the same account over a list, or by an operator's word.
    proof          text        CHECK (proof IN ('signature', 'statement', 'operator')),
    -- What the operator said, for those who ask later.
    note           text        CHECK (length(note) <= 500),
    removed_at     timestamptz,
    -- The list that it was registered in, under one statement, and the address of the account that signs for it.
    list_id        uuid,
    signed_by      uuid        REFERENCES addresses (id),
    -- The one invoice that everything which arrives is for, and until when.
    reserved_for   uuid,
    reserved_until timestamptz,
    CONSTRAINT addresses_proven_somehow CHECK ((proven_at IS NULL) = (proof IS NULL)),
    CONSTRAINT addresses_of_lists_are_signed_for CHECK ((list_id IS NULL) = (signed_by IS NULL)),
    CONSTRAINT addresses_reserved_for_a_time CHECK ((reserved_for IS NULL) = (reserved_until IS NULL))
);

-- Business rule: an address has one owner at a time, whoever else would like to be.
CREATE UNIQUE INDEX addresses_one_owner ON addresses (network, address) WHERE proven_at IS NOT NULL AND removed_at IS NULL;
CREATE INDEX addresses_by_account ON addresses (account_id, id);
CREATE INDEX addresses_by_list ON addresses (list_id) WHERE list_id IS NOT NULL;
