-- Accounts and the keys they talk with.
--
-- A key is found by its public half and checked against the hash of its secret half; the secret itself is shown once and not kept.
-- New tables only, so no lock that anybody could feel.
CREATE TABLE accounts (
    id         uuid        PRIMARY KEY,
    name       text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL
);

CREATE TABLE api_keys (
    id          uuid        PRIMARY KEY,
    account_id  uuid        NOT NULL REFERENCES accounts (id),
    scope       text        NOT NULL CHECK (scope IN ('provider', 'merchant', 'operator')),
    secret_hash bytea       NOT NULL CHECK (octet_length(secret_hash) = 32),
    created_at  timestamptz NOT NULL,
    revoked_at  timestamptz
);

CREATE INDEX api_keys_by_account ON api_keys (account_id);
