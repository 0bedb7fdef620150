-- What one relay asks another one to do. Whoever asks removes it when it is answered.
CREATE TABLE ask (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relay text NOT NULL,          -- whom
    at timestamptz NOT NULL DEFAULT now(),
    request bytea NOT NULL,
    incarnation bigint,           -- of the relay that has begun with it; NULL: nobody has
    answer bytea                  -- NULL: there is none yet
);
