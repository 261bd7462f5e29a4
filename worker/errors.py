"""What can go wrong in a worker.

    WorkerError
    └── ModelRefused     a model file that cannot be loaded safely or fails its warm-up

Every error takes one sentence that names the thing and the way out.
"""

from console.errors import BatchsightError


class WorkerError(BatchsightError):
    """Base of all errors of a worker."""


class ModelRefused(WorkerError):
    """A model version that this worker will not use."""
