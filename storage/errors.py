"""What can go wrong on shared storage.

    StorageError
    ├── StorageUnwritable    the root cannot be created or written
    ├── StorageAway          it is not mounted here, or full; what is missing is not lost
    ├── UnsafePath           a path that would leave its root
    ├── BadName              a name or job id with forbidden characters
    ├── NotFound             no such data set, model, version or job
    ├── AlreadyExists        the name is taken by something else
    ├── Corrupt              bytes that do not match their recorded digest
    ├── StalePublication     an older training tries to replace a newer champion
    ├── ChampionChanged      a version was compared with another champion than the present one
    ├── BadManifest          a table of images, or a line of it, that names no image
    └── ConflictingResult    one batch, two different results

Every error takes one sentence that names the thing and the way out.
"""

from console.errors import BatchsightError


class StorageError(BatchsightError):
    """Base of all errors of shared storage."""


class StorageUnwritable(StorageError):
    """The storage root cannot be created or written."""


class StorageAway(StorageError):
    """Shared storage, or the volume of one of its folders, is not there or of no use just now."""


class UnsafePath(StorageError):
    """A path that is absolute, climbs out of its root or leads through a symlink out of it."""


class BadName(StorageError):
    """A name that cannot be a folder on shared storage."""


class NotFound(StorageError):
    """No data set, model, version or job of that name."""


class AlreadyExists(StorageError):
    """The name is taken, and by something else."""


class Corrupt(StorageError):
    """Bytes on storage that do not match their recorded digest or form."""


class StalePublication(StorageError):
    """A training that started earlier tries to replace the champion of a later one."""


class BadManifest(StorageError):
    """A table of images that a user has written, or a line of it, that does not name an image."""


class ChampionChanged(StorageError):
    """A version was compared with a champion that has been replaced meanwhile."""


class ConflictingResult(StorageError):
    """A batch was computed twice with different outcomes."""
