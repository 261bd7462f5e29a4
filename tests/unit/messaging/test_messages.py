import json
import random
from typing import Any

import pytest

from messaging.errors import BadMessage
from messaging.messages import Message, PredictBatch, Sweep, TrainModel

TRAINING = {
    "dataset": "mnist",
    "network": "mlp",
    "name": "mnist",
    "epochs": 5,
    "batch_size": 32,
    "seed": 1,
    "scheduled": False,
    "run": "train-1",
}
MESSAGES = (
    PredictBatch(job="nightly", batch=3),
    TrainModel.from_wire(TRAINING),
    Sweep(),
    PredictBatch(job="nightly", batch=3, runtime="tensorflow"),
)
MUTATIONS = 6_000


class FakeApp:
    """Keeps what it is asked to send."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def send_task(self, name: str, **options: Any) -> None:
        self.sent.append((name, options))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.task)
def test_a_message_survives_its_way_over_the_wire(message: Message) -> None:
    app: Any = FakeApp()
    task_id = message.send(app, priority=1)
    ((name, options),) = app.sent
    assert (name, options["queue"]) == (message.task, message.queue)
    assert options["task_id"] == task_id
    assert options["priority"] == 1
    wire = json.dumps(options["kwargs"])
    assert len(wire) < 1000
    assert type(message).from_wire(json.loads(wire)) == message


def test_messages_wait_where_those_listen_who_can_do_what_they_ask_for() -> None:
    queues = [message.queue for message in MESSAGES]
    assert queues == ["predict", "train", "sweep", "predict.tensorflow"]


def test_a_batch_of_an_earlier_version_is_accepted() -> None:
    assert PredictBatch.from_wire({"job": "a", "batch": 1}) == PredictBatch(job="a", batch=1)


def test_a_waiting_batch_is_recognised_by_its_task_id() -> None:
    message = PredictBatch(job="a.job", batch=12)
    first, second = message.task_id(), message.task_id()
    assert first != second
    assert first.rpartition(".")[0] == message.key == "a.job.12"


def test_batches_of_different_jobs_have_different_keys() -> None:
    assert PredictBatch(job="a", batch=1).key != PredictBatch(job="a.1", batch=1).key
    assert PredictBatch(job="a", batch=11).key != PredictBatch(job="a", batch=1).key


def test_a_training_is_one_task_however_often_it_is_sent() -> None:
    assert TrainModel.from_wire(TRAINING).task_id() == "train-1"


def test_people_read_the_message_and_nothing_else_in_flower() -> None:
    app: Any = FakeApp()
    PredictBatch(job="nightly", batch=3).send(app)
    assert app.sent[0][1]["kwargsrepr"] == "job nightly, batch 4"
    assert app.sent[0][1]["argsrepr"] == ""
    assert TrainModel.from_wire(TRAINING).readable() == "mlp on mnist, 5 epochs"
    scheduled = TrainModel.from_wire(TRAINING | {"name": "digits", "scheduled": True})
    assert scheduled.readable() == "mlp on mnist as digits, 5 epochs, by schedule"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"job": "a"},
        {"batch": 1},
        {"job": "a", "batch": -1},
        {"job": "a", "batch": 10**10},
        {"job": "a", "batch": "1"},
        {"job": "a", "batch": 1.0},
        {"job": "a", "batch": True},
        {"job": "a", "batch": None},
        {"job": "", "batch": 1},
        {"job": "../a", "batch": 1},
        {"job": "a\n", "batch": 1},
        {"job": "a" * 101, "batch": 1},
        {"job": ["a"], "batch": 1},
        {"job": 7, "batch": 1},
        {"job": "\ud800", "batch": 1},
        {"job": "a", "batch": 1, "more": 1},
        {"job": "a", "batch": 1, "runtime": "other"},
    ],
    ids=repr,
)
def test_a_batch_out_of_bounds_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadMessage, match=r"^A worker\.predict message was dropped: "):
        PredictBatch.from_wire(fields)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("seed", -1),
        ("seed", 2**32),
        ("scheduled", 1),
        ("dataset", "/etc"),
        ("name", "a/b"),
        ("run", ""),
    ],
)
def test_a_training_out_of_bounds_is_refused(field: str, value: object) -> None:
    with pytest.raises(BadMessage, match=f"{field}: "):
        TrainModel.from_wire(TRAINING | {field: value})


def test_what_a_stranger_wrote_is_named_briefly_and_on_one_line() -> None:
    fields = {f"line\nfeed {i} " + "x" * 1000: i for i in range(1000)}
    with pytest.raises(BadMessage) as dropped:
        PredictBatch.from_wire(fields)
    assert len(str(dropped.value)) < 1000
    assert str(dropped.value).isprintable()


def test_a_field_name_that_is_no_text_can_still_be_logged() -> None:
    with pytest.raises(BadMessage) as dropped:
        PredictBatch.from_wire({"job": "a", "batch": 1, "\ud800": 1})
    str(dropped.value).encode()


def test_messages_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        PredictBatch(job="a", batch=1).batch = 2


def mutate(fields: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """Other values, other types, fields missing and fields more; or the JSON text damaged."""
    strange: tuple[Any, ...] = (
        *(None, True, -1, 0, 2**31, 2**64, -(10**30), 1.5, float("nan"), float("inf"), 10**400),
        *(
            "",
            "a",
            "../a",
            "a/b",
            "\0",
            "\ud800",
            "x" * 200,
            "1",
            "ä",
            "a\nb",
            [],
            {},
            [1],
            {"a": 1},
        ),
    )
    mutated = dict(fields)
    for _ in range(chance.choice((1, 1, 2, 3))):
        name = chance.choice(tuple(mutated) or ("job",))
        match chance.randrange(5):
            case 0 | 1:
                mutated[name] = chance.choice(strange)
            case 2:
                mutated.pop(name, None)
            case 3:
                mutated[chance.choice(("", "more", "__class__", "job", "\udfff", "a\0"))] = (
                    chance.choice(strange)
                )
            case 4:
                text = bytearray(json.dumps(mutated).encode())
                for _ in range(chance.randrange(1, 4)):
                    text[chance.randrange(len(text))] = chance.randrange(32, 127)
                try:
                    mutated = json.loads(text)
                except ValueError:
                    continue
                if not isinstance(mutated, dict):
                    return dict(fields)
    return mutated


@pytest.mark.parametrize("message", MESSAGES[:2], ids=lambda message: message.task)
def test_no_mutation_whatever_gets_past_the_parser(message: Message) -> None:
    """Twice 6,000 mutated messages: a valid one or `BadMessage`."""
    chance = random.Random(message.task)
    fields = message.model_dump(mode="json")
    outcomes = {"valid": 0, "refused": 0}
    for _ in range(MUTATIONS):
        mutated = mutate(fields, chance)
        try:
            parsed = type(message).from_wire(mutated)
        except BadMessage as error:
            assert str(error).encode()
            outcomes["refused"] += 1
        else:
            assert type(message).model_validate_json(parsed.model_dump_json()) == parsed
            assert parsed.model_dump(include=set(mutated)) == mutated
            outcomes["valid"] += 1
    assert min(outcomes.values()) > MUTATIONS / 50, "too tame or too wild"
