-- Terminal answers stored under the caller's Idempotency-Key, to be repeated byte for byte.
--
-- An account's key is bound to its request before anything is done for it, and gets its answer when there is one. For a caller
-- without an account the scope is the request's own fingerprint, so there is nothing to bind, and only answers are stored.
CREATE TABLE idempotency (
    scope       text        NOT NULL,
    key         text        NOT NULL CHECK (length(key) BETWEEN 16 AND 128),
    fingerprint bytea       NOT NULL,
    status      smallint,
    body        bytea,
    -- Whether the answer is a success. It takes the place of a refusal that was stored a moment before, because money has moved.
    success     boolean     NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (scope, key),
    CONSTRAINT idempotency_answers_are_whole CHECK ((status IS NULL) = (body IS NULL))
);

CREATE INDEX idempotency_by_age ON idempotency (created_at);
