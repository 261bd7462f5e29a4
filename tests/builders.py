"""Small jobs, models and fakes for unit tests: no Redis, no TensorFlow."""

import hashlib
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from evaluation.confusion import Evaluation
from evaluation.ranking import Probabilities, Ranking
from imaging.decoding.formats import can_read_heic
from imaging.images import Pixels, Shape
from imaging.preprocessing import DEFAULT, Preprocessing
from storage.datasets.store import DataSet, DatasetStore
from storage.jobs.attempts import Attempt, Attempts
from storage.jobs.inputs import ArrayInputs, FileInputs, ImageFile, ImageFiles
from storage.jobs.job import Job
from storage.jobs.results import BatchResult
from storage.jobs.store import JobStore
from storage.jobs.stored_job import StoredJob
from storage.models.metrics import Metrics
from storage.models.runtime_choice import Runtime, RuntimeChoice
from storage.models.store import MODEL_FILE, ONNX_FILE, Manifest, ModelPin, ModelStore, ModelVersion

SHAPE: Shape = (4, 4, 1)
LABELS = ("zero", "one", "two")
PIN = ModelPin(name="digits", number=1, sha256="0" * 64, runtime="tensorflow")
DEADLY = 255
"""A first pixel of this value kills whoever classifies it with a `FakePredictor`."""


# Images


def images_of(firsts: Sequence[int], shape: Shape = SHAPE) -> Pixels:
    """Uint8 images (N, H, W, C), all zeros but for the first pixel."""
    images = np.zeros((len(firsts), *shape), np.uint8)
    images[:, 0, 0, 0] = firsts
    return images


