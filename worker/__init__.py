"""The worker: classifies queued batches with the model version their job is pinned to.

Start it with `celery -A worker worker`. Runtimes are imported in the pool's children only, and
TensorFlow when the first version needs it.
"""
