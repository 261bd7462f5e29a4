"""Model files that must not be loaded, and the jobs that ask for them."""

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from storage.files import sha256_of
from storage.models.store import ModelStore, ModelVersion
from tests.processes import Program, run

pytestmark = pytest.mark.usefixtures("running_worker")

Damage = Callable[[Path], None]


@pytest.fixture
def publish(system: Mapping[str, str]) -> Iterator[Callable[[Damage], ModelVersion]]:
    """Publish a version like the champion whose model file was changed, its digest being right."""
    store = ModelStore(Path(system["BATCHSIGHT_STORAGE"]))
    published: list[ModelVersion] = []

    def publish_changed(change: Damage) -> ModelVersion:
        champion = store.resolve("digits")
        with store.draft("digits") as draft:
            path = draft / "model.keras"
            shutil.copy(champion.on("tensorflow").model_path, path)
            change(path)
            alone = {"sha256": sha256_of(path), "onnx_sha256": None, "runtime": None}
            manifest = champion.manifest.model_copy(update=alone)
            published.append(store.publish("digits", draft, manifest))
        return published[-1]

    yield publish_changed
    for version in published:
        shutil.rmtree(version.folder)


def reason_for_refusal(system: Mapping[str, str], version: ModelVersion) -> str:
    """Submit a job for the version; it must fail, and another job must not."""
    failed = run(system, "producer", "submit", "digits:test", "--model", str(version), check=False)
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    good = run(system, "producer", "submit", "digits:test", "--model", "digits@1", "--json")
    assert json.loads(good.stdout)["status"] == "completed"
    return " ".join((failed.stdout + failed.stderr).split())  # a long one goes over several lines


def save_lambda(path: Path) -> None:
    import keras

    layers = [
        keras.Input((8, 8, 1)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Flatten(),
        keras.layers.Lambda(lambda x: x),
        keras.layers.Dense(10, activation="softmax"),
    ]
    keras.Sequential(layers).save(path)


def test_a_model_with_code_in_a_lambda_layer_is_refused(
    system: Mapping[str, str], publish: Callable[[Damage], ModelVersion]
) -> None:
    version = publish(save_lambda)
    reason = reason_for_refusal(system, version)
    assert "cannot be loaded" in reason


def write_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("metadata.json", "{}")
        with archive.open("model.weights.h5", "w", force_zip64=True) as member:
            for _ in range(80):
                member.write(bytes(64_000_000))


def test_a_zip_bomb_is_refused_before_it_unpacks(
    system: Mapping[str, str], publish: Callable[[Damage], ModelVersion]
) -> None:
    version = publish(write_bomb)
    assert version.model_path.stat().st_size < 60_000_000
    assert "would unpack to 5.1 GB" in reason_for_refusal(system, version)


def test_a_file_that_is_no_archive_is_refused(
    system: Mapping[str, str], publish: Callable[[Damage], ModelVersion]
) -> None:
    def overwrite(path: Path) -> None:
        path.write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")

    assert "is no Keras archive" in reason_for_refusal(system, publish(overwrite))


def save_other_shape(path: Path) -> None:
    import keras

    layers = [keras.Input((9, 9, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    keras.Sequential(layers).save(path)


def test_a_model_that_fails_its_warm_up_is_refused(
    system: Mapping[str, str],
    publish: Callable[[Damage], ModelVersion],
    running_worker: Program,
) -> None:
    version = publish(save_other_shape)
    assert "fails its warm-up" in reason_for_refusal(system, version)
    assert running_worker.running
