-- Times are Unix time in nanoseconds where they are a message's, and the
-- database's own where relays are compared.
CREATE SEQUENCE incarnation;
CREATE SEQUENCE epoch;
CREATE SEQUENCE claim;

CREATE TABLE relay (
    name text PRIMARY KEY,
    incarnation bigint NOT NULL DEFAULT nextval('incarnation'),
    node smallint NOT NULL UNIQUE,
    version text NOT NULL,
    started timestamptz NOT NULL DEFAULT now(),
    until timestamptz NOT NULL
);

CREATE TABLE lane (
    name text PRIMARY KEY,
    epoch bigint NOT NULL,
    holder bigint NOT NULL,      -- incarnation of a relay; 0: nobody
    relay text NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE message (
    id bigint PRIMARY KEY,
    envelope bytea NOT NULL,
    size bigint NOT NULL,        -- of the content, with the prefix
    body bytea                   -- NULL: in pieces
);
ALTER TABLE message ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE body_part (
    id bigint NOT NULL,
    n int NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (id, n)
);
ALTER TABLE body_part ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE share (
    id bigint NOT NULL,
    share int NOT NULL,
    lane text NOT NULL,
    upstreams text NOT NULL,     -- a name a line
    failover int NOT NULL,
    recipients bytea NOT NULL,   -- pending ones, four bytes each
    size bigint NOT NULL,
    accepted bigint NOT NULL,
    not_before bigint NOT NULL,  -- 0: none
    deadline bigint NOT NULL,    -- 0: none
    priority smallint NOT NULL,
    sender bigint NOT NULL,      -- who takes turns
    attempts int NOT NULL,
    due bigint NOT NULL,
    held bool NOT NULL,
    kept bool NOT NULL,
    warned bool NOT NULL,
    doubt bool NOT NULL,
    dotted bool NOT NULL,
    attempt bool NOT NULL,       -- the claim is one
    claim bigint,                -- NULL: nobody has it
    PRIMARY KEY (id, share)
) WITH (fillfactor = 80);
CREATE INDEX share_turn ON share (lane, sender, priority, due, id) WHERE claim IS NULL AND NOT held;
CREATE INDEX share_due ON share (lane, due) WHERE claim IS NULL AND NOT held;
CREATE INDEX share_claimed ON share (lane) WHERE claim IS NOT NULL;
CREATE INDEX share_held ON share (id) WHERE held;

CREATE TABLE outcome (
    id bigint NOT NULL,
    recipient int NOT NULL,
    at bigint NOT NULL,
    outcome text NOT NULL,
    PRIMARY KEY (id, recipient)
);

CREATE TABLE key (
    name bytea PRIMARY KEY,
    id bigint NOT NULL,
    digest bigint NOT NULL,
    share bigint NOT NULL,
    until bigint NOT NULL
);
CREATE INDEX key_until ON key (until);

ALTER TABLE share SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
ALTER TABLE message SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
ALTER TABLE outcome SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

-- Small facts about upstreams that relays have in common (spool.State).
CREATE TABLE fact (
    kind text NOT NULL,
    name text NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (kind, name)
);
CREATE TABLE fact_aside (kind text NOT NULL, name text NOT NULL, content bytea NOT NULL, at timestamptz NOT NULL DEFAULT now());
