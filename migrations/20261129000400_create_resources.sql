-- Paid resources that want to be found (the extension bazaar), and how each can be paid for.
--
-- An entry belongs to whoever settles for it, or, without an account, to who is paid: nobody can write over another one's. Two owners
-- that name the same address have two entries. The tables are new, and nothing waits for their locks.
CREATE TABLE resources (
    id           uuid        PRIMARY KEY,
    account_id   uuid        REFERENCES accounts (id),
    -- The account, or the recipient.
    owner        text        NOT NULL CHECK (octet_length(owner) BETWEEN 1 AND 64),
    x402_version smallint    NOT NULL CHECK (x402_version IN (1, 2)),
    kind         text        NOT NULL CHECK (kind IN ('http', 'mcp')),
    url          text        NOT NULL CHECK (octet_length(url) BETWEEN 1 AND 2048),
    -- The method, or the tool.
    operation    text        NOT NULL CHECK (octet_length(operation) <= 128),
    description  text,
    mime_type    text,
    service_name text,
    tags         text[]      NOT NULL,
    icon_url     text,
    -- {info, schema, routeTemplate?} as it is published.
    bazaar       json        NOT NULL,
    -- What a search looks at.
    words        tsvector    NOT NULL,
    created_at   timestamptz NOT NULL,
    -- When a payment for it was noted last.
    paid_at      timestamptz NOT NULL,
    CONSTRAINT resources_are_listed_once UNIQUE (owner, x402_version, kind, url, operation)
);

CREATE INDEX resources_by_words ON resources USING gin (words);
CREATE INDEX resources_by_payment ON resources (paid_at);
-- Those without an account are counted together.
CREATE INDEX resources_of_nobody ON resources (id) WHERE account_id IS NULL;

CREATE TABLE resource_terms (
    resource_id  uuid        NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    network      text        NOT NULL,
    scheme       text        NOT NULL,
    asset        text        NOT NULL,
    pay_to       text        NOT NULL,
    -- The payment requirements as they are published.
    requirements json        NOT NULL,
    paid_at      timestamptz NOT NULL,
    PRIMARY KEY (resource_id, network, scheme, asset, pay_to)
);

CREATE INDEX resource_terms_by_recipient ON resource_terms (pay_to);
CREATE INDEX resource_terms_by_network ON resource_terms (network, scheme);
CREATE INDEX resource_terms_by_payment ON resource_terms (paid_at);
