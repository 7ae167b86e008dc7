-- Which of the 64 batches up to a sender's last number were kept: bit n is `number - n`. What was kept before is known no better than by the last.
ALTER TABLE sender ADD COLUMN seen INTEGER NOT NULL DEFAULT -1;
