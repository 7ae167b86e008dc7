# One-shot: what must be done before anything else starts.
echo "prepare: the tables are there"
