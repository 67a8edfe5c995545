-- What a comparison of a network with the ledger came to. Kept for 400 days.
CREATE TABLE reconciliations (
    id          uuid        PRIMARY KEY,
    network     text        NOT NULL,
    begun_at    timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    -- The newest block of the ledger at the beginning.
    block_number bigint     NOT NULL CHECK (block_number >= 0),
    -- What was looked at.
    addresses   bigint      NOT NULL CHECK (addresses >= 0),
    credits     bigint      NOT NULL CHECK (credits >= 0),
    -- Addresses and tokens of which nothing could be said yet: it is the first look, or the block of the last one was replaced.
    begun       bigint      NOT NULL CHECK (begun >= 0),
    -- How many there are, and the first of them.
    differences bigint      NOT NULL CHECK (differences >= 0),
    report      jsonb       NOT NULL
);

CREATE INDEX reconciliations_by_network ON reconciliations (network, id);
CREATE INDEX reconciliations_by_age ON reconciliations (finished_at);

-- What an address held at a block up to which network and ledger say the same of it.
CREATE TABLE reconciled_balances (
    address_id   uuid          NOT NULL REFERENCES addresses (id),
    asset        text          NOT NULL,
    block_number bigint        NOT NULL CHECK (block_number >= 0),
    block_hash   text          NOT NULL,
    amount       numeric(39,0) NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (address_id, asset)
);
