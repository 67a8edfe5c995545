-- Terminal answers stored under the caller's Idempotency-Key, to be repeated byte for byte.
--
-- A key is bound to its request before anything is done for it, and gets its answer when there is one. The scope is the account, or the request's own fingerprint where the caller has no account.
CREATE TABLE idempotency (
    scope       text        NOT NULL,
    key         text        NOT NULL CHECK (length(key) BETWEEN 16 AND 128),
    fingerprint bytea       NOT NULL,
    status      smallint,
    body        bytea,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (scope, key),
    CONSTRAINT idempotency_answers_are_whole CHECK ((status IS NULL) = (body IS NULL))
);

CREATE INDEX idempotency_by_age ON idempotency (created_at);
