"""What can go wrong when the system is run on this machine.

    LocalError
    ├── NoRedisServer    there is no redis-server to start
    └── ProgramFailed    a program ended that should not have

Every error takes one sentence that names the thing and the way out.
"""

from console.errors import BatchsightError


class LocalError(BatchsightError):
    """Base of all errors of `python -m local`."""


class NoRedisServer(LocalError):
    """Neither redis-server nor the embedded one is installed."""


class ProgramFailed(LocalError):
    """A program ended early, or did not get ready."""