def encode(pixels: NDArray[Any], format: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file with these pixels (H, W) or (H, W, C)."""
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    return save(Image.fromarray(pixels), format, **options)


def save(image: Image.Image, format: str, **options: Any) -> bytes:
    """The bytes of an image file of this image."""
    if format == "HEIF":
        assert can_read_heic()  # which makes Pillow able to write it, too
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def image_file(content: bytes, number: int = 0, /, **fields: Any) -> ImageFile:
    """A packed image file."""
    known: dict[str, Any] = {
        "id": f"image-{number}",
        "path": f"folder/{number}.png",
        "sha256": hashlib.sha256(content).digest(),
        "content": content,
    }
    return ImageFile(**(known | fields))


def image_files(files: Sequence[ImageFile]) -> ImageFiles:
    """The same files as columns."""
    return ImageFiles(
        ids=[file.id for file in files],
        paths=[file.path for file in files],
        labels=[file.label for file in files],
        digests=[file.sha256 for file in files],
        contents=[file.content for file in files],
        stored=[file.stored for file in files],
        stamps=[file.stamp for file in files],
        refused=[file.refused for file in files],
    )


# Jobs


def array_job(
    store: JobStore, images: NDArray[Any], labels: Sequence[int] | None = None, **fields: Any
) -> Job:
    """A committed job over `images`, which are saved below the root of the store."""
    store.root.mkdir(parents=True, exist_ok=True)
    path = store.root / "images.npy"
    np.save(path, images)
    if labels is not None:
        np.save(store.root / "labels.npy", np.array(labels, np.int32))
    inputs = ArrayInputs(
        images="images.npy",
        labels=None if labels is None else "labels.npy",
        size=path.stat().st_size,
        mtime_ns=path.stat().st_mtime_ns,
    )
    labelled = sum(label >= 0 for label in labels or ())
    job = describe_job(total=len(images), labelled=labelled, inputs=inputs, **fields)
    with store.draft() as draft:
        store.commit(draft, job)
    return job


def file_job(store: JobStore, files: Sequence[ImageFile], **fields: Any) -> Job:
    """A committed job over packed image files."""
    labelled = sum(file.label >= 0 for file in files)
    job = describe_job(total=len(files), labelled=labelled, inputs=FileInputs(), **fields)
    with store.draft() as draft:
        for batch in range(job.batches):
            span = job.span(batch)
            draft.add_pack(batch, image_files(files[span.start : span.stop]))
        store.commit(draft, job)
    return job


def describe_job(**fields: Any) -> Job:
    """A job of ten images in batches of four, unless `fields` says otherwise."""
    known: dict[str, Any] = {
        "id": "job",
        "source": "images.npy",
        "model": PIN,
        "labels": LABELS,
        "total": 10,
        "labelled": 0,
        "batch_size": 4,
        "window": 2,
        "inputs": FileInputs(),
        "fingerprint": "f" * 64,
        "created_at": datetime.now(UTC),
    }
    return Job(**(known | fields))


def ranking_of(predictions: ArrayLike, scores: ArrayLike) -> Ranking:
    """One class per image, with its score."""
    return Ranking(
        classes=np.asarray(predictions, np.int32)[..., np.newaxis],
        scores=np.asarray(scores, np.float32)[..., np.newaxis],
    )


def one_hot(predictions: ArrayLike, classes: int, score: float) -> Probabilities:
    """Such a probability for the predicted class of each image, and none for the others."""
    each = score * np.eye(classes, dtype=np.float32)
    return np.asarray(each[np.asarray(predictions)])


def result_of(
    predictions: Sequence[int],
    errors: Mapping[int, str] | None = None,
    model: ModelPin = PIN,
    reused: int | None = None,
) -> BatchResult:
    """A result with these class indices, each with the score three quarters: none is a tie."""
    return BatchResult(
        model=model,
        ranking=ranking_of(predictions, np.full(len(predictions), 0.75)),
        errors=errors or {},
        reused=reused,
    )


# Data sets and models


def add_dataset(
    root: Path,
    labels: Sequence[int],
    name: str = "digits",
    classes: Sequence[str] = LABELS,
    origin: str = "a test",
) -> DataSet:
    """A data set whose images have their label as first pixel, the same ones in both splits."""
    store = DatasetStore(root)
    with store.draft(SHAPE) as draft:
        for split in ("train", "test"):
            images, actual = draft.add_split(split, len(labels))
            images[:], actual[:] = images_of(labels), labels
        return store.commit(draft, name, classes, origin)


def describe_model(content: bytes = b"a model", **fields: Any) -> Manifest:
    """The manifest of a model file with this content."""
    labels = fields.get("labels", LABELS)
    tested = ((5, 0, 0), (0, 4, 1), (0, 0, 5)) if labels == LABELS else 5 * np.eye(len(labels))
    known: dict[str, Any] = {
        "network": "mlp",
        "preset": "default",
        "dataset": "digits",
        "dataset_number": 1,
        "dataset_sha256": "d" * 64,
        "seed": 1,
        "epochs": 5,
        "batch_size": 32,
        "labels": LABELS,
        "input_shape": SHAPE,
        "preprocessing": DEFAULT,
        "evaluation": Evaluation.from_matrix(labels, np.array(tested, np.int64)),
        "metrics": {"accuracy": 14 / 15, "loss": 0.2},
        "versions": {"keras": "3"},
        "sha256": hashlib.sha256(content).hexdigest(),
        "created_at": datetime.now(UTC),
    }
    return Manifest(**(known | fields))


def runtime_choice(images_per_second: float, runtime: Runtime = "tensorflow") -> RuntimeChoice:
    """A version's only runtime, in which it is so fast."""
    metrics = Metrics(
        load_seconds=1,
        images_per_second=images_per_second,
        latency_ms=2,
        cpu_ms=2,
        peak_memory_mb=500,
    )
    return RuntimeChoice(runtime=runtime, reason="a test", metrics={runtime: metrics})


def publish(
    store: ModelStore, name: str = "digits", content: bytes = b"a model", **fields: Any
) -> ModelVersion:
    """A published version whose model file is `content`: good for all but loading it."""
    with store.draft(name) as draft:
        (draft / MODEL_FILE).write_bytes(content)
        return store.publish(name, draft, describe_model(content, **fields))


def publish_both(store: ModelStore, name: str = "digits", **fields: Any) -> ModelVersion:
    """A published version with an artefact for each runtime."""
    with store.draft(name) as draft:
        (draft / MODEL_FILE).write_bytes(b"a model")
        (draft / ONNX_FILE).write_bytes(b"a graph")
        digest = hashlib.sha256(b"a graph").hexdigest()
        return store.publish(name, draft, describe_model(onnx_sha256=digest, **fields))


class FakePredictor:
    """Classifies by the first pixel, modulo the number of classes, and remembers its calls."""

    def __init__(self, shape: Shape = SHAPE, classes: int = len(LABELS)) -> None:
        self.shape = shape
        self.preprocessing = Preprocessing()
        self.classes = classes
        self.chunk = 1_000
        self.chunks: tuple[int, ...] = (self.chunk,)
        self.calls: list[Pixels] = []
        self.before: Callable[[Pixels], None] = lambda pixels: None

    def __call__(self, pixels: Pixels) -> NDArray[np.float32]:
        self.calls.append(pixels.copy())
        self.before(pixels)
        first = pixels.reshape(len(pixels), -1)[:, 0]
        if (first == DEADLY).any():
            raise Death
        means = pixels.reshape(len(pixels), -1).astype(np.float32).mean(axis=1)
        scores = 0.5 + (1 + means) / 514
        probabilities = np.zeros((len(pixels), self.classes), np.float32)
        probabilities[np.arange(len(pixels)), (first.astype(int) + 1) % self.classes] = 1 - scores
        probabilities[np.arange(len(pixels)), first % self.classes] = scores
        return probabilities


def loader_of(predictor: Any) -> Callable[[ModelVersion], Any]:
    """A `load` for `ModelCache` that always gives this predictor."""
    return lambda version: predictor


# Deaths


class Death(BaseException):
    """What a fake predictor raises for SIGKILL: no `except Exception` catches either."""


class MortalAttempt(Attempt):
    """An attempt whose log stays open when its worker dies, as after SIGKILL."""

    def end(self, outcome: str, phases: Mapping[str, float] | None = None) -> None:
        if isinstance(sys.exception(), Death):
            os.close(self._file)
        else:
            super().end(outcome, phases)


class MortalAttempts(Attempts):
    """Logs of attempts that can die."""

    def begin(self, batch: int, lease_seconds: float | None = None) -> Attempt:
        return MortalAttempt(self.path(batch), lease_seconds)


class MortalJobStore(JobStore):
    """A job store whose attempts can die."""

    def of(self, job: Job) -> StoredJob:
        stored = super().of(job)
        stored.attempts = MortalAttempts(stored.folder / "attempts")
        return stored


def die_at(path: Path, *images: int) -> None:
    """Log an attempt that dies, at the last of `images` when it walks over any."""
    attempt = Attempt(path)
    for image in images:
        attempt.touch(image)
    os.close(attempt._file)


def as_any(value: object) -> Any:
    """For handing a wrong type to a function on purpose."""
    return cast(Any, value)
