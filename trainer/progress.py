"""How far a training is, one report per epoch."""

from pydantic import BaseModel


class EpochReport(BaseModel, frozen=True):
    """One finished epoch. Accuracies are 0 to 1; `val_` is the validation part."""

    epoch: int
    epochs: int
    accuracy: float
    val_accuracy: float
    loss: float
    val_loss: float
    seconds: float

    def __str__(self) -> str:
        width = len(str(self.epochs))
        return (
            f"epoch {self.epoch:{width}}/{self.epochs}"
            f"   accuracy {self.accuracy:.4f}, validation {self.val_accuracy:.4f}"
            f"   loss {self.loss:.4f}, validation {self.val_loss:.4f}   {self.seconds:.1f} s"
        )
