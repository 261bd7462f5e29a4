"""Train one network on one data set, from pixels to a folder with a model and its manifest.

Reads from top to bottom. The same seed, data and number of cores give the same model, also when
the training was killed and goes on from its checkpoint.
"""

import logging
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from console.counts import counted
from evaluation.baseline import Baseline
from evaluation.confusion import Evaluation
from messaging.messages import TrainModel
from process.heavy_imports import keras_imports
from storage.datasets.store import DataSet
from storage.files import sha256_of
from storage.models.store import MODEL_FILE, Manifest, ModelVersion
from trainer.errors import TrainingFailed, UnknownNetwork
from trainer.training.backbones import BACKBONES
from trainer.training.checkpoint import Checkpoint, Progress
from trainer.training.networks import (
    DEFAULT,
    TRANSFER,
    USUAL,
    augmentation_for,
    get_network,
    get_recipe,
)
from trainer.training.plots import draw_pictures
from trainer.training.progress import EpochReport, EpochStep
from trainer.training.recipes import Recipe

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from trainer.training.transfer import Transfer

IMAGENET, RANDOM = "imagenet", "none"
"""Weights that a network of `BACKBONES` starts from; or a file of them."""
VALIDATION_SHARE = 0.1
TEST_BATCH = 1000

log = logging.getLogger(__name__)

OnEpoch = Callable[[EpochReport], None]
OnStep = Callable[[EpochStep], None]
Probabilities = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """What to train, with everything that decides the outcome."""

    dataset: str
    network: str
    name: str
    """Name of the model to publish."""
    epochs: int
    batch_size: int
    seed: int
    preset: str = DEFAULT
    augment: bool = False
    parent: str | None = None
    """The version to start from, such as `pets@3`; its network is taken over."""
    weights: str | None = None
    """What a network of `BACKBONES` starts from: `imagenet`, `none` or a file."""

    @classmethod
    def with_defaults(
        cls,
        *,
        dataset: str,
        network: str | None = None,
        parent: str | None = None,
        weights: str | None = None,
        preset: str = DEFAULT,
        name: str | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        augment: bool | None = None,
        seed: int = 1,
        images: int | None = None,
    ) -> "TrainingRequest":
        """Fill in what the preset says; raises `UnknownNetwork` or `UnknownPreset`.

        `images` is how many there are to train on, if that is known: few take more epochs.
        """
        if parent:
            network = TRANSFER
        network = network or USUAL
        if network in BACKBONES:
            weights = weights or IMAGENET
        elif weights:
            raise UnknownNetwork(
                f"--weights are for networks that are known to have some: {', '.join(BACKBONES)}."
            )
        recipe = get_recipe(network, preset, learned=bool(parent) or is_learned(weights))
        if images is not None:
            recipe = recipe.for_images(images)
        return cls(
            dataset=dataset,
            network=network,
            parent=parent,
            weights=weights,
            name=name or dataset.partition("@")[0],
            epochs=epochs or recipe.epochs,
            batch_size=batch_size or recipe.batch_size,
            seed=seed,
            preset=preset,
            augment=recipe.augment if augment is None else augment,
        )

    @classmethod
    def from_message(cls, message: TrainModel, images: int | None = None) -> "TrainingRequest":
        """What a message asks for, where there are so many images to train on."""
        told = {field.name: getattr(message, field.name) for field in fields(cls)}
        return cls.with_defaults(**told, images=images)

    def to_message(self, run: str, *, scheduled: bool = False) -> TrainModel:
        """The message that asks for this, under the name `run`."""
        return TrainModel(**asdict(self), run=run, scheduled=scheduled)

    def note_on_epochs(self, images: int) -> str | None:
        """Why there are more epochs than the preset says, if there are, for so many images."""
        preset = get_recipe(self.network, self.preset, learned=self.is_learned)
        if self.epochs <= preset.epochs:
            return None
        return (
            f"Up to {self.epochs:,} epochs instead of {preset.epochs:,}, until the validation loss "
            f"no longer falls: {counted(images, 'image')} in batches of {self.batch_size} are "
            f"few, and it takes {preset.least_steps:,} steps or so to learn."
        )

    @property
    def recipe(self) -> Recipe:
        """The preset, changed as asked for; raises `UnknownNetwork` or `UnknownPreset`."""
        preset = get_recipe(self.network, self.preset, learned=self.is_learned)
        changed = preset.for_epochs(self.epochs)
        return replace(changed, batch_size=self.batch_size, augment=self.augment)

    @property
    def is_learned(self) -> bool:
        """Whether it starts from weights that know something already."""
        return bool(self.parent) or is_learned(self.weights)

    def checkpoint(self, models: Path, dataset: DataSet) -> Checkpoint:
        """Where the training of this on a data set leaves its progress, below all models."""
        facts = {
            **asdict(self),
            **asdict(self.recipe),
            "sha256": dataset.description.sha256,
            "versions": library_versions(),
        }
        return Checkpoint.of(models / self.name, facts)


