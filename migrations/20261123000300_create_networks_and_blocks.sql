-- How far each network was read, and the canonical chain as we know it.
--
-- A network that contradicted something final, or whose nodes all became those of another chain, is halted here, for every replica
-- and over restarts, until an operator resumes it.
CREATE TABLE networks (
    network       text        PRIMARY KEY,
    cursor_number bigint      NOT NULL CHECK (cursor_number >= 0),
    cursor_hash   text        NOT NULL,
    safe_number   bigint      NOT NULL CHECK (safe_number >= 0),
    final_number  bigint      NOT NULL CHECK (final_number >= 0),
    halted_at     timestamptz,
    halted_reason text,
    -- An operator's word, good for one comparison: the nodes' history counts, whatever it contradicts.
    accepts_history boolean   NOT NULL DEFAULT false,
    CONSTRAINT networks_levels_in_order CHECK (final_number <= safe_number AND safe_number <= cursor_number),
    CONSTRAINT networks_halt_has_a_reason CHECK ((halted_at IS NULL) = (halted_reason IS NULL))
);

-- Blocks of the window that can still be replaced, and the last final one. Older rows are deleted as the network moves on.
CREATE TABLE blocks (
    network     text        NOT NULL,
    hash        text        NOT NULL,
    number      bigint      NOT NULL CHECK (number >= 0),
    parent_hash text        NOT NULL,
    timestamp   timestamptz NOT NULL,
    canonical   boolean     NOT NULL,
    PRIMARY KEY (network, hash)
);

-- Business rule: a height has one canonical block.
CREATE UNIQUE INDEX blocks_one_canonical_per_height ON blocks (network, number) WHERE canonical;
