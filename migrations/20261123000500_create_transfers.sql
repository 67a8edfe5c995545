-- What stands in blocks, and what it pays.
CREATE TABLE transfers (
    network      text          NOT NULL,
    block_hash   text          NOT NULL,
    index        integer       NOT NULL CHECK (index >= 0),
    block_number bigint        NOT NULL CHECK (block_number >= 0),
    transaction  text          NOT NULL,
    asset        text          NOT NULL,
    sender       text          NOT NULL,
    recipient    text          NOT NULL,
    amount       numeric(39,0) NOT NULL CHECK (amount >= 0),
    canonical    boolean       NOT NULL,
    PRIMARY KEY (network, block_hash, index)
);

CREATE INDEX transfers_by_block ON transfers (network, block_number);

-- Business rules: a transfer pays at most one thing, and a payment is paid by at most one transfer.
-- A reorganisation deletes the claims of the blocks that it drops.
CREATE TABLE claims (
    network      text    NOT NULL,
    block_hash   text    NOT NULL,
    index        integer NOT NULL,
    block_number bigint  NOT NULL,
    transaction  text    NOT NULL,
    payment_id   uuid    NOT NULL UNIQUE REFERENCES payments (id),
    PRIMARY KEY (network, block_hash, index),
    FOREIGN KEY (network, block_hash, index) REFERENCES transfers (network, block_hash, index)
);

CREATE INDEX claims_by_block ON claims (network, block_number);
CREATE INDEX claims_by_transaction ON claims (transaction);
