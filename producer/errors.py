"""What can go wrong in a producer.

    ProducerError
    ├── SourceError       a source that cannot be read as images
    │   ├── EmptySource   a source without a single image
    │   └── UnknownLabel  a label that the model does not know
    ├── BadOption         a choice for a job that cannot be made
    ├── ModelUnclear      no model was named and none suggests itself
    ├── ResultTooLarge    the results of one batch would not fit into memory
    ├── NotQueued         a job lies on storage, but its messages could not be sent
    ├── DamagedResult     a result on storage that cannot be read
    ├── JobStopped        a job failed or was cancelled
    └── MissingLibrary    an optional library is not installed

Every error takes one sentence that names the thing and the way out.
"""

from console.errors import BatchsightError


class ProducerError(BatchsightError):
    """Base of all errors of the producer."""


class SourceError(ProducerError):
    """A source that cannot be read as images."""


class EmptySource(SourceError):
    """A source without a single image."""


class UnknownLabel(SourceError):
    """A label that is not among the model's labels."""


class BadOption(ProducerError):
    """A choice for a job that cannot be made, such as no classes to keep."""


class ModelUnclear(ProducerError):
    """No model was named and none suggests itself."""


class NotQueued(ProducerError):
    """A job lies on storage, but its messages could not be sent."""


class DamagedResult(ProducerError):
    """A result on storage that cannot be read; it can be computed again."""


class ResultTooLarge(ProducerError):
    """The results of one batch would not fit into memory."""


class JobStopped(ProducerError):
    """A job failed or was cancelled, before or after all of its images had a record."""


class MissingLibrary(ProducerError):
    """An optional library that was asked for is not installed."""
