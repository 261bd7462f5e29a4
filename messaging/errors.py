"""What can go wrong on the queue.

    MessagingError
    ├── BrokerUnavailable    no Redis, a wrong password, or a Redis that refuses writes
    └── BadMessage           a message that no program of ours has sent

Every error takes one sentence that names the thing and the way out.
"""

from console.errors import BatchsightError


class MessagingError(BatchsightError):
    """Base of all errors of the queue."""


class BrokerUnavailable(MessagingError):
    """Redis cannot be used as it is configured."""


class BadMessage(MessagingError):
    """A message whose fields are missing, unknown or out of bounds."""
