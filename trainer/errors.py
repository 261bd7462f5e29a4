"""What can go wrong in a trainer.

    TrainerError
    ├── SourceError       images that cannot be imported as a data set
    ├── DownloadFailed    a known data set whose hosts cannot be reached or send something else
    ├── UnknownNetwork    no network of that name
    ├── UnknownPreset     a preset that the network does not have
    ├── TrainingFailed    a training that came to no model
    ├── ExaminationFailed an examination of a version that came to no end
    │   └── Unusable      a version that a worker refuses
    ├── NotPromoted       a version that the gate refuses
    ├── ImportFailed      a model file that cannot be published
    └── ExportFailed      a model that cannot be written in the form asked for

Every error takes one sentence that names the thing and the way out.
"""

import re

from console.errors import BatchsightError


class TrainerError(BatchsightError):
    """Base of all errors of the trainer."""


class SourceError(TrainerError):
    """Images that cannot be imported as a data set."""


class DownloadFailed(TrainerError):
    """A file that cannot be fetched, or is not the one that was expected."""


class UnknownNetwork(TrainerError):
    """No network of that name."""


class UnknownPreset(TrainerError):
    """A preset that the network does not have."""


class TrainingFailed(TrainerError):
    """A training that came to no model."""


class ExaminationFailed(TrainerError):
    """An examination that was not done within its limits, or whose process died."""


class Unusable(ExaminationFailed):
    """A version that a worker refuses, whenever it is asked."""


class NotPromoted(TrainerError):
    """A version that the gate refuses as champion."""


class ImportFailed(TrainerError):
    """A model file from elsewhere that cannot be published."""


class ExportFailed(TrainerError):
    """A model that cannot be written in the form asked for."""


def as_clause(sentence: object) -> str:
    """A sentence as the part of another: without its full stop, and its first word in lower case.

    First words that are names stay as they are: those with a sign in them, as `Pets@3` or
    `/models/A`, and those of programs.
    """
    said = str(sentence).removesuffix(".")
    begins = re.match(r"(?!Keras |TensorFlow |Redis |Python )[A-Z][a-z]*(?= )", said)
    return said[:1].lower() + said[1:] if begins else said
