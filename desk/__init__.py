"""A page for those who use the system: jobs, models and data sets. It only reads storage.

It shows what the producer tells of a job, so it may import it; it needs no Redis.
"""
