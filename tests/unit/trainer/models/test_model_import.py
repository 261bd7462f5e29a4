"""Models from elsewhere, as far as no TensorFlow is needed to see what is wrong with them."""

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from imaging.preprocessing import Preprocessing
from storage.class_names import canonical
from storage.errors import Corrupt
from storage.models.examination_messages import Metrics
from storage.models.promotions import read_promotion
from storage.models.store import IMPORTED, ModelStore, ModelVersion
from tests.builders import LABELS, SHAPE, add_dataset, as_any
from trainer import cli
from trainer.commands.given import Given
from trainer.errors import ExaminationFailed, ImportFailed
from trainer.models.model_import import AS_KERAS, ImportRequest
from trainer.pipeline import Pipeline
from trainer.promotion.examination_process import Examination
from trainer.promotion.gate import Gate
from trainer.settings import TrainerSettings
from trainer.training.progress import ImportSummary

ACTUAL = [i % len(LABELS) for i in range(90)]
METRICS = Metrics(
    load_seconds=1, images_per_second=1000, latency_ms=2, cpu_ms=2, peak_memory_mb=500
)


def archive(
    path: Path, shape: Sequence[int | None] | None = (None, *SHAPE), **members: Any
) -> Path:
    """A file of Keras' form whose network takes inputs of this shape."""
    layers: list[dict[str, Any]] = [{"class_name": "Dense", "config": {"units": 3}}]
    if shape is not None:
        layers.insert(0, {"class_name": "InputLayer", "config": {"batch_shape": list(shape)}})
    known = {
        "config.json": json.dumps({"class_name": "Sequential", "config": {"layers": layers}}),
        "metadata.json": json.dumps({"keras_version": "3.9.0"}),
        "model.weights.h5": "weights",
    }
    with zipfile.ZipFile(path, "w") as file:
        for name, content in (known | members).items():
            file.writestr(name, content)
    return path


