"""What a training does to the champion: the gate, stale runs, damaged champions."""

from pathlib import Path

import pytest

from storage.models import ModelStore, ModelVersion
from tests.builders import as_any, describe_model, publish
from trainer.errors import UnknownNetwork
from trainer.exports import older_config
from trainer.gate import TOLERANCE, Verdict, judge
from trainer.networks import NETWORKS, block_filters, cosine_decay, get_network
from trainer.pipeline import Pipeline
from trainer.training import TrainingRequest


def version(store: ModelStore, accuracy: float) -> ModelVersion:
    return publish(store, metrics={"accuracy": accuracy, "loss": 0.1, "seconds": 1.0})


def promote(store: ModelStore, candidate: ModelVersion, fence: int | None = None) -> Verdict:
    pipeline = Pipeline(as_any(None), store, as_any(None))
    return pipeline._promote(candidate, fence)


def test_the_first_version_becomes_champion(tmp_path: Path) -> None:
    verdict = judge(describe_model(metrics={"accuracy": 0.1}), None)
    assert verdict == Verdict(promoted=True, reason="the first champion")


@pytest.mark.parametrize(
    ("accuracy", "promoted"),
    [(0.99, True), (0.95, True), (0.9485, True), (0.9475, False), (0.1, False)],
)
def test_a_version_passes_unless_it_falls_behind_by_more_than_the_tolerance(
    tmp_path: Path, accuracy: float, promoted: bool
) -> None:
    assert TOLERANCE == 0.002
    champion = version(ModelStore(tmp_path), 0.95)
    verdict = judge(describe_model(metrics={"accuracy": accuracy}), champion)
    assert verdict.promoted is promoted
    assert f"accuracy {accuracy:.4f}, digits@1 has 0.9500" in verdict.reason


def test_a_worse_version_is_published_but_not_promoted(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    assert promote(store, version(store, 0.95)).promoted
    verdict = promote(store, version(store, 0.90))
    assert not verdict.promoted
    assert verdict.reason.endswith("stays champion")
    assert store.numbers("digits") == [1, 2]
    assert store.resolve("digits").number == 1


def test_a_stale_run_is_rejected_with_the_reason(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    assert promote(store, version(store, 0.95), fence=8).promoted
    verdict = promote(store, version(store, 0.99), fence=7)
    assert not verdict.promoted
    assert "overtaken run" in verdict.reason
    assert store.resolve("digits").number == 1


@pytest.mark.parametrize("damaged", ["manifest.json", "../champion.json"])
def test_a_champion_that_cannot_be_read_does_not_stop_a_training_from_being_published(
    tmp_path: Path, damaged: str
) -> None:
    store = ModelStore(tmp_path)
    first = version(store, 0.95)
    store.promote(first)
    (first.folder / damaged).write_text("{")
    if damaged == "manifest.json":
        assert promote(store, version(store, 0.5)).promoted
        assert store.resolve("digits").number == 2
    else:
        verdict = promote(store, version(store, 0.5), fence=7)
        assert not verdict.promoted
        assert "choose a champion with `trainer promote digits@N`" in verdict.reason


# Networks and requests


def test_an_unknown_network_names_the_known_ones() -> None:
    with pytest.raises(UnknownNetwork, match="'vgg': choose one of mlp, cnn"):
        get_network("vgg")


def test_the_default_network_is_trained_as_the_demo_promises() -> None:
    assert (NETWORKS["mlp"].epochs, NETWORKS["mlp"].batch_size) == (5, 32)


def test_the_learning_rate_of_the_cnn_falls_to_nothing() -> None:
    rates = [cosine_decay(done / 8) for done in range(9)]
    assert rates == sorted(rates, reverse=True)
    assert [rates[i] for i in (0, 4, 8)] == pytest.approx([0.002, 0.001, 0])
    assert NETWORKS["mlp"].learning_rate is None


@pytest.mark.parametrize(
    ("shape", "blocks"),
    [
        ((28, 28, 1), [32, 64]),
        ((32, 32, 3), [32, 64]),
        ((8, 8, 1), [32, 64]),
        ((1, 1, 1), [32, 64]),
        ((64, 48, 3), [32, 64, 128]),
        ((224, 224, 3), [32, 64, 128, 128, 128]),
    ],
)
def test_larger_images_get_more_blocks(shape: tuple[int, int, int], blocks: list[int]) -> None:
    assert block_filters(shape) == blocks


def test_a_request_survives_the_queue() -> None:
    request = TrainingRequest.with_defaults(dataset="mnist", network="cnn", seed=7, name="own")
    message = request.to_message("run-1")
    assert (message.run, message.scheduled) == ("run-1", False)
    assert TrainingRequest.from_message(type(message).from_wire(message.model_dump())) == request


def test_a_configuration_is_written_as_keras_2_knows_it() -> None:
    float32 = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}}
    zeros = {"module": "keras.initializers", "class_name": "Zeros", "config": {}}
    newer = {
        "class_name": "Sequential",
        "config": {
            "dtype": float32,
            "layers": [
                {
                    "class_name": "InputLayer",
                    "config": {"batch_shape": [None, 28, 28, 1], "optional": False},
                },
                {
                    "module": "keras.layers",
                    "class_name": "Dense",
                    "config": {
                        "units": 10,
                        "bias_initializer": zeros | {"registered_name": None},
                        "quantization_config": None,
                    },
                },
                {"class_name": "BatchNormalization", "config": {"synchronized": True}},
            ],
        },
    }
    assert older_config(newer) == {
        "class_name": "Sequential",
        "config": {
            "dtype": "float32",
            "layers": [
                {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 28, 28, 1]}},
                {
                    "class_name": "Dense",
                    "config": {
                        "units": 10,
                        "bias_initializer": {"class_name": "Zeros", "config": {}},
                    },
                },
                {"class_name": "BatchNormalization", "config": {"synchronized": True}},
            ],
        },
    }