def is_learned(weights: str | None) -> bool:
    """Whether such weights are none by chance."""
    return weights not in (None, RANDOM)


def train(
    request: TrainingRequest,
    dataset: DataSet,
    draft: Path,
    on_epoch: OnEpoch = lambda report: None,
    *,
    on_step: OnStep = lambda step: None,
    parent: ModelVersion | None = None,
    weights: Path | None = None,
    checkpoint: Checkpoint | None = None,
    fencing_token: int = 0,
    version: Callable[[], str] | None = None,
) -> Manifest:
    """Train, test and draw; `draft` then holds model.keras and the pictures.

    `version` is asked in the end what the pictures are to call it, else it is the model's name.
    Starts from a version or a file of weights, if one is given. Goes on from the checkpoint, if
    there is one with progress, and leaves it for the caller to remove. Returns the manifest to
    publish the model with. Raises `TrainingFailed` when the loss is no number.
    """
    recipe = request.recipe
    import_tensorflow(request.seed)

    # The last tenth of the shuffled training images is held back to validate with.
    order = np.random.default_rng(request.seed).permutation(dataset.training_rows())
    held_back = max(1, round(VALIDATION_SHARE * len(order)))
    training, validation = order[:-held_back], np.sort(order[-held_back:])
    if not len(training):
        raise TrainingFailed(f"Data set {dataset.name} has too few images to train on.")

    classes = dataset.description.classes
    transfer = transfer_from(parent, weights, request.network, dataset, draft)
    model = (
        transfer.model(request.network)
        if transfer
        else get_network(request.network).build_for(
            request.preset, dataset.description.shape, len(classes)
        )
    )
    recipe.compile(model, math.ceil(len(training) / recipe.batch_size))
    history = fit(
        model,
        request,
        dataset,
        training,
        validation,
        on_epoch,
        checkpoint,
        transfer,
        on_step=on_step,
    )
    kept = best_epoch(history) if recipe.patience else history[-1]

    probabilities = predict(model, dataset, "test")
    actual = np.asarray(dataset.labels("test"))
    evaluation = Evaluation.of(classes, actual, probabilities.argmax(axis=1))
    accuracy, loss = evaluation.accuracy or 0.0, cross_entropy(probabilities, actual)

    model.save(draft / MODEL_FILE)
    title = f"{version() if version else request.name}, {request.network}"
    draw_pictures(draft, title, dataset, history, evaluation, probabilities)
    return Manifest(
        network=request.network,
        preset=request.preset,
        parent=str(parent) if parent else request.weights,
        dataset=dataset.name,
        dataset_number=dataset.number,
        dataset_sha256=dataset.description.sha256,
        seed=request.seed,
        epochs=request.epochs,
        batch_size=request.batch_size,
        augment=request.augment,
        labels=classes,
        input_shape=dataset.description.shape,
        preprocessing=dataset.description.preprocessing,
        evaluation=evaluation,
        metrics={
            "accuracy": accuracy,
            "loss": loss,
            "seconds": round(sum(report.seconds for report in history), 2),
            "epochs": len(history),
            "best_epoch": kept.epoch,
            "train_accuracy": kept.accuracy,
            "val_accuracy": kept.val_accuracy,
            "val_loss": kept.val_loss,
            "parameters": model.count_params(),
        },
        versions=library_versions(),
        sha256=sha256_of(draft / MODEL_FILE),
        created_at=datetime.now(UTC),
        fencing_token=fencing_token,
        baseline=Baseline.of(probabilities, dataset.images("test")),
    )


