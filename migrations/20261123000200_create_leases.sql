-- Who runs which lane and which watcher.
--
-- The fence grows with every change of owner. Writes name the fence they were made under, so a paused owner that wakes up late
-- changes nothing. No session locks: connection poolers would share them.
CREATE TABLE leases (
    name       text        PRIMARY KEY,
    owner      uuid        NOT NULL,
    fence      bigint      NOT NULL CHECK (fence > 0),
    expires_at timestamptz NOT NULL
);