class House:
    """A storage with a data set, and an examiner that names the class by the first pixel."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dataset = add_dataset(root, ACTUAL)
        self.models = ModelStore(root)
        self.error: ExaminationFailed | None = None
        self.answer: Callable[[Any], Any] = lambda actual: actual
        self.trial: Callable[[Any], Any] | None = None
        self.outputs: tuple[str, ...] | None = None
        gate = Gate(TrainerSettings().thresholds, self.examine)
        self.pipeline = Pipeline(as_any(None), self.models, as_any(None), gate)
        self.pipeline.datasets = as_any(self)

    def examine(
        self, version: ModelVersion, images: Path | None, *, trials: bool = False
    ) -> Examination:
        if self.error:
            raise self.error
        labels = self.outputs or tuple(map(canonical, version.manifest.labels))
        classes = [canonical(name) for name in self.dataset.description.classes]
        actual = np.load(images)[:, 0, 0, 0] if images else np.empty(0, np.uint8)

        def outputs(answers: Any) -> list[int]:
            return [labels.index(classes[i]) for i in answers]

        return Examination(
            predictions=np.array(outputs(self.answer(actual)), np.int32),
            scores=np.full(len(actual), 0.95, np.float32),
            metrics=METRICS,
            rows=np.arange(len(actual)) if self.trial else None,
            trials=np.array([outputs(self.trial(actual))], np.int32) if self.trial else None,
        )

    # What `ensure_dataset` asks of the store.

    def numbers(self, name: str) -> list[int]:
        return [1]

    def get(self, reference: str) -> Any:
        return self.dataset

    def bring_in(
        self,
        path: Path,
        dataset: str | None = None,
        labels: Sequence[str] = LABELS,
        preprocessing: Preprocessing | None = None,
    ) -> ImportSummary:
        request = ImportRequest(
            path=path, name="foreign", labels=tuple(labels), preprocessing=preprocessing
        )
        return self.pipeline.bring_in(request, dataset)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "storage")


def test_a_tested_model_goes_through_the_gate(house: House, tmp_path: Path) -> None:
    path = archive(tmp_path / "other.keras")
    summary = house.bring_in(path, "digits", labels=LABELS[::-1])
    assert str(summary) == (
        "foreign@1: other.keras imported, test accuracy 1.0000 on digits@1. "
        "Champion: the first champion."
    )
    version = house.models.resolve("foreign")
    manifest = version.manifest
    assert version.model_path.read_bytes() == path.read_bytes()
    version.verify()
    assert (manifest.network, manifest.dataset, manifest.labels) == (
        IMPORTED,
        "digits",
        LABELS[::-1],
    )
    assert (manifest.seed, manifest.epochs, manifest.batch_size) == (None, None, None)
    assert manifest.versions == {"keras": "3.9.0"}
    assert manifest.evaluation.matrix.tolist() == [[30, 0, 0], [0, 30, 0], [0, 0, 30]]
    assert manifest.baseline is not None
    assert manifest.baseline.classes == (30, 30, 30)
    assert read_promotion(version) is not None


def test_an_untested_model_is_published_and_only_force_promotes_it(
    house: House, tmp_path: Path
) -> None:
    summary = house.bring_in(archive(tmp_path / "other.keras"))
    assert summary.accuracy is None
    assert str(summary) == (
        "foreign@1: other.keras imported. Not promoted: "
        "not tested, `trainer promote foreign@1 --force` does it."
    )
    assert house.models.champion("foreign") is None
    version = house.models.version("foreign", 1)
    assert (version.manifest.dataset, version.manifest.evaluation.count) == (None, 0)
    house.pipeline.force(version)
    promotion = read_promotion(version)
    assert promotion is not None
    assert len(promotion.overrides) == 1
    assert promotion.reason.startswith("foreign@1 was never tested on a data set")
    assert house.models.resolve("foreign").number == 1


def test_an_import_is_no_training(house: House, tmp_path: Path) -> None:
    house.bring_in(archive(tmp_path / "other.keras"))
    assert house.pipeline.trained_since("foreign", 0.0) is None


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((None, 9, 9, 1), "takes images of 9 x 9 x 1, those of data set digits@1 are 4 x 4 x 1"),
        ((None, 784), "takes 784 numbers, and images are height x width x channels"),
    ],
)
def test_a_model_for_other_images_is_not_published(
    house: House, tmp_path: Path, shape: tuple[int | None, ...], sentence: str
) -> None:
    with pytest.raises(ImportFailed, match=sentence):
        house.bring_in(archive(tmp_path / "other.keras", shape), "digits")
    assert house.models.numbers("foreign") == []


@pytest.mark.parametrize("shape", [None, (None, None, None, 1)])
def test_a_model_for_any_images_takes_the_size_of_the_data_set(
    house: House, tmp_path: Path, shape: tuple[int | None, ...] | None
) -> None:
    path = archive(tmp_path / "other.keras", shape)
    with pytest.raises(ImportFailed, match="images of any size, and a version takes one: name a"):
        house.bring_in(path)
    house.bring_in(path, "digits")
    assert house.models.resolve("foreign").manifest.input_shape == SHAPE


def test_other_classes_than_those_of_the_data_set_are_refused(house: House, tmp_path: Path) -> None:
    with pytest.raises(
        ImportFailed, match="published: it has 3 classes and data set digits@1 3, '2' being only"
    ):
        house.bring_in(archive(tmp_path / "other.keras"), "digits", labels=("zero", "one", "2"))


def test_what_the_worker_refuses_is_told_of_the_file_that_was_given(
    house: House, tmp_path: Path
) -> None:
    path = archive(tmp_path / "other.keras")
    house.error = ExaminationFailed("The model cannot be loaded: it is strange.")
    with pytest.raises(ImportFailed, match="is not published: The model cannot be loaded"):
        house.bring_in(path)
    assert list((house.root / "models" / "foreign").glob(".new-*")) == []
    house.error = ExaminationFailed("foreign@1 was not examined within 3 s (LIMIT)")
    with pytest.raises(ImportFailed) as told:
        house.bring_in(path)
    assert str(told.value) == f"{path} is not published: it was not examined within 3 s (LIMIT)."


@pytest.mark.parametrize(
    ("members", "error", "sentence"),
    [
        ({"evil.py": "import os"}, Corrupt, "holds 'evil.py'"),
        ({"config.json": "{"}, Corrupt, "its config.json cannot be read"),
        ({"config.json": "[" * 100_000}, Corrupt, "its config.json cannot be read"),
        ({"config.json": "[]"}, Corrupt, "its config.json is no JSON object"),
    ],
)
def test_a_strange_archive_is_refused_before_keras_sees_it(
    house: House,
    tmp_path: Path,
    members: dict[str, Any],
    error: type[Exception],
    sentence: str,
) -> None:
    path = archive(tmp_path / "other.keras", **members)
    house.error = ExaminationFailed("It must not be examined.")
    with pytest.raises(error, match=sentence):
        house.bring_in(path)


def test_an_import_is_read_as_keras_reads_pictures_and_says_so(
    house: House, tmp_path: Path
) -> None:
    summary = house.bring_in(archive(tmp_path / "other.keras"))
    assert house.models.version("foreign", 1).manifest.preprocessing == AS_KERAS
    assert (AS_KERAS.resize, AS_KERAS.interpolation) == ("stretch", "bilinear")
    assert [note for note in summary.notes if "bilinear, as Keras does" in note]


def test_an_import_is_read_as_it_is_told_and_nothing_is_said(house: House, tmp_path: Path) -> None:
    path = archive(tmp_path / "other.keras")
    summary = house.bring_in(path, preprocessing=Preprocessing(interpolation="nearest"))
    assert house.models.version("foreign", 1).manifest.preprocessing.interpolation == "nearest"
    assert not [note for note in summary.notes if "Keras does" in note]


def test_a_test_on_pictures_that_came_to_their_size_otherwise_is_told(
    house: House, tmp_path: Path
) -> None:
    path = archive(tmp_path / "other.keras")
    note = (
        "It was tested on pictures that pets@1 brought to its size by antialias; "
        "what it is given comes to it by bilinear, as those of `trainer data add "
        "--interpolation bilinear` do."
    )
    assert not [n for n in house.bring_in(path, "digits").notes if "tested" in n]
    house.dataset = add_dataset(house.root, ACTUAL, "pets", origin="folder:/pets")
    assert note in house.bring_in(path, "pets").notes
    same = Preprocessing(interpolation="antialias")
    assert note not in house.bring_in(path, "pets", preprocessing=same).notes


def test_the_speed_of_an_untested_model_is_in_its_manifest(house: House, tmp_path: Path) -> None:
    house.bring_in(archive(tmp_path / "other.keras"))
    assert house.models.version("foreign", 1).manifest.metrics == {"images_per_second": 1000}


def test_a_model_that_scales_nothing_is_told_of_unless_a_data_set_shows_it(
    house: House, tmp_path: Path
) -> None:
    path = archive(tmp_path / "other.keras")
    notes = house.bring_in(path).notes
    assert [note for note in notes if note.startswith("Nothing at its start scales pixels")]
    house.trial = lambda actual: 0 * actual
    assert not [note for note in house.bring_in(path, "digits").notes if "scales" in note]
    house.trial = lambda actual: actual
    assert [note for note in house.bring_in(path, "digits").notes if "scales" in note]


def test_labels_that_begin_with_their_numbers_are_told_of(house: House, tmp_path: Path) -> None:
    path = archive(tmp_path / "other.keras")
    notes = house.bring_in(path, labels=("0 zero", "1 one", "2 two")).notes
    assert "Its labels begin with their numbers: the first is '0 zero'." in notes
    assert not [n for n in house.bring_in(path, labels=("0", "1", "2")).notes if "labels" in n]


def test_an_accuracy_near_guessing_is_told_of(house: House, tmp_path: Path) -> None:
    path = archive(tmp_path / "other.keras")
    house.answer = lambda actual: 0 * actual
    summary = house.bring_in(path, "digits")
    assert "Its accuracy of 0.3333 is near that of guessing, 0.3333." in summary.notes
    assert not summary.promoted
    assert house.models.champion("foreign") is None


def test_names_in_nfc_and_nfd_are_the_same_classes(house: House, tmp_path: Path) -> None:
    composed, decomposed = "K\u00e4se", "Ka\u0308se"
    house.dataset = add_dataset(house.root, ACTUAL, "cheese", (decomposed, "one", "two"))
    path = archive(tmp_path / "other.keras")
    summary = house.bring_in(path, "cheese", labels=("two", composed, "one"))
    assert summary.accuracy == 1.0
    assert summary.promoted


def test_labels_in_another_order_that_would_fit_are_pointed_out(
    house: House, tmp_path: Path
) -> None:
    path = archive(tmp_path / "other.keras")
    house.outputs = LABELS
    with pytest.raises(ImportFailed) as told:
        house.bring_in(path, "digits", labels=("one", "two", "zero"))
    assert str(told.value) == (
        f"{path} is not published: as it is, it has 0.0000 of 90 test images right; "
        "with labels in the order of data set digits@1 it would be 1.0000. "
        "Write the labels in that order:\n  zero\n  one\n  two"
    )
    assert house.models.numbers("foreign") == []


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((None, 4, 4, 2), "takes images of 2 channels: images have 1"),
        ((None, 4, 4, 0), "takes images of 0 channels"),
        ((None, 4, 4, 5), "takes images of 5 channels"),
        ((None, 3, 32, 32), "takes 3 x 32 x 32, channels first"),
        ((None, 1, None, None), "takes 1 x any x any, channels first"),
        ((None, 0, 4, 1), "takes images of 0 x 4 pixels"),
        ((None, 5, 4, 4, 1), "takes 5 x 4 x 4 x 1 numbers.*no model for images"),
        ((None, 100), "takes 100 numbers.*If it was trained on images"),
        ((None, 7), "takes 7 numbers.*no model for images"),
        ((None,), "takes single numbers.*no model for images"),
        ((None, 28, 28), "takes 28 x 28 numbers.*If it was trained on images"),
        ((None, None, None, 3), r"any size.*224 x 224(.|\n)*keras.Input\(\(224, 224, 3\)\)"),
    ],
)
def test_what_is_no_image_is_refused_by_name(
    house: House, tmp_path: Path, shape: tuple[int | None, ...], sentence: str
) -> None:
    house.error = ExaminationFailed("It must not be examined.")
    with pytest.raises(ImportFailed, match=sentence):
        house.bring_in(archive(tmp_path / "other.keras", shape))
    assert house.models.numbers("foreign") == []


def test_a_model_of_open_size_keeps_the_channels_it_asks_for(house: House, tmp_path: Path) -> None:
    path = archive(tmp_path / "other.keras", (None, None, None, 3))
    with pytest.raises(ImportFailed, match="takes images of 4 x 4 x 3, those of data set"):
        house.bring_in(path, "digits")


def test_inputs_and_outputs_beside_image_and_classes_are_named(
    house: House, tmp_path: Path
) -> None:
    def functional(inputs: object, outputs: object) -> str:
        layers = [
            *(
                {"class_name": "InputLayer", "config": {"batch_shape": [None, *s], "name": name}}
                for name, s in (("image", SHAPE), ("age", (1,)))
            ),
            {"class_name": "Dense", "config": {"units": 1, "name": "worth"}},
            {"class_name": "Dense", "config": {"units": 3, "name": "kind"}},
        ]
        config = {"layers": layers, "input_layers": inputs, "output_layers": outputs}
        return json.dumps({"class_name": "Functional", "config": config})

    two = [["image", 0, 0], ["age", 0, 0]]
    config: dict[str, Any] = {"config.json": functional(two, ["kind", 0, 0])}
    path = archive(tmp_path / "other.keras", **config)
    with pytest.raises(ImportFailed, match=r"takes 2 inputs \(image, age\), and only an image"):
        house.bring_in(path)
    outputs = [["worth", 0, 0], ["kind", 0, 0]]
    config = {"config.json": functional(["image", 0, 0], outputs)}
    path = archive(tmp_path / "other.keras", **config)
    with pytest.raises(
        ImportFailed,
        match=r"has 2 outputs \(worth, kind\)(.|\n)*kind it seems(.|\n)*model\(pixels\)\[1\]",
    ):
        house.bring_in(path)


def run(house: House, *arguments: str) -> Result:
    given = Given(pipeline=house.pipeline, queue=as_any(None))
    return CliRunner().invoke(cli.main, arguments, obj=given)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, ...]:
    """What every import begins with on the command line."""
    path = archive(tmp_path / "other.keras")
    labels = tmp_path / "labels.txt"
    labels.write_text("\ufeff" + "\r\n".join(LABELS) + "\r\n", "utf-8")
    return "import", str(path), "--name", "foreign", "--labels", str(labels)


def test_the_command_tells_once_what_it_assumed(house: House, files: tuple[str, ...]) -> None:
    done = run(house, *files)
    assert done.exit_code == 0
    assert done.stdout == (
        "foreign@1: other.keras imported. Not promoted: "
        "not tested, `trainer promote foreign@1 --force` does it.\n"
    )
    assert done.stderr.count("--interpolation") == 1
    summary = json.loads(run(house, *files, "--json").stdout)
    assert summary["preprocessing"]["interpolation"] == "bilinear"
    assert "--interpolation" in summary["notes"][0]
    assert "pictures  to 4 x 4 x 1 by stretch, bilinear" in run(house, "show", "foreign@1").stdout


def test_the_command_takes_another_interpolation(house: House, files: tuple[str, ...]) -> None:
    done = run(house, *files, "--interpolation", "antialias", "--resize", "stretch")
    assert "--interpolation" not in done.stderr
    manifest = house.models.version("foreign", 1).manifest
    assert manifest.labels == LABELS
    assert manifest.preprocessing == Preprocessing(interpolation="antialias")


@pytest.mark.parametrize(
    ("colour", "background"),
    [("ffffff", (255, 255, 255)), ("#00A0ff", (0, 160, 255)), ("000000", (0, 0, 0))],
)
def test_the_command_takes_a_background(
    house: House, files: tuple[str, ...], colour: str, background: tuple[int, int, int]
) -> None:
    done = run(house, *files, "--background", colour)
    manifest = house.models.version("foreign", 1).manifest
    assert manifest.preprocessing == Preprocessing(interpolation="bilinear", background=background)
    assert "bilinear, as Keras does: --resize and --interpolation change that" in done.stderr
    hexadecimal = bytes(background).hex()
    shown = run(house, "show", "foreign@1").stdout
    assert f"by stretch, bilinear, over #{hexadecimal}" in shown


def test_without_a_background_it_is_told_what_becomes_of_transparency(
    house: House, files: tuple[str, ...]
) -> None:
    for given in ([], ["--background", "none"]):
        done = run(house, *files, *given)
        told = "transparency is dropped: --resize, --interpolation and --background change that"
        assert told in done.stderr
    assert house.models.version("foreign", 2).manifest.preprocessing == AS_KERAS


@pytest.mark.parametrize("colour", ["white", "fff", "12345g", "", "#ffffff00", "+12345"])
def test_what_is_no_colour_is_refused(house: House, files: tuple[str, ...], colour: str) -> None:
    done = run(house, *files, "--background", colour)
    assert done.exit_code == 2
    assert f"--background {colour!r} is no colour: write ffffff for white" in done.stderr
    assert house.models.numbers("foreign") == []


def test_an_unknown_interpolation_is_refused_with_those_that_are_known(
    house: House, files: tuple[str, ...]
) -> None:
    done = run(house, *files, "--interpolation", "bilinaer")
    assert done.exit_code == 2
    assert "--interpolation 'bilinaer' is none of antialias, " in done.stderr
    assert house.models.numbers("foreign") == []
