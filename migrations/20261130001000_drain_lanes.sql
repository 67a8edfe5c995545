-- Lanes that an operator drains: they take no new payments, and finish those that they have. Every replica asks here.
--
-- A new table, which locks nothing.
CREATE TABLE drained_lanes (
    network    text        NOT NULL,
    -- The address of the lane's signer.
    signer     text        NOT NULL,
    drained_at timestamptz NOT NULL,
    PRIMARY KEY (network, signer)
);
