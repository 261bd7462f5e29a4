"""The processes of a worker: whether they are ready, and when they take batches."""
