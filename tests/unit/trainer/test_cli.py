"""The `trainer` command on a small storage, without TensorFlow and Redis."""

import getpass
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from rich.console import Console

from evaluation.agreement import Agreement
from evaluation.confusion import Evaluation
from imaging.preprocessing import Preprocessing
from messaging.errors import BrokerUnavailable
from messaging.messages import TrainModel
from storage.datasets.store import DatasetStore
from storage.models.examination_messages import Timing
from storage.models.metrics import Metrics
from storage.models.promotions import read_promotion
from storage.models.runtime_choice import RuntimeChoice
from storage.models.store import IMPORTED, ModelStore, ModelVersion
from tests.builders import (
    LABELS,
    add_dataset,
    encode,
    one_hot,
    publish,
    publish_both,
    runtime_choice,
)
from tests.processes import REPOSITORY, modules_after
from tests.terminal import lines_on_terminal
from trainer import cli
from trainer.commands.given import Given
from trainer.datasets.downloads import Downloads
from trainer.pipeline import Outcome, Pipeline, misfit_of_parent
from trainer.promotion.examination_process import Examination
from trainer.promotion.gate import Gate, Verdict
from trainer.settings import TrainerSettings
from trainer.training.networks import get_recipe
from trainer.training.progress import EpochReport
from trainer.training.train import OnEpoch, OnStep, TrainingRequest

REPORT = EpochReport(
    epoch=1, epochs=2, accuracy=0.5, val_accuracy=0.6, loss=1.5, val_loss=1.25, seconds=3.0
)
SUMMARY: dict[str, Any] = {
    "model": "digits@4",
    "dataset": "digits",
    "network": "mlp",
    "accuracy": 0.975,
    "promoted": True,
    "reason": "the first champion",
    "seconds": 12.0,
}
UNKNOWN_OF_IMPORTED = ("dataset", "dataset_sha256", "seed", "epochs", "batch_size")


class FakePipeline(Pipeline):
    """Publishes without training; remembers what was asked for."""

    def __init__(self, root: Path, gate: Gate) -> None:
        super().__init__(DatasetStore(root), ModelStore(root), Downloads(root / "d", 0.1), gate)
        self.requests: list[TrainingRequest] = []
        self.error: BaseException | None = None

    def run(
        self,
        request: TrainingRequest,
        on_epoch: OnEpoch = lambda report: None,
        *,
        on_step: OnStep = lambda step: None,
        fencing_token: int | None = None,
    ) -> Outcome:
        self.requests.append(request)
        on_epoch(REPORT)
        if self.error:
            raise self.error
        version = publish(
            self.models, request.name, metrics={"accuracy": 0.9, "seconds": 3.0, "loss": 0.1}
        )
        self.models.promote(version, fencing_token=fencing_token)
        return Outcome(version=version, verdict=Verdict(promoted=True, reason="it is new"))


@dataclass
class FakeTrainQueue:
    """Gives the notifications it was made with to whoever listens."""

    notifications: list[dict[str, Any]] = field(default_factory=list)
    sent: list[TrainModel] = field(default_factory=list)
    error: BaseException | None = None

    def send(self, message: TrainModel) -> None:
        if isinstance(self.error, BrokerUnavailable):
            raise self.error
        self.sent.append(message)

    def listen(self, run: str) -> Iterator[list[dict[str, Any]]]:
        if self.error:
            raise self.error
        yield self.notifications

    def is_waiting(self, run: str) -> bool:
        return True

    def is_running(self, run: str) -> bool:
        return True

    def has_trainer(self) -> bool:
        return True


def measure(versions: Sequence[ModelVersion], images: Path) -> list[Timing]:
    """All versions are equally fast."""
    return [Timing(latency_ms=2, cpu_ms=2)] * len(versions)


class House:
    """A storage root and the fakes."""

    def __init__(self, root: Path) -> None:
        gate = Gate(TrainerSettings().thresholds, self.examine, measure)
        self.pipeline = FakePipeline(root, gate)
        self.models = self.pipeline.models
        self.queue = FakeTrainQueue()
        self.wrong: set[int] = set()
        """Numbers of the versions that have no image of the data set right."""

    def run(self, *arguments: str) -> Result:
        given = Given(pipeline=self.pipeline, queue=self.queue)
        return CliRunner().invoke(cli.main, arguments, obj=given)

    def examine(self, version: ModelVersion, images: Path) -> Examination:
        """What a worker would find out about a version."""
        labels = np.load(images)[:, 0, 0, 0].astype(np.int32)
        classes = len(version.manifest.labels)
        predictions = (labels + (version.number in self.wrong)) % classes
        return Examination(
            probabilities=one_hot(predictions, classes, 0.95),
            metrics=Metrics(
                load_seconds=1,
                images_per_second=1000,
                latency_ms=2,
                cpu_ms=2,
                peak_memory_mb=500,
            ),
        )

    def publish(self, **metrics: float) -> ModelVersion:
        """A version of a model of the data set `digits`, which is there then."""
        add_dataset(self.models.folder.parent, [i % len(LABELS) for i in range(100)])
        return publish(self.models, metrics={"accuracy": 0.9, "loss": 0.1, **metrics})


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "storage")


