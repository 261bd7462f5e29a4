"""What is told of a training: a report per epoch, and a summary in the end."""

from pydantic import BaseModel

from imaging.images import Shape
from imaging.preprocessing import Preprocessing
from storage.models.contract import Contract


class EpochReport(BaseModel, frozen=True):
    """One finished epoch. Accuracies are 0 to 1; `val_` is the validation part."""

    epoch: int
    epochs: int
    accuracy: float
    val_accuracy: float
    loss: float
    val_loss: float
    seconds: float
    head_only: bool = False
    """Whether a network that knows something already learned with its new head alone."""
    resumed: bool = False
    """Whether it ended in an earlier process, and this one goes on after it."""

    def __str__(self) -> str:
        """One line of a terminal of 80 columns."""
        width = len(str(self.epochs))
        epoch = f"epoch {self.epoch:{width}}/{self.epochs}"
        accuracy = f"accuracy {self.accuracy:.4f}, val {self.val_accuracy:.4f}"
        if self.resumed:
            return f"going on after {epoch}  {accuracy}"
        return (
            f"{epoch}  {accuracy}  loss {self.loss:.4f}, val {self.val_loss:.4f}"
            f"  {self.seconds:.1f} s{' (head)' if self.head_only else ''}"
        )


class EpochStep(BaseModel, frozen=True):
    """How far the epoch that runs is, in images."""

    epoch: int
    epochs: int
    done: int
    total: int


class ImportSummary(BaseModel, frozen=True):
    model: str
    """The published version, such as `mnist@3`."""
    file: str
    dataset: str | None
    """The version it was tested on, such as `mnist@2`, if any."""
    accuracy: float | None
    promoted: bool
    reason: str
    preprocessing: Preprocessing
    contract: Contract | None
    """Scale and order of channels, layout and kind of output, as told or found out."""
    input_shape: Shape
    classes: tuple[str, ...]
    """In the order of the outputs."""
    check_accuracy: float | None
    """Share of the images of --check, or of the data set, that it had right when it was tried."""
    notes: tuple[str, ...]
    """What was assumed and what looks odd, a sentence each."""

    def __str__(self) -> str:
        verdict = "Champion" if self.promoted else "Not promoted"
        tested = ""
        if self.dataset and self.accuracy is not None:
            tested = f", test accuracy {self.accuracy:.4f} on {self.dataset}"
        return f"{self.model}: {self.file} imported{tested}. {verdict}: {self.reason}."


class TrainingSummary(BaseModel, frozen=True):
    model: str
    """The published version, such as `mnist@3`."""
    dataset: str
    """The version it was trained on, such as `mnist@2`."""
    network: str
    accuracy: float
    """Share of right predictions on the test split."""
    promoted: bool
    """Whether the version became champion."""
    reason: str
    """Why, or why not."""
    seconds: float

    def __str__(self) -> str:
        verdict = "champion" if self.promoted else "not promoted"
        return (
            f"{self.model}: {self.network} on {self.dataset}, test accuracy {self.accuracy:.4f}, "
            f"trained in {self.seconds:.0f} s. {verdict.capitalize()}: {self.reason}."
        )
