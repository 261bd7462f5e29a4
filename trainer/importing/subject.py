"""A network on trial: given images in one way or another, which classes does it name?"""

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from imaging.images import Pixels, Shape
from imaging.preprocessing import AS_KERAS, Preprocessing
from imaging.scalings import NAMED, NONE, USUAL, Scaling
from storage.models.contract import Contract
from trainer.importing.check_images import CheckImages
from trainer.importing.fit import Trial
from trainer.importing.originals.original import (
    Floats,
    Original,
    Outputs,
    laid_out,
    probabilities_of,
)

MOST_TRIED, FEWEST_TRIED = 300, 24
TRIALS_SHARE = 0.25
"""Of the time for a conversion: what would come later is not tried any more."""
RANGES = (NONE, NAMED["0..1"], Scaling(name="far beyond", mean=(127.5,), deviation=(0.01,)))
IMAGENET_MARGIN = 256 / 224
"""By how much the shorter side is longer than what is cut, where ImageNet is the model."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network with what is known of how it wants its images."""

    original: Original
    shape: Shape
    contract: Contract
    preprocessing: Preprocessing

    def outputs(self, pixels: Pixels, scaling: Scaling) -> list[Outputs]:
        """What it gives for uint8 pixels (n, H, W, C), scaled so."""
        return self.original(laid_out(scaling(pixels), self.contract.layout))

    def answers(self, pixels: Pixels) -> list[Outputs]:
        """The same for pixels as told, and then in other ranges and far beyond.

        What is a probability remains one whatever comes in, and what is none comes to light.
        """
        answers = [self.outputs(pixels, self.contract.scaling)]
        others = [scaling for scaling in RANGES if self.original.facts.takes(scaling)]
        answers += [finite(self.outputs(pixels, scaling)) for scaling in others]
        return [np.concatenate(each) for each in zip(*answers, strict=True)]

    def probabilities(self, pixels: Pixels, scaling: Scaling) -> Floats:
        """Probabilities (n, classes)."""
        (output,) = self.outputs(pixels, scaling)
        return probabilities_of(output, self.contract.output)

    def affordable(self, pixels: Pixels, seconds: int) -> int:
        """On how many images each way can be tried within a share of so many seconds."""
        began = perf_counter()
        self.outputs(pixels, self.contract.scaling)
        each = (perf_counter() - began) / len(pixels)
        ways = len(USUAL) + len(usual_ways(self.shape))
        return int(np.clip(TRIALS_SHARE * seconds / (ways * each), FEWEST_TRIED, MOST_TRIED))

    def try_scalings(
        self, check: CheckImages, rows: list[int], way: Preprocessing, until: float
    ) -> list[Trial]:
        """As told, and then in the usual other scales as long as there is time."""
        told = self.contract.scaling
        facts = self.original.facts
        others = [s for s in USUAL if s != told and s.fits(self.shape[2]) and facts.takes(s)]
        if facts.scales and not told.changes:
            others = [s for s in others if s == NONE.reversed()]
        pixels = check.read(rows, self.shape, way)
        trials: list[Trial] = []
        for scaling in (told, *others):
            if not trials or perf_counter() < until:
                trials.append(self._trial(pixels, scaling, way))
        return trials

    def try_ways(
        self, check: CheckImages, rows: list[int], scaling: Scaling, until: float
    ) -> list[Trial]:
        """In other ways to its size, of which an array has none."""
        trials = []
        for way in usual_ways(self.shape) if check.files else ():
            if way != self.preprocessing and perf_counter() < until:
                trials.append(self._trial(check.read(rows, self.shape, way), scaling, way))
        return trials

    def _trial(self, pixels: Pixels, scaling: Scaling, way: Preprocessing) -> Trial:
        probabilities = self.probabilities(pixels, scaling)
        return Trial(scaling=scaling, preprocessing=way, probabilities=probabilities)


def finite(outputs: list[Outputs]) -> list[Outputs]:
    """Of each, those images for which it is a number."""
    return [out[np.isfinite(out).reshape(len(out), -1).all(axis=1)] for out in outputs]


def usual_ways(shape: Shape) -> tuple[Preprocessing, ...]:
    """How pictures usually come to a model's size."""
    return (
        AS_KERAS,
        Preprocessing(),
        Preprocessing(resize="crop", interpolation="bilinear"),
        Preprocessing(resize="crop"),
        Preprocessing(resize="crop", shorter_side=round(IMAGENET_MARGIN * min(shape[:2]))),
        Preprocessing(resize="letterbox"),
    )