def assert_sentence(result: Result, sentence: str, code: int = 1) -> None:
    """The command failed with one sentence on stderr, and nothing else."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert sentence in lines[0]


def program(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The real command in a fresh process."""
    return subprocess.run(
        [sys.executable, "-m", "trainer.cli", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


# Training here


def test_training_prints_a_line_per_epoch_and_the_verdict(house: House) -> None:
    done = house.run("train", "--dataset", "digits", "--network", "mlp")
    assert done.exit_code == 0
    assert done.stderr.startswith("epoch 1/2  accuracy 0.5000, val 0.6000")
    assert done.stdout == (
        "digits@1: mlp on digits@1, test accuracy 0.9000, trained in 3 s. Champion: it is new.\n"
    )


def test_json_is_one_object_and_progress_goes_elsewhere(house: House) -> None:
    done = house.run("train", "--dataset", "digits", "--json")
    assert json.loads(done.stdout) == {
        "model": "digits@1",
        "dataset": "digits@1",
        "network": "mlp",
        "accuracy": 0.9,
        "promoted": True,
        "reason": "it is new",
        "seconds": 3.0,
    }
    assert "epoch 1/2" in done.stderr


def test_every_preset_brings_its_own_epochs_and_batch_size(house: House) -> None:
    house.run("train", "--dataset", "mnist")
    house.run("train", "--dataset", "mnist", "--preset", "fast")
    house.run("train", "--dataset", "mnist", "--network", "cnn", "--preset", "best")
    house.run("train", "--dataset", "mnist", "--network", "cnn", "--no-augment")
    house.run(
        *("train", "--dataset", "mnist", "--epochs", "2", "--batch-size", "7", "--seed", "9"),
        *("--name", "other"),
    )
    fast, best, cnn = (
        get_recipe(*which) for which in (("mlp", "fast"), ("cnn", "best"), ("cnn", "default"))
    )
    assert [
        (r.network, r.epochs, r.batch_size, r.augment, r.seed, r.name)
        for r in house.pipeline.requests
    ] == [
        ("mlp", 5, 32, False, 1, "mnist"),
        ("mlp", fast.epochs, fast.batch_size, False, 1, "mnist"),
        ("cnn", best.epochs, best.batch_size, True, 1, "mnist"),
        ("cnn", cnn.epochs, cnn.batch_size, False, 1, "mnist"),
        ("mlp", 2, 7, False, 9, "other"),
    ]


def test_why_few_images_are_seen_so_often_is_told(house: House) -> None:
    add_dataset(house.models.folder.parent, [0, 1] * 47)
    command = ("train", "--dataset", "digits", "--network", "cnn")
    done = house.run(*command)
    (request,) = house.pipeline.requests
    told = f"Up to {request.epochs} epochs instead of 20, until the validation loss no longer falls"
    assert done.stderr.startswith(f"{told}: 94 images in batches of 16 are few")
    assert request.epochs * 6 >= 2_000
    assert "instead of" not in house.run(*command, "--epochs", "30").stderr
    assert "instead of" not in house.run("train", "--dataset", "digits").stderr


@pytest.mark.parametrize("changes", [{}, {"head_only": True}, {"resumed": True}])
def test_an_epoch_is_one_line_of_a_terminal(changes: dict[str, bool]) -> None:
    long = EpochReport(
        epoch=1, epochs=84, accuracy=0.5, val_accuracy=1, loss=1.5, val_loss=1.25, seconds=12.5
    )
    assert len(str(long.model_copy(update=changes))) <= 80


@pytest.mark.parametrize("command", ["add", "append"])
def test_the_help_on_data_fits_a_terminal(
    house: House, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = house.run("data", command, "--help").stdout.splitlines()
    assert max(map(len, lines)) <= 80


def test_a_version_of_a_data_set_is_trained_on_under_the_name_of_the_data_set(
    house: House,
) -> None:
    house.run("train", "--dataset", "digits@2")
    (request,) = house.pipeline.requests
    assert (request.dataset, request.name) == ("digits@2", "digits")
    assert TrainingRequest.from_message(request.to_message("run-1")) == request
    refused = house.run("train", "--dataset", "digits@new")
    assert_sentence(refused, "'digits@new' names no version of a data set: write digits@2, say.")


def test_an_unknown_network_is_refused_with_the_known_ones(house: House) -> None:
    assert_sentence(
        house.run("train", "--dataset", "digits", "--network", "vgg"),
        "There is no network 'vgg': choose one of mlp, cnn, resnet, mobilenet, efficientnet.",
    )


def test_an_unknown_preset_is_refused_with_those_of_the_network(house: House) -> None:
    assert_sentence(
        house.run("train", "--dataset", "digits", "--preset", "quick"),
        "Network mlp has no preset 'quick': choose one of default, fast, best.",
    )


@pytest.mark.parametrize("option", ["--dataset=../x", "--name=a/b"])
def test_names_that_leave_the_storage_are_refused(house: House, option: str) -> None:
    assert_sentence(house.run("train", "--dataset", "digits", option), "is no valid")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PermissionError(13, "Permission denied", "/storage"), "Permission denied: /storage."),
        (OSError(28, "No space left on device"), "No space left on device."),
    ],
)
def test_what_the_system_refuses_is_one_sentence(
    house: House, error: OSError, sentence: str
) -> None:
    house.pipeline.error = error
    done = house.run("train", "--dataset", "digits")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == f"error: {sentence}"


