-- Terminal answers stored under the caller's Idempotency-Key, to be repeated byte for byte.
--
-- The scope is the account, or the request's own fingerprint where the caller has no account.
CREATE TABLE idempotency (
    scope       text        NOT NULL,
    key         text        NOT NULL CHECK (length(key) BETWEEN 16 AND 128),
    fingerprint bytea       NOT NULL,
    status      smallint    NOT NULL,
    body        bytea       NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (scope, key)
);
