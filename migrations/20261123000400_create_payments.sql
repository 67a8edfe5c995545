-- Payments, the authorizations they consume, and the slots that carry them to a chain.
--
-- No table holds a state: rows hold facts, and src/domain/payment.rs derives where a payment stands. The CHECKs repeat the rules
-- of that file; change both together.

-- A lane's slot: one account nonce of one signer, or one message on chains without nonces.
CREATE TABLE submissions (
    id           uuid        PRIMARY KEY,
    network      text        NOT NULL,
    -- The address of the account, not the operator's name for it: nonces belong to the account.
    signer       text        NOT NULL,
    nonce        bigint      CHECK (nonce >= 0),
    message      bytea,
    fence        bigint      NOT NULL CHECK (fence > 0),
    created_at   timestamptz NOT NULL,
    -- The canonical block in which the signer's nonce passed this slot. A reorganisation empties it again.
    spent_block  bigint      CHECK (spent_block >= 0),
    CONSTRAINT submissions_have_one_identity CHECK ((nonce IS NULL) <> (message IS NULL)),
    -- Business rule: a slot is opened once.
    CONSTRAINT submissions_one_per_nonce UNIQUE (network, signer, nonce),
    CONSTRAINT submissions_one_per_message UNIQUE (network, message)
);

CREATE INDEX submissions_unspent ON submissions (network, signer) WHERE spent_block IS NULL;
CREATE INDEX submissions_by_spent_block ON submissions (network, spent_block) WHERE spent_block IS NOT NULL;

-- Signed bytes for a slot. They are committed before the first byte goes to a node, so a transaction can never be out there
-- without us knowing its identifier. A fee bump is a further attempt at the same slot.
CREATE TABLE attempts (
    network       text          NOT NULL,
    transaction   text          NOT NULL,
    submission_id uuid          NOT NULL REFERENCES submissions (id),
    number        smallint      NOT NULL CHECK (number > 0),
    -- The payments that the bytes make. What the slot carries may be less by now.
    payments      uuid[]        NOT NULL,
    -- They hold the payers' signatures and are erased once the block that spent the slot is final: nobody sends them after that.
    raw           bytea,
    erased_at     timestamptz,
    cost_wei_max  numeric(39,0) NOT NULL CHECK (cost_wei_max >= 0),
    fee_per_gas   numeric(39,0) NOT NULL CHECK (fee_per_gas >= 0),
    tip_per_gas   numeric(39,0) NOT NULL CHECK (tip_per_gas >= 0),
    gas_limit     bigint        NOT NULL CHECK (gas_limit > 0),
    signed_at     timestamptz   NOT NULL,
    PRIMARY KEY (network, transaction),
    CONSTRAINT attempts_are_numbered UNIQUE (submission_id, number),
    CONSTRAINT attempts_keep_what_may_be_sent CHECK ((raw IS NULL) = (erased_at IS NOT NULL))
);

CREATE INDEX attempts_by_transaction ON attempts (transaction);
CREATE INDEX attempts_with_bytes ON attempts (submission_id) WHERE raw IS NOT NULL;