def test_ctrl_c_ends_with_130_and_a_word(house: House) -> None:
    house.pipeline.error = KeyboardInterrupt()
    done = house.run("train", "--dataset", "digits")
    assert done.exit_code == 130
    assert done.stderr.splitlines()[-1] == "Interrupted."
    assert "Traceback" not in done.stderr


# Training there


def test_a_queued_training_is_followed_to_its_verdict(house: House) -> None:
    house.queue.notifications = [
        {"event": "started", "host": "there"},
        {"event": "epoch", **{name: str(value) for name, value in REPORT}},
        {"event": "done", **{k: str(v) for k, v in SUMMARY.items()}, "promoted": "1"},
    ]
    done = house.run("train", "--dataset", "digits", "--queue", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == SUMMARY
    assert "there trains it." in done.stderr
    assert "epoch 1/2  accuracy 0.5000" in done.stderr
    (message,) = house.queue.sent
    assert (message.dataset, message.network, message.epochs) == ("digits", "mlp", 5)
    assert house.pipeline.requests == []


def test_the_reason_of_a_failed_queued_training_is_passed_on(house: House) -> None:
    house.queue.notifications = [{"event": "failed", "reason": "There is no data set 'digits'."}]
    done = house.run("train", "--dataset", "digits", "--queue")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == "error: There is no data set 'digits'."


def test_without_redis_a_queued_training_is_refused(house: House) -> None:
    house.queue.error = BrokerUnavailable("No Redis answers at redis://nowhere.")
    assert_sentence(
        house.run("train", "--dataset", "digits", "--queue"), "No Redis answers at redis://nowhere."
    )


def test_ctrl_c_leaves_a_queued_training_running(house: House) -> None:
    house.queue.error = KeyboardInterrupt()
    done = house.run("train", "--dataset", "digits", "--queue")
    assert done.exit_code == 130
    assert "goes on: `trainer models` lists it" in done.stderr


# Models


def test_models_are_listed_as_json(house: House) -> None:
    house.models.promote(house.publish())
    second = house.publish(accuracy=0.95)
    publish(house.models, "other")
    listed = json.loads(house.run("models", "--json").stdout)
    assert [(line["name"], line["version"], line["champion"]) for line in listed] == [
        ("digits", 1, True),
        ("digits", 2, False),
        ("other", 1, False),
    ]
    assert listed[1] == {
        "name": "digits",
        "version": 2,
        "champion": False,
        "accuracy": 0.95,
        "network": "mlp",
        "dataset": "digits",
        "dataset_number": 1,
        "bytes": len(b"a model"),
        "created_at": second.manifest.created_at.isoformat().replace("+00:00", "Z"),
    }
    assert len(json.loads(house.run("models", "other", "--json").stdout)) == 1


def test_models_are_listed_for_people(house: House) -> None:
    house.models.promote(house.publish())
    rows = [line.split() for line in house.run("models").stdout.splitlines() if "@" in line]
    assert rows[0][:6] == ["digits@1", "★", "mlp", "digits@1", "0.9000", "7"]


def test_no_models_are_an_empty_list_and_a_hint(house: House) -> None:
    assert json.loads(house.run("models", "--json").stdout) == []
    assert "There are no models yet: `trainer train" in house.run("models").stderr


def test_a_model_that_is_not_there_is_an_error(house: House) -> None:
    house.publish()
    assert_sentence(house.run("models", "nothing"), "There is no model 'nothing' (digits)")


def test_one_damaged_version_does_not_hide_the_others(house: House) -> None:
    damaged = house.publish()
    house.publish()
    (damaged.folder / "manifest.json").write_text("{")
    done = house.run("models", "--json")
    assert [line["version"] for line in json.loads(done.stdout)] == [2]
    assert "digits@1 is damaged" in done.stderr


def test_show_tells_the_figures_of_every_class(house: House) -> None:
    house.models.promote(house.publish(seconds=12.5, parameters=101_770))
    shown = house.run("show", "digits").stdout
    assert shown.startswith("digits@1, champion\n")
    for fact in ("0.9000 on 15 test images", "101,770 parameters", "keras 3", "seed 1"):
        assert fact in shown
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.strip()}
    assert rows["one"] == ["1.0000", "0.8000", "0.8889", "5"]


