"""How a network is trained: all that decides it besides the data and the seed."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trainer.training.augmentation import Augmentation

if TYPE_CHECKING:
    import keras

SMALL_BATCH, FEW_STEPS = 16, 20
"""Batches are halved down to this size where an epoch would have fewer steps."""
WARM_UP = 0.1
"""Share of a training in which a changing learning rate climbs."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to train a network; each network has some under names of their own."""

    epochs: int
    batch_size: int
    learning_rate: float = 0.001
    """That of Adam, at its highest."""
    weight_decay: float = 0.0
    """Share of each weight, times the learning rate, that a step takes away (AdamW)."""
    falling: bool = False
    """Whether it climbs for a tenth of the training and then falls to nothing, as a cosine does."""
    augment: bool = False
    """Whether the network sees every image turned, moved or mirrored a little, anew each epoch."""
    augmentation: Augmentation | None = None
    """How far, where that is not as the network has it."""
    patience: int | None = None
    """Epochs without a lower validation loss until the training ends; the weights of the best
    epoch are kept. Without it all epochs are run and the last weights are kept."""
    least_steps: int = 0
    """Fewer are too few to learn anything: see `for_images`."""
    steps_per_execution: int = 1
    """Steps that TensorFlow runs before Python looks again: many for a network of short steps."""

    def for_images(self, count: int) -> "Recipe":
        """For so many training images: few have smaller batches and are seen more often."""
        batch_size = self.batch_size
        while self.least_steps and batch_size > SMALL_BATCH and count < FEW_STEPS * batch_size:
            batch_size //= 2
        steps = self.epochs * max(1, round(count / batch_size))
        times = max(1, math.ceil(self.least_steps / steps))
        return replace(
            self,
            batch_size=batch_size,
            epochs=times * self.epochs,
        )

    def for_epochs(self, epochs: int) -> "Recipe":
        """The same over another number of epochs: over more it is the more patient."""
        patience = self.patience and max(self.patience, self.patience * epochs // self.epochs)
        return replace(self, epochs=epochs, patience=patience)

    def compile(self, model: "keras.Model", steps_per_epoch: int) -> None:
        """Make a model ready to be trained this way."""
        model.compile(
            optimizer=self.optimizer(steps_per_epoch),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
            steps_per_execution=self.steps_per_execution,
        )

    def optimizer(self, steps_per_epoch: int) -> "keras.Optimizer":
        """Adam with the learning rate of each step."""
        import keras

        decay = self.weight_decay or None
        if not self.falling:
            return keras.optimizers.Adam(self.learning_rate, weight_decay=decay)
        steps = self.epochs * steps_per_epoch
        climbing = round(WARM_UP * steps)
        by_step = keras.optimizers.schedules.CosineDecay(
            0.0, steps - climbing, warmup_target=self.learning_rate, warmup_steps=climbing
        )
        return keras.optimizers.Adam(by_step, weight_decay=decay)