def import_tensorflow(seed: int) -> None:
    """Import Keras and TensorFlow quietly, and make what they do depend on the seed alone."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what matters is raised as well
    if "tensorflow" not in sys.modules:
        log.debug("Loading TensorFlow ...")
    with keras_imports():
        import keras
        import tensorflow as tf

        tf.config.list_logical_devices()

    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def transfer_from(
    parent: ModelVersion | None, weights: Path | None, network: str, dataset: DataSet, draft: Path
) -> "Transfer | None":
    """What is learned further, with a new head; none for a network that begins anew."""
    from trainer.training.transfer import Transfer, features_of
    from trainer.training.weights_file import read_weights

    shape = dataset.description.shape
    if parent:
        features = features_of(parent)
    elif weights:
        features = BACKBONES[network].features(shape, read_weights(weights, network, shape, draft))
    else:
        return None
    return Transfer.of(features, len(dataset.description.classes))


def fit(
    model: "keras.Model",
    request: TrainingRequest,
    dataset: DataSet,
    training: NDArray[np.int64],
    validation: NDArray[np.int64],
    on_epoch: OnEpoch,
    checkpoint: Checkpoint | None = None,
    transfer: "Transfer | None" = None,
    *,
    on_step: OnStep = lambda step: None,
) -> list[EpochReport]:
    """Run the epochs that the checkpoint does not have; reports each and returns all reports.

    The first one of a network that knows something already is that of its new head alone.

    What is random in an epoch follows from the seed and the epoch, or is part of the checkpoint.
    """
    recipe = request.recipe
    augmentation = None
    if recipe.augment:
        augmentation = recipe.augmentation or augmentation_for(
            request.network, dataset.description.shape
        )
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    progress = checkpoint.read([v.shape for v in variables]) if checkpoint else Progress()
    history, best = list(progress.history), progress.best
    if history:
        for variable, value in zip(variables, progress.state, strict=True):
            variable.assign(value)
        on_epoch(history[-1].model_copy(update={"resumed": True}))

    shuffler = np.random.default_rng(request.seed)
    held_back = batches(dataset, validation, TEST_BATCH)
    for epoch in range(1, recipe.epochs + 1):
        order = shuffler.permutation(training)
        if epoch <= len(history):
            continue
        if recipe.patience and waited(history) >= recipe.patience:
            break
        began = time.monotonic()

        def tell(done: int, epoch: int = epoch) -> None:
            on_step(EpochStep(epoch=epoch, epochs=recipe.epochs, done=done, total=len(training)))

        shown = batches(dataset, order, recipe.batch_size, on_batch=tell)
        if augmentation:
            random = np.random.default_rng((request.seed, epoch))
            transforms = augmentation.draw(random, len(order), dataset.description.shape)
            shown = augmentation.apply(shown, transforms, recipe.batch_size)
        if transfer and epoch == 1:
            logs = transfer.fit_head(dataset, order, validation)
        else:
            fitted = model.fit(shown, validation_data=held_back, shuffle=False, verbose=0).history
            logs = {measure: values[-1] for measure, values in fitted.items()}
        report = EpochReport(
            epoch=epoch,
            epochs=recipe.epochs,
            accuracy=logs["accuracy"],
            val_accuracy=logs["val_accuracy"],
            loss=logs["loss"],
            val_loss=logs["val_loss"],
            head_only=transfer is not None and epoch == 1,
            seconds=time.monotonic() - began,
        )
        if not math.isfinite(report.loss):
            raise TrainingFailed(
                f"The training diverged in epoch {epoch} (loss {report.loss}): "
                "try another seed or a larger batch size."
            )
        history.append(report)
        if recipe.patience and best_epoch(history) is report:
            best = model.get_weights()
        if checkpoint:
            state = [np.asarray(variable) for variable in variables]
            checkpoint.write(Progress(history=history, state=state, best=best))
        on_epoch(report)
    if recipe.patience:
        model.set_weights(best)
    return history


def waited(history: Sequence[EpochReport]) -> int:
    """Epochs since the best one."""
    return len(history) - best_epoch(history).epoch if history else 0


def best_epoch(history: Sequence[EpochReport]) -> EpochReport:
    """The first one with the lowest loss on the validation images."""
    return min(history, key=lambda report: report.val_loss)


def batches(
    dataset: DataSet,
    rows: NDArray[np.int64],
    size: int,
    *,
    on_batch: Callable[[int], None] = lambda done: None,
) -> "tf.data.Dataset":
    """Some training images with their labels, (n, H, W, C) and (n,), read as they are needed.

    `on_batch` hears how many have been asked for, in a thread of TensorFlow's.
    """
    import tensorflow as tf

    images, labels = dataset.images("train"), dataset.labels("train")

    def one_epoch() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int32]]]:
        for start in range(0, len(rows), size):
            on_batch(start)
            chosen = rows[start : start + size]
            yield images[chosen], labels[chosen]

    shapes = (
        tf.TensorSpec((None, *images.shape[1:]), tf.uint8),
        tf.TensorSpec((None,), tf.int32),
    )
    count = tf.data.experimental.assert_cardinality(math.ceil(len(rows) / size))
    # There is nothing to tune, and an epoch would not end before the tuner's thread wakes up, which
    # sleeps twice as long each time: 20.5 s or 41 s, and nothing in between.
    options = tf.data.Options()
    options.autotune.enabled = False
    shown = tf.data.Dataset.from_generator(one_epoch, output_signature=shapes).apply(count)
    return shown.prefetch(2).with_options(options)


def predict(model: "keras.Model", dataset: DataSet, split: str) -> Probabilities:
    """Class probabilities (N, classes) of all images of a split."""
    images = dataset.images(split)
    parts = [
        np.asarray(model.predict_on_batch(images[start : start + TEST_BATCH]))
        for start in range(0, len(images), TEST_BATCH)
    ]
    return np.concatenate(parts)


def cross_entropy(probabilities: Probabilities, actual: NDArray[np.integer]) -> float:
    """Mean of minus the logarithm of the probability given to the actual class."""
    given = probabilities[np.arange(len(actual)), actual].astype(np.float64)
    return float(-np.log(np.clip(given, 1e-7, 1.0)).mean())


def library_versions() -> dict[str, str]:
    libraries = {name: version(name) for name in ("numpy", "keras", "tensorflow")}
    return {"python": platform.python_version(), **libraries}
