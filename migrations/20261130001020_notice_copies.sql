-- A database that was restored from a backup lacks what happened since. It is known by the row here, which it has from the one that it
-- was taken of.
--
-- Creates a function and a table. Adds columns without a default, which takes a short exclusive lock on networks and signers, tables of a
-- few rows, and rewrites nothing.

-- What tells this database from a copy of it: the server, its history, which branches when it is set back or a standby takes over, the
-- database, and a table, which gets another number whenever it is made anew. Where the server keeps the first two to itself, the others
-- have to do.
CREATE FUNCTION present_identity() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    own text := (SELECT oid FROM pg_database WHERE datname = current_database()) || '/' || 'payments'::regclass::oid;
BEGIN
    RETURN concat_ws('/', (SELECT system_identifier FROM pg_control_system()), left(pg_walfile_name(pg_current_wal_lsn()), 8), own);
EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR undefined_function THEN
    RETURN own;
END
$$;

CREATE TABLE ledger_identity (
    single   boolean PRIMARY KEY DEFAULT true CHECK (single),
    identity text    NOT NULL
);
INSERT INTO ledger_identity (identity) SELECT present_identity();

ALTER TABLE networks
    -- Up to this block somebody may have been told of what the ledger lacks; the greatest number until the head is known.
    ADD COLUMN copied_to bigint CHECK (copied_to >= 0);

ALTER TABLE signers
    -- The signer's next account nonce when it was found to have sent more than the ledger knows of. That is accounted for.
    ADD COLUMN accounted_nonce bigint CHECK (accounted_nonce >= 0);
