-- What the settlement signers hold, as their lanes saw it last, so that every replica can withdraw a network before it fails.
CREATE TABLE signers (
    network     text          NOT NULL,
    address     text          NOT NULL,
    -- The operator's name for it, which may change or go to another account.
    name        text          NOT NULL,
    balance_wei numeric(39,0) NOT NULL CHECK (balance_wei >= 0),
    short       boolean       NOT NULL,
    PRIMARY KEY (network, address)
);