def test_show_tells_how_pictures_are_decoded_and_the_names_of_the_classes(house: House) -> None:
    classes = tuple(f"class {i}" for i in range(12))
    evaluation = Evaluation(labels=classes, confusion=((0,) * 12,) * 12)
    whole = Preprocessing(scaled_decoding=False)
    publish(house.models, labels=classes, evaluation=evaluation, preprocessing=whole)
    shown = house.run("show", "digits@1").stdout
    assert "by stretch, antialias, full decoding\n" in shown
    assert f"  classes   {', '.join(classes[:10])} and 2 more\n" in shown
    publish(house.models)
    shown = house.run("show", "digits@2").stdout
    assert "by stretch, antialias, scaled decoding\n" in shown
    assert "  classes   zero, one, two\n" in shown


def test_images_of_another_size_are_to_be_added_again_as_the_parent_has_seen_pictures(
    house: House,
) -> None:
    dataset = add_dataset(house.models.folder.parent, [0, 1])
    how = Preprocessing(resize="crop", shorter_side=12, scaled_decoding=False)
    parent = publish(house.models, input_shape=(9, 9, 1), preprocessing=how)
    command = (
        "`trainer data add digits folder:DIR --replace --size 9x9 --resize crop --interpolation "
        "antialias --shorter-side 12 --full-decoding`"
    )
    assert command in (misfit_of_parent(parent, dataset) or "")


def test_show_tells_which_runtime_was_chosen_why_and_what_each_costs(house: House) -> None:
    metrics = runtime_choice(2_000).metrics["tensorflow"]
    faster = metrics.model_copy(update={"images_per_second": 3_000, "peak_memory_mb": 120})
    choice = RuntimeChoice(
        runtime="onnx",
        reason="1.5 times as fast as TensorFlow",
        metrics={"onnx": faster, "tensorflow": metrics},
        agreement=Agreement(images=10_000, difference=2.4e-7, ties=0, differing=0),
    )
    publish_both(house.models, runtime=choice)
    shown = house.run("show", "digits@1").stdout
    assert (
        "  runtime   ONNX Runtime: 1.5 times as fast as TensorFlow; probabilities at most 2e-07 "
        "apart on 10,000 images\n"
    ) in shown
    rows = {tuple(line.split()) for line in shown.splitlines()}
    assert {
        ("runtime", "ONNX", "Runtime", "TensorFlow"),
        ("images/s", "3,000", "2,000"),
        ("memory", "120", "MB", "500", "MB"),
    } <= rows
    shown = json.loads(house.run("show", "digits@1", "--json").stdout)
    assert shown["runtime"] == choice.model_dump(mode="json")


def test_show_gives_the_manifest_as_json(house: House) -> None:
    version = house.publish()
    shown = json.loads(house.run("show", "digits@1", "--json").stdout)
    assert shown["version"] == 1
    assert shown["champion"] is False
    assert shown["sha256"] == version.manifest.sha256
    assert shown["per_class"][1]["recall"] == 0.8
    assert shown["folder"] == str(version.folder)


def test_promote_and_rollback_change_the_champion(house: House) -> None:
    house.models.promote(house.publish())
    house.publish()
    done = house.run("promote", "digits@2")
    assert (done.exit_code, done.stderr) == (
        0,
        "digits@2 is the champion now, after digits@1: "
        "0 right that digits@1 had wrong, 0 the other way, p 1.\n",
    )
    assert house.models.resolve("digits").number == 2
    assert house.run("promote", "digits@2").stderr == "digits@2 is champion already.\n"
    assert house.run("rollback", "digits").stderr == "digits@1 is the champion again.\n"
    assert house.models.resolve("digits").number == 1
    assert_sentence(house.run("rollback", "digits"), "digits@1 is the first champion")


def test_what_the_gate_refuses_is_promoted_only_by_force_and_that_is_kept(house: House) -> None:
    house.models.promote(house.publish())
    second = house.publish()
    house.wrong = {2}
    reason = (
        "0 of 100 right, 34 by guessing, p 1; "
        "also refused for accuracy, recall, classes, calibration"
    )
    assert_sentence(
        house.run("promote", "digits@2"), f"digits@2 is not promoted: {reason}. --force"
    )
    assert house.models.resolve("digits").number == 1
    refused = read_promotion(second)
    assert refused is not None
    assert refused.overrides == ()
    done = house.run("promote", "digits@2", "--force")
    assert done.exit_code == 0
    assert done.stderr == (
        f"digits@2 is the champion now, after digits@1, by force. The gate refused it: {reason}.\n"
    )
    assert house.models.resolve("digits").number == 2
    forced = read_promotion(second)
    assert forced is not None
    (override,) = forced.overrides
    assert override.by == f"{getpass.getuser()}@{socket.gethostname()}"
    assert (override.passed, override.reason) == (False, refused.reason)
    assert forced.model_copy(update={"overrides": ()}) == refused

    house.run("rollback", "digits")
    house.wrong = set()
    assert house.run("promote", "digits@2").exit_code == 0
    passed = read_promotion(second)
    assert passed is not None
    assert (passed.passed, passed.overrides) == (True, (override,)), "it is not forgotten"


def test_what_cannot_be_judged_is_promoted_only_by_force(house: House) -> None:
    version = publish(house.models, dataset="gone")
    assert_sentence(house.run("promote", "digits@1"), "There is no data set 'gone'")
    assert house.models.champion("digits") is None
    done = house.run("promote", "digits@1", "--force")
    assert done.exit_code == 0
    assert done.stderr.startswith(
        "digits@1 is the champion now, by force. The gate cannot judge it: there is no data set"
    )
    promotion = read_promotion(version)
    assert promotion is not None
    assert len(promotion.overrides) == 1
    assert promotion.reason.startswith("there is no data set 'gone'")


def test_a_terminal_is_told_what_lasts(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    root = house.models.folder.parent
    add_dataset(root, [0, 1])
    publish(house.models, input_shape=(9, 9, 1))
    monkeypatch.setenv("BATCHSIGHT_STORAGE", str(root))
    told = lines_on_terminal(
        "from trainer.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass",
        "promote",
        "digits@1",
        columns=200,
        descriptor=2,
    )
    assert told[0] == "Judging digits@1 on the test images of digits@1 ..."
    assert told[1].startswith("error: digits@1 is not promoted: digits@1 takes images of 9 x 9 x 1")
    assert "Judging" not in house.run("promote", "digits@1").stderr


def test_what_was_never_tested_is_promoted_by_force_without_advice_to_do_so(house: House) -> None:
    fields: dict[str, Any] = dict.fromkeys(UNKNOWN_OF_IMPORTED)
    publish(house.models, network=IMPORTED, metrics={}, **fields)
    assert_sentence(house.run("promote", "digits@1"), "by `trainer promote digits@1 --force`")
    assert house.run("promote", "digits@1", "--force").stderr == (
        "digits@1 is the champion now, by force. The gate cannot judge it: it was never tested on "
        "a data set.\n"
    )


def test_what_the_gate_would_pass_and_is_forced_all_the_same_is_told_so(house: House) -> None:
    house.publish()
    assert house.run("promote", "digits@1", "--force").stderr == (
        "digits@1 is the champion now, by force. The gate passed it: the first champion.\n"
    )


def test_a_damaged_version_is_not_promoted(house: House) -> None:
    version = house.publish()
    version.model_path.write_bytes(b"another model")
    for force in ((), ("--force",)):
        assert_sentence(house.run("promote", "digits@1", *force), "digits@1 is damaged")
    assert house.models.champion("digits") is None


def test_promote_mends_an_unreadable_champion_file(house: House) -> None:
    house.models.promote(house.publish())
    (house.models.folder / "digits" / "champion.json").write_text("{")
    assert_sentence(
        house.run("show", "digits"), "choose a champion with `trainer promote digits@N`"
    )
    assert house.run("promote", "digits@1").exit_code == 0
    assert house.models.resolve("digits").number == 1


def test_show_tells_what_the_gate_said_and_who_overrode_it(house: House) -> None:
    house.models.promote(house.publish())
    house.publish()
    house.wrong = {2}
    assert json.loads(house.run("show", "digits@2", "--json").stdout)["promotion"] is None
    house.run("promote", "digits@2")
    assert "gate      refused: 0 of 100 right" in house.run("show", "digits@2").stdout
    shown = json.loads(house.run("show", "digits@2", "--json").stdout)
    assert shown["promotion"]["passed"] is False
    house.run("promote", "digits@2", "--force")
    assert f"forced    by {getpass.getuser()}@" in house.run("show", "digits@2").stdout


def test_two_versions_are_compared_in_tables_and_a_picture(house: House) -> None:
    first, second = house.publish(), house.publish()
    house.models.promote(first)
    house.wrong = {2}
    done = house.run("compare", "digits", "digits@2")
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()]
    assert ["accuracy", "1.0000", "0.0000"] in rows
    assert ["one", "1.0000", "0.0000", "33"] in rows
    assert "✗ accuracy     0 right that digits@1 had wrong, 100 the other way" in done.stdout
    assert "✓ latency      one image takes 2.00 ms" in done.stdout
    assert done.stdout.splitlines()[-1] == "Beside digits@1, digits@2 would be refused."
    with Image.open(second.folder / "comparison.png") as picture:
        assert picture.width > 500
    assert read_promotion(second) is None, "nothing was decided"
    assert house.models.resolve("digits").number == 1


def test_a_comparison_as_json_has_the_verdict_and_its_figures(house: House, tmp_path: Path) -> None:
    house.publish()
    house.publish()
    picture = tmp_path / "both.png"
    done = house.run("compare", "digits@1", "digits@2", "--json", "--picture", str(picture))
    compared = json.loads(done.stdout)
    assert (compared["champion"]["number"], compared["candidate"]["number"]) == (1, 2)
    assert compared["passed"] is True
    assert compared["comparison"] == {"gained": 0, "lost": 0, "p": 1.0}
    assert compared["candidate_performance"]["right"] == 100
    assert compared["picture"] == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_versions_that_cannot_be_compared_are_named(house: House) -> None:
    house.publish()
    publish(house.models, "other", labels=("cat", "dog"), dataset="pets")
    assert_sentence(house.run("compare", "digits@1", "other@1"), "There is no data set 'pets'")
    assert_sentence(
        house.run("compare", "digits@1", "other@1", "--dataset", "digits"),
        "other@1 has 2 classes and data set digits@1 3, 'cat' being only in one of them.",
    )


LONG = "a-long-name-of-a-model-for-the-office"


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns, without colours."""
    console = partial(Console, width=80, force_terminal=True, color_system=None, highlight=False)
    for room in ("trainer.terminal", "console.tables"):
        monkeypatch.setattr(f"{room}.stdout", console)


@pytest.mark.usefixtures("narrow")
def test_in_80_columns_nothing_is_cut_of_long_names(house: House) -> None:
    kinds = [f"[kind] {i:02d} of things upon a shelf" for i in range(14)]
    add_dataset(house.models.folder.parent, list(range(14)) * 20, "shelf", kinds)
    evaluation = Evaluation(labels=tuple(kinds), confusion=((20, *[0] * 13), *[(0,) * 14] * 13))
    for _ in range(2):
        publish(
            house.models, LONG, dataset="shelf", labels=tuple(kinds), evaluation=evaluation,
            network=IMPORTED,
        )  # fmt: skip
    house.models.promote(house.models.version(LONG, 1))
    house.run("promote", f"{LONG}@2")
    for command in (("models",), ("show", f"{LONG}@2"), ("compare", f"{LONG}@1", f"{LONG}@2")):
        done = house.run(*command)
        assert done.exit_code == 0, done.output
        lines = done.stdout.splitlines()
        assert max(map(len, lines)) <= 80 or command[0] == "show"
        assert "…" not in done.stdout
        assert f"{LONG}@2" in done.stdout, "in one piece"
        whole = re.sub(r"\s", "", done.stdout)
        if command[0] == "models":
            assert "made(UTC)" in whole
            assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d", done.stdout), "in one line"
        else:
            assert all(kind[:14] in done.stdout for kind in kinds), "brackets are no markup"
            verdict = next(i for i, line in enumerate(lines) if "right that" in line)
            assert lines[verdict].startswith(("  gate      passed: 0", "  ✓ accuracy     0"))
            assert lines[verdict + 1].startswith(" " * 12), "the next line stands below it"
    with Image.open(house.models.version(LONG, 2).folder / "comparison.png") as picture:
        assert picture.width < 1500


@pytest.mark.usefixtures("narrow")
def test_in_80_columns_a_version_of_a_short_name_is_one_line(house: House) -> None:
    house.models.promote(
        publish(house.models, "pictures", dataset="pictures", network=IMPORTED, labels=LABELS)
    )
    head, version = (
        line.split() for line in house.run("models").stdout.splitlines() if re.search(r"\w", line)
    )
    assert " ".join(head) == "model champion network data set accuracy size made (UTC)"
    assert version[:5] == ["pictures@1", "★", "imported", "pictures@1", "0.9333"]


def test_moments_are_in_utc_and_say_so(house: House) -> None:
    there = timezone(timedelta(hours=8))
    house.publish()
    publish(house.models, created_at=datetime(2026, 3, 1, 1, 30, tzinfo=there), network=IMPORTED)
    assert "2026-02-28 17:30" in house.run("models").stdout
    assert "made (UTC)" in house.run("models").stdout
    assert "imported 2026-02-28 17:30:00 UTC" in house.run("show", "digits@2").stdout
    house.run("promote", "digits@2", "--force")
    assert re.search(r"forced    by \S+, .*:\d\d UTC\n", house.run("show", "digits@2").stdout)


def test_what_passed_with_a_remark_is_told_wherever_the_verdict_is(house: House) -> None:
    add_dataset(house.models.folder.parent, [0, 1] * 50)
    house.models.promote(publish(house.models))
    publish(house.models)
    remark = "no test images of class two"
    assert f"! recall       {remark}" in house.run("compare", "digits@1", "digits@2").stdout
    assert f"the other way, p 1; {remark}." in house.run("promote", "digits@2").stderr
    assert f"p 1; {remark}\n" in house.run("show", "digits@2").stdout


def test_an_imported_model_is_listed_and_shown_without_what_is_not_known(
    house: House, tmp_path: Path
) -> None:
    nothing = Evaluation(labels=LABELS, confusion=((0,) * 3,) * 3)
    fields: dict[str, Any] = {
        **dict.fromkeys(UNKNOWN_OF_IMPORTED),
        "network": IMPORTED,
        "metrics": {},
    }
    publish(house.models, "foreign", evaluation=nothing, **fields)
    (line,) = json.loads(house.run("models", "--json").stdout)
    assert (line["accuracy"], line["dataset"], line["network"]) == (None, None, IMPORTED)
    assert "foreign@1" in house.run("models").stdout
    shown = house.run("show", "foreign@1").stdout
    assert "accuracy  unknown" in shown
    assert "network   imported 20" in shown
    assert "None" not in shown
    assert_sentence(house.run("promote", "foreign@1"), "import it again with --dataset")


def test_a_file_that_cannot_be_imported_is_one_sentence(house: House, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\n")
    arguments = ("import", str(tmp_path / "no.keras"), "--name", "foreign")
    assert_sentence(house.run(*arguments, "--labels", str(labels)), "There is no file")
    assert_sentence(house.run(*arguments, "--labels", "nowhere"), "There is no file nowhere")


def test_promote_wants_a_number(house: House) -> None:
    done = house.run("promote", "digits")
    assert done.exit_code == 2
    assert "digits@3, for example" in done.stderr


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("model.pb", "must end in .h5, .keras or .onnx"),
        ("model.H5", "must end in .h5, .keras or .onnx"),
        ("model.onnx", "digits@1 cannot be used with ONNX Runtime, only with TensorFlow."),
        ("no/folder/model.h5", "There is no folder"),
    ],
)
def test_an_export_that_cannot_be_written_is_refused(
    house: House, tmp_path: Path, file: str, sentence: str
) -> None:
    house.models.promote(house.publish())
    assert_sentence(house.run("export", "digits", str(tmp_path / file)), sentence)


def test_a_version_is_exported_as_either_of_its_artefacts(house: House, tmp_path: Path) -> None:
    publish_both(house.models, runtime=runtime_choice(100, "onnx"))
    for name, content in (("mine.onnx", b"a graph"), ("mine.keras", b"a model")):
        assert house.run("export", "digits@1", str(tmp_path / name)).exit_code == 0
        assert (tmp_path / name).read_bytes() == content


def test_a_damaged_version_is_not_exported(house: House, tmp_path: Path) -> None:
    house.publish().model_path.write_bytes(b"another model")
    target = tmp_path / "model.keras"
    assert_sentence(house.run("export", "digits@1", str(target)), "digits@1 is damaged")
    assert not target.exists()


def test_bootstrap_trains_only_when_there_is_no_champion(house: House) -> None:
    assert house.run("bootstrap").exit_code == 0
    again = house.run("bootstrap")
    assert again.stderr == "mnist@1 is champion already.\n"
    (request,) = house.pipeline.requests
    assert (request.dataset, request.network, request.name) == ("mnist", "mlp", "mnist")


# Data sets


def test_data_sets_are_added_and_listed(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for i in range(5):
            (folder / name / f"{i}.png").write_bytes(encode(np.full((8, 8), i, np.uint8)))
    done = house.run("data", "add", "pets", f"folder:{folder}", "--size", "4x6", "--seed", "3")
    assert done.exit_code == 0
    assert "Data set pets@1: 8 train, 2 test images of 4 x 6 x 1, 2 classes, from" in done.stderr
    (line,) = json.loads(house.run("data", "list", "--json").stdout)
    assert line["name"] == "pets"
    assert line["shape"] == [4, 6, 1]
    assert line["splits"] == {"train": 8, "test": 2}
    assert line["classes"] == ["cat", "dog"]
    assert "seed 3" in line["origin"]
    assert "8 train, 2 test" in house.run("data", "list").stdout


def test_images_are_appended_and_the_versions_listed(house: House, tmp_path: Path) -> None:
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    images = np.arange(5, dtype=np.uint8).repeat(9).reshape(5, 3, 3)
    labels = np.array([0, 1, 0, 1, 0])
    np.savez(first, x_train=images[:2], y_train=labels[:2], x_test=images[2:3], y_test=labels[2:3])
    np.savez(second, x_train=images, y_train=labels)
    house.run("data", "add", "small", f"npz:{first}")
    done = house.run("data", "append", "small", f"npz:{second}")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == (
        "Data set small@2: 2 images added, 2 dropped as duplicates, 1 because it is a test image.\n"
    )
    rows = [line.split() for line in house.run("data", "list").stdout.splitlines() if "@" in line]
    assert [row[0] for row in rows] == ["small@1", "small@2"]
    assert [row[1:5] for row in rows] == [[n, "train,", "1", "test"] for n in ("2", "4")]
    lines = json.loads(house.run("data", "list", "--json").stdout)
    assert [(line["version"], line["splits"]["train"]) for line in lines] == [(1, 2), (2, 4)]
    assert lines[1]["appended"] == [{"source": f"npz:{second}", "added": 2, "corrected": 0}]
    assert_sentence(house.run("data", "append", "small", "job:none"), "There is no job 'none'")
    np.savez(tmp_path / "third.npz", x_train=images[:1], y_train=np.array([1]))
    np.savez(tmp_path / "fourth.npz", x_train=images[:2] + 7, y_train=labels[:2])
    for name in ("third.npz", "fourth.npz"):
        house.run("data", "append", "small", f"npz:{tmp_path / name}")
    told = "".join(house.run("data", "list").stdout.split())
    assert f"2fromnpz:{second},1correctedfromnpz:{tmp_path / 'third.npz'}" in told


def test_images_that_are_in_both_splits_are_told_when_added(house: House, tmp_path: Path) -> None:
    images, labels = np.zeros((2, 3, 3), np.uint8), np.array([0, 1])
    np.savez(tmp_path / "a.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    done = house.run("data", "add", "small", f"npz:{tmp_path / 'a.npz'}")
    assert "Nothing trains on 2 of the training images: they are in test, too." in done.stderr


def test_a_damaged_data_set_does_not_hide_the_others(house: House) -> None:
    folder = house.pipeline.datasets.folder / "broken" / "1"
    folder.mkdir(parents=True)
    (folder / "dataset.json").write_text("[]")
    done = house.run("data", "list", "--json")
    assert json.loads(done.stdout) == []
    assert "broken@1 is damaged" in done.stderr


@pytest.mark.parametrize("size", ["0", "x", "3x", "1x2x3", "-1", "1.5", "\u0663"])
def test_a_size_that_is_none_is_wrong_usage(house: House, size: str) -> None:
    done = house.run("data", "add", "pets", "folder:pets", f"--size={size}")
    assert done.exit_code == 2
    assert "write 96, or 96x128" in done.stderr


@pytest.mark.parametrize("share", ["nan", "0", "1"])
def test_a_test_share_that_is_none_is_wrong_usage(house: House, share: str) -> None:
    assert house.run("data", "add", "pets", "folder:pets", f"--test-share={share}").exit_code == 2


def test_a_folder_comes_to_its_size_as_told(house: House, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (8, 6, 3), np.uint8)
    for name in ("cat/1", "cat/2", "dog/1", "dog/2"):
        path = tmp_path / "pets" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(pixels))
    folder = f"folder:{tmp_path / 'pets'}"
    done = house.run("data", "add", "pets", folder, "--size=4x3", "--interpolation=nearest")
    assert "Brought to 4 x 3 (H x W) by nearest: 4 of 4 images" in done.stderr
    dataset = house.pipeline.datasets.get("pets")
    assert dataset.description.preprocessing.interpolation == "nearest"
    assert dataset.description.preprocessing.background == (255, 255, 255)
    assert (dataset.images("test")[0] == pixels[1::2, 1::2]).all()


@pytest.mark.parametrize("option", ["--size=4", "--interpolation=nearest"])
@pytest.mark.parametrize("source", ["npz:a.npz", None])
def test_how_pictures_come_to_a_size_is_asked_for_folders_alone(
    house: House, option: str, source: str | None
) -> None:
    done = house.run("data", "add", "pets", *([source] if source else []), option)
    assert done.exit_code == 2
    assert "are for image files, of a folder or a list" in done.stderr


def test_an_unknown_interpolation_of_a_folder_is_wrong_usage(house: House) -> None:
    done = house.run("data", "add", "pets", "folder:pets", "--interpolation=gaussian")
    assert done.exit_code == 2
    assert "--interpolation 'gaussian' cannot be used: it must be antialias, " in done.stderr
    done = house.run("data", "add", "pets", "folder:pets", "--shorter-side=0")
    assert done.exit_code == 2
    why = "--shorter-side 0 cannot be used: it must be a whole number from 1 to 10,000."
    assert why in done.stderr


def test_a_source_that_cannot_be_read_is_one_sentence(house: House) -> None:
    assert_sentence(house.run("data", "add", "pets", "folder:/nowhere"), "/nowhere is no folder")


# The program


def test_help_names_the_exit_codes() -> None:
    done = program("--help")
    assert done.returncode == 0
    for code in ("0    all good", "1    failed", "2    wrong usage", "130  interrupted"):
        assert code in done.stdout


def test_help_loads_nothing_heavy() -> None:
    code = (
        "from trainer.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as exit: assert exit.code == 0"
    )
    heavy = {"tensorflow", "keras", "celery", "kombu", "redis", "numpy", "matplotlib", "pydantic"}
    assert not heavy & modules_after(code)


def test_wrong_usage_ends_with_2() -> None:
    assert program("train").returncode == 2
    assert program("nonsense").returncode == 2


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        (
            "BATCHSIGHT_REDIS_URL",
            "http://x",
            "BATCHSIGHT_REDIS_URL cannot be used: write it as redis://",
        ),
        (
            "BATCHSIGHT_DOWNLOAD_TIMEOUT_SECONDS",
            "soon",
            "BATCHSIGHT_DOWNLOAD_TIMEOUT_SECONDS=soon cannot be used: it must be a number",
        ),
        (
            "BATCHSIGHT_RETRAIN_DATASET",
            "../x",
            "BATCHSIGHT_RETRAIN_DATASET=../x cannot be used: write up to 100 letters",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(variable: str, value: str, sentence: str) -> None:
    done = program("models", **{variable: value})
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_storage_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    archive = tmp_path / "a.npz"
    images, labels = np.zeros((2, 3, 3), np.uint8), np.array([0, 1])
    np.savez(archive, x_train=images, y_train=labels, x_test=images, y_test=labels)
    done = program(
        "data", "add", "x", f"npz:{archive}", BATCHSIGHT_STORAGE=str(tmp_path / "file" / "root")
    )
    assert done.returncode == 1
    assert "Cannot write to shared storage" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_schedule_stops_the_programs_of_celery_with_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "trainer", "beat"],
        cwd=REPOSITORY,
        env={**os.environ, "BATCHSIGHT_RETRAIN_SCHEDULE": "at night"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "'at night' is no crontab expression" in done.stderr
    assert "Traceback" not in done.stderr
