"""What stands between raw pixels and a foreign network, and between its output and probabilities.

The artefact of a version holds all of it: workers give raw pixels and get probabilities. It is told
here for people, and for the tests that compare a version with what its author has.
"""

from typing import Literal

from pydantic import BaseModel

from imaging.scalings import NONE, Scaling

Source = Literal["keras", "keras-2", "saved-model", "onnx"]
Layout = Literal["nhwc", "nchw", "nhw", "flat"]
"""How the network takes images; `nhw` has no channels and `flat` neither rows nor columns."""
Output = Literal["probabilities", "log-probabilities", "logits", "sigmoid", "sigmoid-logit", "tanh"]
"""What the network gives. The last three are of one unit, which tells two classes apart."""

ONE_UNIT: tuple[Output, ...] = ("sigmoid", "sigmoid-logit", "tanh")


class Contract(BaseModel, frozen=True, extra="forbid"):
    """What an imported network wants and gives, as it was told or found out."""

    source: Source
    scaling: Scaling = NONE
    layout: Layout = "nhwc"
    output: Output = "probabilities"

    @property
    def wraps(self) -> bool:
        """Whether anything has to be put around the network."""
        return self.scaling.changes or self.layout != "nhwc" or self.output != "probabilities"
