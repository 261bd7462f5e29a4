"""What goes over the queue: small JSON messages through Redis, never pixels.

Knows nothing of shared storage and never imports TensorFlow.
"""
