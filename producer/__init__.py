"""The producer: sends a source of images, follows the job and reports on it.

`producer.cli` is the command, `producer.client` the same for Python programs. Never imports
TensorFlow.
"""
