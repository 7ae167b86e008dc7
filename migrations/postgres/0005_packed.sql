-- The counts of a closed partition once more, as few bytes: read at once where thousands of rows would be. Made when it is finished; goes with it.
CREATE TABLE packed_counts (
    partition bigint PRIMARY KEY REFERENCES partition ON DELETE CASCADE,
    bytes bytea NOT NULL
);
ALTER TABLE packed_counts ALTER COLUMN bytes SET STORAGE EXTERNAL;
