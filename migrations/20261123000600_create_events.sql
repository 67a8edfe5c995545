-- What accounts are told. An event is written in the transaction that made it true; one drain gives it its place in the stream
-- afterwards, because identifiers made inside concurrent commits do not order them.
CREATE TABLE events (
    id         uuid        PRIMARY KEY,
    position   bigint      UNIQUE,
    account_id uuid        REFERENCES accounts (id),
    payment_id uuid        REFERENCES payments (id),
    kind       text        NOT NULL,
    data       jsonb       NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE INDEX events_by_payment ON events (payment_id);
CREATE INDEX events_without_position ON events (id) WHERE position IS NULL;
CREATE INDEX events_by_age ON events (created_at);
