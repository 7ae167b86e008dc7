-- What is true of the whole store. The log lies in log/, a file a partition (see ../segment).

CREATE TABLE instance (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    number INTEGER NOT NULL,          -- 1 to 511: part of every entry's id
    made INTEGER NOT NULL             -- seconds since 1970
) STRICT;
