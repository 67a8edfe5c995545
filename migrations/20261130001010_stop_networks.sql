-- An operator can halt a network, too. What its nodes tell is believed all the same: it is read on, and what is signed already comes to
-- its end, but nothing new is begun.
--
-- Adds columns without a default, which takes a short exclusive lock on networks, a table of a few rows, and rewrites nothing.
ALTER TABLE networks
    ADD COLUMN stopped_at timestamptz,
    ADD COLUMN stopped_reason text,
    ADD CONSTRAINT networks_stop_has_a_reason CHECK ((stopped_at IS NULL) = (stopped_reason IS NULL));
