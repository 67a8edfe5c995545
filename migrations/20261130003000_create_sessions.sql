-- Sessions of people who look at the dashboard. A browser keeps random bytes, and this their hash, so a copy of the database opens none.
--
-- A session is its key's: it reads what the key reads, and is worth nothing once the key is. A new table only, so no lock that anybody
-- could feel.
CREATE TABLE sessions (
    -- SHA-256 of what the browser keeps.
    hash       bytea       PRIMARY KEY CHECK (octet_length(hash) = 32),
    key_id     uuid        NOT NULL REFERENCES api_keys (id),
    created_at timestamptz NOT NULL,
    -- From then on it is worth nothing.
    until      timestamptz NOT NULL,
    CONSTRAINT sessions_end_after_they_begin CHECK (created_at < until)
);

CREATE INDEX sessions_by_key ON sessions (key_id);
CREATE INDEX sessions_by_end ON sessions (until);