CREATE TABLE payments (
    id               uuid          PRIMARY KEY,
    network          text          NOT NULL,
    key              bytea         NOT NULL,
    fingerprint      bytea         NOT NULL CHECK (octet_length(fingerprint) = 32),
    x402_version     smallint      NOT NULL CHECK (x402_version IN (1, 2)),
    asset            text          NOT NULL,
    payer            text          NOT NULL,
    pay_to           text          NOT NULL,
    amount           numeric(39,0) NOT NULL CHECK (amount > 0),
    resource         text,
    provider_id      uuid          REFERENCES accounts (id),
    -- What has to be sent. It holds the payer's signature and is erased once the payment is final, or can never be made.
    payload          jsonb,
    expires_at       timestamptz   NOT NULL,
    created_at       timestamptz   NOT NULL,
    answer_by        timestamptz   NOT NULL,
    answer_at        text          NOT NULL CHECK (answer_at IN ('included', 'safe', 'final')),
    -- The address of the only signer that can send it, where the payer has chosen one.
    signer           text,
    -- The address of the signer that is to send it.
    lane             text,
    submission_id    uuid          REFERENCES submissions (id),
    -- Must not share a transaction with others: a contract wallet, or a payment that failed in a batch.
    alone            boolean       NOT NULL,
    -- The newest slot that was spent without the transfer. A payment that is given up names its transaction.
    failed_submission_id uuid      REFERENCES submissions (id),
    -- Slots that were spent without the transfer while the payment was alone in them.
    failures         smallint      NOT NULL DEFAULT 0 CHECK (failures >= 0),
    -- The block at which the payment was simulated before it was recorded. Its authorization was unused there.
    accepted_block   bigint        NOT NULL CHECK (accepted_block >= 0),
    -- The block at which the payment was last simulated, the payer's code there, and the gas that it took.
    checked_block    bigint        NOT NULL CHECK (checked_block >= 0),
    payer_code       text          NOT NULL,
    gas              bigint        NOT NULL CHECK (gas > 0),
    given_up_reason  text,
    given_up_at      timestamptz,
    handed_out_at    timestamptz,
    handed_out_to    text,
    final_at         timestamptz,
    CONSTRAINT payments_sent_by_a_lane CHECK (submission_id IS NULL OR lane IS NOT NULL),
    CONSTRAINT payments_given_up_for_a_reason CHECK ((given_up_reason IS NULL) = (given_up_at IS NULL)),
    CONSTRAINT payments_handed_out_to_somebody CHECK ((handed_out_at IS NULL) = (handed_out_to IS NULL)),
    CONSTRAINT payments_keep_what_may_be_sent CHECK (payload IS NOT NULL OR final_at IS NOT NULL OR given_up_at IS NOT NULL)
);

CREATE INDEX payments_waiting_for_a_lane ON payments (network, answer_by)
    WHERE submission_id IS NULL AND given_up_at IS NULL AND final_at IS NULL;
CREATE INDEX payments_by_submission ON payments (submission_id) WHERE submission_id IS NOT NULL;
CREATE INDEX payments_by_failed_submission ON payments (failed_submission_id) WHERE failed_submission_id IS NOT NULL;
CREATE INDEX payments_under_way ON payments (network, asset, payer) WHERE given_up_at IS NULL AND final_at IS NULL;
CREATE INDEX payments_with_signatures ON payments (expires_at) WHERE payload IS NOT NULL AND final_at IS NULL;
CREATE INDEX payments_by_provider ON payments (provider_id, id) WHERE provider_id IS NOT NULL;

-- The replay guard. Narrow, apart from the payments, and never pruned before the chain itself forbids reuse; the payments can be
-- partitioned by time without it.
--
-- Business rule: an authorization is held by one payment, whoever asks and however often.
CREATE TABLE authorizations (
    network    text  NOT NULL,
    key        bytea NOT NULL,
    payment_id uuid  NOT NULL,
    PRIMARY KEY (network, key)
) PARTITION BY HASH (network, key);

CREATE TABLE authorizations_0 PARTITION OF authorizations FOR VALUES WITH (MODULUS 8, REMAINDER 0);
CREATE TABLE authorizations_1 PARTITION OF authorizations FOR VALUES WITH (MODULUS 8, REMAINDER 1);
CREATE TABLE authorizations_2 PARTITION OF authorizations FOR VALUES WITH (MODULUS 8, REMAINDER 2);
CREATE TABLE authorizations_3 PARTITION OF authorizations FOR VALUES WITH (MODULUS 8, REMAINDER 3);
CREATE TABLE authorizations_4 PARTITION OF authorizations FOR VALUES WITH (MODULUS 8, REMAINDER 4);
CREATE TABLE authorizations_5 PARTITION OF authorizations FOR VALUES WITH (MODULUS 8, REMAINDER 5);
CREATE TABLE authorizations_6 PARTITION OF authorizations FOR VALUES WITH (MODULUS 8, REMAINDER 6);
CREATE TABLE authorizations_7 PARTITION OF authorizations FOR VALUES WITH (MODULUS 8, REMAINDER 7);
