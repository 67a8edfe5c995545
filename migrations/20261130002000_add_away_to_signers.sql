-- A signer may be kept elsewhere, and away. Locks signers for a moment, and rewrites nothing: the default is a constant.
ALTER TABLE signers ADD COLUMN away boolean NOT NULL DEFAULT false;
