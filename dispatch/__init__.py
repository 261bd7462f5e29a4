"""Batches on their way to workers: what needs both the queue and the jobs on storage."""
