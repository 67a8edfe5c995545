-- What is claimed already is marked so. Locks these rows and no others, so that only a reorganisation of their blocks waits.
UPDATE transfers t SET claimed = true
FROM claims c
WHERE c.network = t.network AND c.block_hash = t.block_hash AND c.index = t.index AND t.account_id IS NOT NULL;
