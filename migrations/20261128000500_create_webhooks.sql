-- Where accounts are told of events, and what became of each telling.
--
-- Events are the outbox. One drain gives those of accounts their positions in the stream and the bytes that they are told with, and makes
-- the deliveries in the same transaction (src/flow/outbox.rs).
--
-- The new column and its constraint take a short exclusive lock on events, and the new index keeps writers out while it is built, over
-- 90 days of events at most. Nothing has read the old one yet.
ALTER TABLE events
    -- What is told: everybody is sent the same bytes, however often.
    ADD COLUMN body text,
    ADD CONSTRAINT events_in_the_stream_have_a_body CHECK ((position IS NULL) = (body IS NULL));

-- Never goes back, also when old events are gone: readers remember how far they have come.
CREATE SEQUENCE event_positions AS bigint OWNED BY events.position;

DROP INDEX events_without_position;
CREATE INDEX events_to_tell ON events (id) WHERE position IS NULL AND account_id IS NOT NULL;

CREATE TABLE webhooks (
    id                  uuid        PRIMARY KEY,
    account_id          uuid        NOT NULL REFERENCES accounts (id),
    url                 text        NOT NULL CHECK (octet_length(url) BETWEEN 1 AND 2048),
    -- The types of events that it is told of; none for all of them.
    events              text[]      NOT NULL,
    -- What signs must be readable, so these stand here as they are, until the webhook is removed.
    secret              text,
    former_secret       text,
    former_secret_until timestamptz,
    created_at          timestamptz NOT NULL,
    -- Since a delivery was given up, until one arrives.
    failing_since       timestamptz,
    disabled_at         timestamptz,
    disabled_reason     text        CHECK (disabled_reason IN ('gone')),
    removed_at          timestamptz,
    CONSTRAINT webhooks_have_a_secret_until_removed CHECK ((secret IS NULL) = (removed_at IS NOT NULL)),
    CONSTRAINT webhooks_former_secrets_expire CHECK ((former_secret IS NULL) = (former_secret_until IS NULL)),
    CONSTRAINT webhooks_disabled_for_a_reason CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL))
);

CREATE INDEX webhooks_by_account ON webhooks (account_id, id) WHERE removed_at IS NULL;
CREATE INDEX webhooks_removed ON webhooks (removed_at) WHERE removed_at IS NOT NULL;

CREATE TABLE deliveries (
    id           uuid        PRIMARY KEY,
    webhook_id   uuid        NOT NULL REFERENCES webhooks (id),
    -- Old events go, and what was told of them goes with them.
    event_id     uuid        NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    attempts     integer     NOT NULL CHECK (attempts >= 0),
    -- When the next attempt is due. While one is under way it is the time at which it is taken for lost.
    next_at      timestamptz,
    delivered_at timestamptz,
    given_up_at  timestamptz,
    last_status  smallint    CHECK (last_status BETWEEN 100 AND 999),
    last_failure text,
    last_excerpt text        CHECK (length(last_excerpt) <= 1024),
    created_at   timestamptz NOT NULL,
    -- Business rule: a webhook is told of an event by one delivery, however often that is tried.
    CONSTRAINT deliveries_are_made_once UNIQUE (event_id, webhook_id),
    CONSTRAINT deliveries_wait_or_have_ended CHECK (num_nonnulls(next_at, delivered_at, given_up_at) = 1)
);

CREATE INDEX deliveries_due ON deliveries (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX deliveries_open ON deliveries (webhook_id) WHERE next_at IS NOT NULL;
CREATE INDEX deliveries_by_webhook ON deliveries (webhook_id, id);
CREATE INDEX deliveries_ended ON deliveries (coalesce(delivered_at, given_up_at)) WHERE next_at IS NULL;
