"""Train one network on one data set, from pixels to a folder with a model and its manifest.

Reads from top to bottom. The same seed, data and number of cores give the same model.
"""

import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from messaging.messages import TrainModel
from messaging.native_logs import native_logs_held_back
from storage.baseline import Baseline
from storage.datasets import DataSet
from storage.evaluation import Evaluation
from storage.files import sha256_of
from storage.models import MODEL_FILE, Manifest
from trainer.errors import TrainingFailed
from trainer.networks import build, get_network
from trainer.plots import draw_pictures
from trainer.progress import EpochReport

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

VALIDATION_SHARE = 0.1
TEST_BATCH = 1000
FIGURES = ("accuracy", "val_accuracy", "loss", "val_loss")

OnEpoch = Callable[[EpochReport], None]
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

    @classmethod
    def with_defaults(
        cls,
        *,
        dataset: str,
        network: str,
        name: str | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        seed: int = 1,
    ) -> "TrainingRequest":
        """Fill in the network's own epochs and batch size; raises `UnknownNetwork`."""
        defaults = get_network(network)
        return cls(
            dataset=dataset,
            network=network,
            name=name or dataset,
            epochs=epochs or defaults.epochs,
            batch_size=batch_size or defaults.batch_size,
            seed=seed,
        )

    @classmethod
    def from_message(cls, message: TrainModel) -> "TrainingRequest":
        """What a message asks for."""
        return cls(**{field.name: getattr(message, field.name) for field in fields(cls)})

    def to_message(self, run: str, *, scheduled: bool = False) -> TrainModel:
        """The message that asks for this, under the name `run`."""
        return TrainModel(**asdict(self), run=run, scheduled=scheduled)


def train(
    request: TrainingRequest,
    dataset: DataSet,
    draft: Path,
    on_epoch: OnEpoch = lambda report: None,
    *,
    fence: int = 0,
) -> Manifest:
    """Train, test and draw; `draft` then holds model.keras and the pictures.

    Returns the manifest to publish it with. Raises `TrainingFailed` when the loss is no number.
    """
    import_tensorflow(request.seed)
    began = time.monotonic()

    # The last tenth of the shuffled training images is held back to validate with.
    order = np.random.default_rng(request.seed).permutation(dataset.training_rows())
    held_back = max(1, round(VALIDATION_SHARE * len(order)))
    training, validation = order[:-held_back], np.sort(order[-held_back:])
    if not len(training):
        raise TrainingFailed(f"Data set {dataset.name} has too few images to train on.")

    classes = dataset.description.classes
    model = build(request.network, dataset.description.shape, len(classes))
    history = fit(model, request, dataset, training, validation, on_epoch)
    seconds = time.monotonic() - began

    model.predict_on_batch(dataset.images("test")[:TEST_BATCH])  # compiles, which is not timed
    began = time.monotonic()
    probabilities = predict(model, dataset, "test")
    images_per_second = len(probabilities) / (time.monotonic() - began)
    actual = np.asarray(dataset.labels("test"))
    evaluation = Evaluation.of(classes, actual, probabilities.argmax(axis=1))
    accuracy, loss = evaluation.accuracy or 0.0, cross_entropy(probabilities, actual)

    model.save(draft / MODEL_FILE)
    title = f"{request.name}, {request.network}"
    draw_pictures(draft, title, dataset, history, evaluation, probabilities)
    return Manifest(
        network=request.network,
        dataset=dataset.name,
        dataset_number=dataset.number,
        dataset_sha256=dataset.description.sha256,
        seed=request.seed,
        epochs=request.epochs,
        batch_size=request.batch_size,
        labels=classes,
        input_shape=dataset.description.shape,
        evaluation=evaluation,
        metrics={
            "accuracy": accuracy,
            "loss": loss,
            "seconds": round(seconds, 2),
            "images_per_second": round(images_per_second, 1),
            "train_accuracy": history[-1].accuracy,
            "val_accuracy": history[-1].val_accuracy,
            "val_loss": history[-1].val_loss,
            "parameters": model.count_params(),
        },
        versions=library_versions(),
        sha256=sha256_of(draft / MODEL_FILE),
        created_at=datetime.now(UTC),
        fence=fence,
        baseline=Baseline.of(probabilities, dataset.images("test")),
    )


def import_tensorflow(seed: int) -> None:
    """Import Keras and TensorFlow quietly, and make what they do depend on the seed alone."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with native_logs_held_back():
        import keras
        import tensorflow as tf

        tf.config.list_logical_devices()

    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def fit(
    model: "keras.Model",
    request: TrainingRequest,
    dataset: DataSet,
    training: NDArray[np.int64],
    validation: NDArray[np.int64],
    on_epoch: OnEpoch,
) -> list[EpochReport]:
    """Run all epochs; reports each as it ends and returns all reports."""
    import keras

    history: list[EpochReport] = []
    began = time.monotonic()

    def report(epoch: int, logs: dict[str, Any]) -> None:
        nonlocal began
        now = time.monotonic()
        numbers = {name: float(logs[name]) for name in FIGURES}
        if not math.isfinite(numbers["loss"]):
            raise TrainingFailed(
                f"The training diverged in epoch {epoch + 1} (loss {numbers['loss']}): "
                "try another seed or a larger batch size."
            )
        seconds, began = now - began, now
        history.append(
            EpochReport(epoch=epoch + 1, epochs=request.epochs, seconds=seconds, **numbers)
        )
        on_epoch(history[-1])

    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=report)]
    if learning_rate := get_network(request.network).learning_rate:
        by_epoch = keras.callbacks.LearningRateScheduler(
            lambda epoch: learning_rate(epoch / request.epochs)
        )
        callbacks.append(by_epoch)
    model.fit(
        batches(dataset, training, request.batch_size, shuffle_seed=request.seed),
        validation_data=batches(dataset, validation, TEST_BATCH),
        epochs=request.epochs,
        callbacks=callbacks,
        shuffle=False,  # the batches are shuffled already
        verbose=0,
    )
    return history


def batches(
    dataset: DataSet, rows: NDArray[np.int64], size: int, shuffle_seed: int | None = None
) -> "tf.data.Dataset":
    """Some training images with their labels, (n, H, W, C) and (n,), read as they are needed.

    Shuffled anew for each epoch when there is a seed.
    """
    import tensorflow as tf

    images, labels = dataset.images("train"), dataset.labels("train")
    shuffler = np.random.default_rng(shuffle_seed)

    def one_epoch() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int32]]]:
        order = rows if shuffle_seed is None else shuffler.permutation(rows)
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            yield images[chosen], labels[chosen]

    shapes = (
        tf.TensorSpec((None, *images.shape[1:]), tf.uint8),
        tf.TensorSpec((None,), tf.int32),
    )
    count = tf.data.experimental.assert_cardinality(math.ceil(len(rows) / size))
    return (
        tf.data.Dataset.from_generator(one_epoch, output_signature=shapes).apply(count).prefetch(2)
    )


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
    """Versions of what made the model."""
    import keras
    import tensorflow as tf

    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }
