"""What trying a network has shown, and what its owner has to know of it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from console.counts import counted
from imaging.preprocessing import AS_KERAS
from imaging.scalings import NAMES
from storage.models.contract import Contract
from trainer.importing.conversions import ConversionRequest
from trainer.importing.fit import BetterFit, Check, Trial, changes_between
from trainer.importing.originals.original import Facts
from trainer.importing.subject import Subject

NEAR_GUESSING = 3.0
"""An accuracy that is less than so many times that of guessing is worth a word."""
MOST_NAMED = 3
MOST_RIVALS = 3
"""So many are named, and the others counted."""
SCALES = ", ".join(name for name in NAMES if name != "none")
OUTPUT_IN_WORDS = {
    "logits": "Its outputs are logits: a softmax is put behind it",
    "log-probabilities": "Its outputs are logarithms of probabilities: they are raised to e",
    "sigmoid": "Its one unit is the probability of the second class, {second}",
    "sigmoid-logit": "Its one unit is the logit of the second class, {second}: a sigmoid is put "
    "behind it",
    "tanh": "Its one unit, from -1 to 1, stands for the second class, {second}",
}


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What fits the images of a check, if there was one."""

    chosen: Trial
    changes: tuple[str, ...] = ()
    """Options that were chosen because nobody told them."""
    accuracy: float | None = None
    told_accuracy: float | None = None
    checked: int = 0
    guess: float = 0.0
    """What one gets by always naming the most frequent class."""
    rivals: tuple[str, ...] = ()
    """Other scales from which the images cannot tell the chosen one."""
    other_way: str = ""
    """A way to its size that has more right, which may be chance."""
    better: BetterFit | None = None
    broken: tuple[str, ...] = ()
    """Images of the check that cannot be read, with the reason."""

    @classmethod
    def untried(cls, subject: Subject) -> "Findings":
        """Without any images to try it with."""
        return cls(
            chosen=Trial(
                scaling=subject.contract.scaling,
                preprocessing=subject.preprocessing,
                probabilities=np.empty((0, 0)),
            )
        )

    @classmethod
    def of(
        cls,
        check: Check,
        *,
        told: Trial,
        chosen: Trial,
        scalings: Sequence[Trial],
        ways: Sequence[Trial],
        better: BetterFit | None,
    ) -> "Findings":
        """From what the network named."""
        rivals = check.as_good([t for t in scalings if t.scaling != chosen.scaling], chosen)
        most = max(ways, key=lambda way: check.right(way).sum())
        other_way = ""
        if check.right(most).sum() > check.right(chosen).sum():
            how = " ".join(changes_between(chosen, most))
            other_way = f"{how} had {check.right(most).mean():.4f} right"
        return cls(
            chosen=chosen,
            other_way=other_way,
            changes=changes_between(told, chosen),
            accuracy=float(check.right(chosen).mean()),
            told_accuracy=float(check.right(told).mean()),
            checked=len(check.actual),
            guess=check.guess,
            rivals=tuple(" ".join(changes_between(chosen, trial)) for trial in rivals),
            better=better,
        )

    def notes(
        self,
        request: ConversionRequest,
        facts: Facts,
        contract: Contract,
        labels: tuple[str, ...],
    ) -> Iterator[str]:
        """What was assumed, found out or looks odd, a sentence each."""
        yield from self._on_accuracy(request)
        yield from self._on_scaling(request, facts)
        yield from self._on_output(request, contract, labels)
        yield from self._on_size(request)
        yield from self._on_labels(request, facts)

    def _on_accuracy(self, request: ConversionRequest) -> Iterator[str]:
        if request.check is None or self.accuracy is None:
            return
        if request.check.files:  # of a data set all will be counted
            share = f"{self.accuracy:.4f} of {counted(self.checked, 'image')}"
            yield f"{share} of {request.check.name} are right."
        if self.broken:
            more = len(self.broken) - MOST_NAMED
            listed = [*self.broken[:MOST_NAMED], *([f"and {more:,} more"] if more > 0 else [])]
            yield f"Left out of {request.check.name}: {', '.join(listed)}."
        if self.accuracy < min(NEAR_GUESSING * self.guess, 0.5):
            yield (
                f"WARNING: {self.accuracy:.4f} of the images are right, and guessing gives "
                f"{self.guess:.4f}: labels in another order, another scale or other images than it "
                "was trained on are the usual reasons."
            )
        if self.better:
            yield f"It may not be as it should: {self.better}."

    def _on_scaling(self, request: ConversionRequest, facts: Facts) -> Iterator[str]:
        name = self.chosen.scaling.name
        if self.changes:
            doubt = f" {self._rivals_in_words()}." if self.rivals else ""
            yield (
                f"{' and '.join(self.changes)} is taken, which nobody told: as it was, "
                f"{self.told_accuracy:.4f} were right.{doubt}"
            )
        elif facts.scales and request.scaling and set(request.scaling.deviation) != {1.0}:
            yield (
                f"WARNING: It scales pixels itself, and --scale {name} is done before that: say "
                "--scale none if once is enough."
            )
        elif request.scaling is None and facts.usual.changes:
            yield (
                f"It takes {facts.dtype}, which does not hold pixels of 0 to 255: they are given "
                f"less 128 (--scale {facts.usual.name})."
            )
        elif request.scaling is None and not facts.scales:
            reason = "nothing at its start scales pixels, and nobody told a scale"
            if self.rivals:
                reason += f". {self._rivals_in_words()}"
            more = "--check FOLDER" if request.check is None else "a larger check"
            yield (
                f"It is given pixels of 0 to 255 (--scale {name}): {reason}. If it was trained on "
                f"others, say so: --scale {SCALES} or MEAN/DEVIATION; {more} finds out."
            )

    def _rivals_in_words(self) -> str:
        named, more = self.rivals[:MOST_RIVALS], len(self.rivals) - MOST_RIVALS
        listed = [*named, *([f"{more} others"] if more > 1 else self.rivals[MOST_RIVALS:])]
        return f"{counted(self.checked, 'image')} cannot tell it from {' or '.join(listed)}"

    def _on_output(
        self, request: ConversionRequest, contract: Contract, labels: tuple[str, ...]
    ) -> Iterator[str]:
        if request.output is None and (words := OUTPUT_IN_WORDS.get(contract.output)):
            yield f"{words.format(second=repr(labels[1]))} (--output says otherwise)."

    def _on_size(self, request: ConversionRequest) -> Iterator[str]:
        chosen = self.chosen.preprocessing
        if request.preprocessing is not None or chosen != AS_KERAS:
            return
        yield (
            f"Pictures of another size come to its size by {chosen.resize}, "
            f"{chosen.interpolation}, as Keras does, and their transparency is dropped: --resize, "
            "--interpolation and --background change that."
            + (f" {self.other_way}, which may be chance." if self.other_way else "")
        )

    def _on_labels(self, request: ConversionRequest, facts: Facts) -> Iterator[str]:
        if not request.labels and facts.labels:
            yield "The names of its classes are those in the file (--labels says otherwise)."
        elif not request.labels and request.check:
            if facts.unclear_labels:
                yield (
                    f"The file does not name its classes clearly in {facts.unclear_labels!r}, "
                    "which is left aside (--labels names them)."
                )
            yield (
                f"Its classes are those of {request.check.name}, sorted by name, as Keras sorts "
                "folders (--labels says otherwise)."
            )
        elif all(re.match(rf"{i}[\s,:;]", label) for i, label in enumerate(request.labels)):
            yield f"Its labels begin with their numbers: the first is {request.labels[0]!r}."
