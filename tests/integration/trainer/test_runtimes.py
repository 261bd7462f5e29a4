"""A Keras model gets an ONNX graph beside it, and the faster of the two that agree is used."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.agreement import Agreement
from imaging.images import Shape
from storage.errors import NotFound
from storage.files import sha256_of
from storage.models.runtime_choice import RuntimeChoice
from storage.models.store import MODEL_FILE, ONNX_FILE, ModelStore, ModelVersion
from tests.builders import LABELS, describe_model
from tests.processes import REPOSITORY
from trainer.errors import ExaminationFailed
from trainer.promotion.gate import Gate
from trainer.runtimes.choice import choose_runtime
from trainer.settings import TrainerSettings
from trainer.training.networks import get_network
from trainer.training.train import import_tensorflow
from worker.runtimes.model_cache import load_predictor

IMAGES = 40
SHAPE = (8, 8, 1)
Layer = Callable[[Any], Any]


class House:
    """Publishes Keras models with the runtime that is chosen for them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.models = ModelStore(root)
        self.gate = Gate(TrainerSettings().thresholds)

    def images(self, shape: Shape) -> Path:
        path = self.root / f"{shape}.npy"
        np.save(path, np.random.default_rng(1).integers(0, 256, (IMAGES, *shape), np.uint8))
        return path

    def publish(self, model: Any, shape: Shape = SHAPE) -> ModelVersion:
        with self.models.draft("digits") as draft:
            model.save(draft / MODEL_FILE)
            digest = sha256_of(draft / MODEL_FILE)
            manifest = describe_model(sha256=digest, input_shape=shape)
            made = self.models.drafted("digits", draft, manifest)
            chosen, _ = choose_runtime(made, self.images(shape), self.gate)
            return self.models.publish("digits", draft, chosen.manifest)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    import_tensorflow(1)
    return House(tmp_path_factory.mktemp("runtimes"))


def network(layer: Layer) -> Any:
    """A network with a certain layer in it."""
    import keras

    images = keras.Input(SHAPE, dtype="uint8")
    seen = layer(keras.layers.Rescaling(1 / 255)(images))
    weights = keras.initializers.RandomNormal(stddev=0.3, seed=1)
    head = keras.layers.Dense(len(LABELS), activation="softmax", kernel_initializer=weights)
    return keras.Model(images, head(keras.layers.Flatten()(seen)))


def choice_of(version: ModelVersion) -> RuntimeChoice:
    assert version.manifest.runtime is not None
    return version.manifest.runtime


@pytest.mark.parametrize(
    ("name", "shape"), [("mlp", (28, 28, 1)), ("cnn", (28, 28, 1)), ("resnet", (32, 32, 3))]
)
def test_the_networks_trained_here_agree_in_both_runtimes_and_need_no_tensorflow(
    house: House, name: str, shape: Shape
) -> None:
    model = get_network(name).build_for("default", shape, len(LABELS))
    version = house.publish(model, shape)
    choice = choice_of(version)
    assert choice.agreement is not None
    assert choice.agreement.holds
    assert choice.agreement.images == IMAGES
    onnx, tensorflow = choice.metrics["onnx"], choice.metrics["tensorflow"]
    assert onnx.load_seconds < tensorflow.load_seconds
    assert onnx.peak_memory_mb < min(250, tensorflow.peak_memory_mb)
    assert load_predictor(version.on("onnx")).chunk == onnx.chunk
    for runtime in choice.metrics:
        version.on(runtime).verify()

    images = np.load(house.images(shape))
    expected = np.asarray(model(images, training=False))
    np.save(house.root / "expected.npy", expected)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(house.root), str(version), str(house.images(shape))],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False"]
    assert Agreement.of(np.load(house.root / "found.npy"), expected).holds


ALONE = """
import sys
from pathlib import Path
import numpy as np
from storage.models.store import ModelStore
from worker.runtimes.model_cache import load_predictor
root = Path(sys.argv[1])
predictor = load_predictor(ModelStore(root).resolve(sys.argv[2]).on("onnx"))
np.save(root / "found.npy", predictor(np.load(sys.argv[3], mmap_mode="r")))
print("tensorflow" in sys.modules)
"""
"""What a worker's child does with a version as ONNX, and whether that needs TensorFlow."""


def area(x: Any) -> Any:
    """ONNX has no such resizing; what tf2onnx writes instead is another one."""
    import keras

    return keras.layers.Resizing(5, 5, interpolation="area")(x)


def fourier(x: Any) -> Any:
    """What tf2onnx cannot convert."""
    import keras

    return keras.ops.expand_dims(keras.ops.rfft(x[..., 0])[0], -1)


def lanczos(x: Any) -> Any:
    """What tf2onnx leaves as it is, and ONNX Runtime does not know."""
    import keras

    return keras.layers.Resizing(5, 5, interpolation="lanczos3")(x)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (area, r"its export to ONNX gives other answers for \d+ of 40 images, with probabilities"),
        (fourier, "its export to ONNX fails: .*RFFT"),
        (lanczos, "its export to ONNX fails: it cannot be loaded: .*ScaleAndTranslate"),
    ],
)
def test_an_export_that_fails_or_disagrees_costs_nothing_but_speed_and_says_why(
    house: House, layer: Layer, reason: str
) -> None:
    version = house.publish(network(layer))
    choice = choice_of(version)
    assert choice.runtime == version.runtime == "tensorflow"
    assert list(choice.metrics) == ["tensorflow"]
    version.verify()
    assert not (version.folder / ONNX_FILE).exists()
    with pytest.raises(NotFound, match=f"cannot be used with ONNX Runtime, .*: {reason}"):
        version.on("onnx")


def test_a_model_that_cannot_be_used_as_it_was_made_is_no_matter_of_its_export(
    house: House,
) -> None:
    import keras

    images = keras.Input(SHAPE, dtype="uint8")
    few = keras.layers.Dense(len(LABELS) - 1, activation="softmax")
    with pytest.raises(ExaminationFailed, match="fails its warm-up"):
        house.publish(keras.Model(images, few(keras.layers.Flatten()(images))))
