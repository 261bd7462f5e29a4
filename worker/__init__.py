"""The worker: classifies queued batches with the model version their job is pinned to.

Start it with `celery -A worker worker`. TensorFlow is imported in the pool's children only.
"""
