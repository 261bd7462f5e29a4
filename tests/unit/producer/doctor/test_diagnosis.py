"""Every fault that the doctor names, without a Redis."""

from dataclasses import replace
from typing import Any

import pytest

from messaging.refusals import REFUSALS
from messaging.worker_heartbeats import WorkerHeartbeat
from producer.doctor.diagnosis import CHECKS, diagnose
from producer.doctor.facts import Facts
from producer.doctor.finding import Outcome
from producer.doctor.probes.flower import Door, FlowerFacts
from producer.doctor.probes.redis import RedisFacts
from producer.doctor.probes.storage import StorageFacts
from producer.doctor.probes.workers import WorkerFacts

PRESENCE = WorkerHeartbeat(
    worker="worker@one",
    host="one",
    machine="m",
    cpus=(0, 1),
    cores=2,
    children=2,
    storage="/srv/batchsight",
    storage_id="a",
    keras="3.15.1",
)
WORKER = WorkerFacts(
    name="worker@one",
    queues=frozenset({"predict", "sweep"}),
    uptime_seconds=3600,
    busy=False,
    visibility_timeout_seconds=750,
    presence=PRESENCE,
)
TRAINER = replace(
    WORKER,
    name="trainer@one",
    queues=frozenset({"train"}),
    presence=None,
)
REDIS = RedisFacts(aof=True, save="", policy="noeviction", used_bytes=2**20, limit_bytes=2**28)
HEALTHY = Facts(
    broker="redis://127.0.0.1:6379/0",
    visibility_timeout_seconds=750,
    time_limit_seconds=300,
    storage=StorageFacts(
        root="/srv/batchsight", id="a", problem=None, free_bytes=50 * 10**9, total_bytes=10**11
    ),
    keras="3.15.1",
    flower=FlowerFacts(url="http://127.0.0.1:5555", door=Door.OPEN),
    redis=REDIS,
    seconds_ahead=0.001,
    waiting={"predict": (0, 0), "sweep": (0, 0), "train": (0, 0)},
    workers=(WORKER, TRAINER),
    beats=("one:7:ab",),
    namesakes={},
)


def with_presences(*presences: WorkerHeartbeat) -> dict[str, Any]:
    workers = (replace(WORKER, name=p.worker, presence=p) for p in presences)
    return {"workers": (*workers, TRAINER)}


def presence(**changes: Any) -> WorkerHeartbeat:
    return PRESENCE.model_copy(update=changes)


FAULTS: list[tuple[str, dict[str, Any], str]] = [
    ("redis", {"unreachable": "Connection refused"}, "Connection refused"),
    ("redis", {"refusal": REFUSALS["READONLY"]}, "is a replica and takes no messages."),
    ("redis", {"refusal": REFUSALS["MISCONF"]}, "cannot write to its disk"),
    ("password", {"refused": "WRONGPASS"}, "refuses the user or password"),
    ("persistence", {"redis": replace(REDIS, aof=False)}, "nothing on disk"),
    ("eviction", {"redis": replace(REDIS, policy="allkeys-lru")}, "allkeys-lru"),
    ("memory", {"redis": replace(REDIS, used_bytes=int(0.61 * 2**28))}, "61% of its 268 MB"),
    ("visibility", {"visibility_timeout_seconds": 700}, "this machine's settings"),
    (
        "visibility",
        {"workers": (replace(WORKER, visibility_timeout_seconds=60), TRAINER)},
        "(worker@one)",
    ),
    (
        "visibility",
        {"workers": (WORKER, replace(TRAINER, visibility_timeout_seconds=60))},
        "(trainer@one)",
    ),
    ("queues", {"workers": (WORKER,)}, "No worker listens on train."),
    ("queues", {"workers": ()}, "predict, sweep and train"),
    (
        "queues",
        {"for_tensorflow": {"nightly": "mnist@3"}, **with_presences(presence(keras=None))},
        "No worker has TensorFlow, which job nightly (mnist@3) waits for.",
    ),
    (
        "queues",
        {
            "for_tensorflow": dict.fromkeys("abcd", "mnist@3"),
            **with_presences(presence(keras=None)),
        },
        "which job a (mnist@3), job b (mnist@3) and 2 more wait for.",
    ),
    ("idle", {"waiting": {"predict": (5, 9)}}, "9 messages wait on predict"),
    ("idle", {"waiting": {"predict": (1, 1)}}, "1 message waits on predict"),
    ("idle", {"waiting": {"predict": (5, 5)}}, "worker@one does nothing"),
    ("beat", {"beats": ("one:7:ab", "two:8:cd")}, "2 beats run (one:7 and two:8)"),
    (
        "ready",
        with_presences(presence(problem="A child is not ready: ImportError: No module.")),
        "worker@one: A child is not ready",
    ),
    ("names", {"namesakes": {"worker@one": 2}}, "2 workers are called worker@one"),
    ("threads", with_presences(presence(children=4)), "4 TensorFlow threads on 2 cores"),
    (
        "threads",
        with_presences(presence(cores=1)),
        "2 TensorFlow threads on 1 core of its CPU quota",
    ),
    (
        "threads",
        with_presences(PRESENCE, presence(worker="worker@two", host="two")),
        "worker@one and worker@two",
    ),
    ("shared", with_presences(presence(storage_id="b")), "another folder"),
    ("shared", with_presences(presence(storage_id=None)), "cannot use its storage root"),
    (
        "shared",
        with_presences(presence(storage_id=None, problem="It is not there.")),
        "/srv/batchsight (It is not there).",
    ),
    (
        "writable",
        {"storage": StorageFacts(root="/srv", id=None, problem="Read-only file system")},
        "Read-only file system",
    ),
    ("space", {"storage": replace(HEALTHY.storage, free_bytes=4 * 10**9)}, "4.0 GB (4%) free"),
    (
        "space",
        {"storage": replace(HEALTHY.storage, free_bytes=9 * 10**8, total_bytes=2 * 10**9)},
        "0.9 GB",
    ),
    ("clocks", {"seconds_ahead": 6.0}, "this machine is 6 s ahead of that of Redis"),
    ("clocks", with_presences(presence(seconds_ahead=-9.0)), "ahead of that of worker@one"),
    ("keras", {"keras": "3.15.0"}, "This environment has Keras 3.15.0"),
    ("keras", with_presences(presence(keras="3.9.2")), "worker@one has Keras 3.9.2"),
    (
        "flower",
        {"flower": replace(HEALTHY.flower, open_at=("http://10.0.0.5:5555",))},
        "http://10.0.0.5:5555",
    ),
]


def test_a_healthy_system_is_found_well() -> None:
    assert {finding.status for finding in diagnose(HEALTHY)} == {Outcome.OK}


@pytest.mark.parametrize(("check", "changes", "says"), FAULTS)
def test_a_fault_is_named_alone_and_with_its_mend(
    check: str, changes: dict[str, Any], says: str
) -> None:
    findings = diagnose(replace(HEALTHY, **changes))
    faults = [finding for finding in findings if finding.status is Outcome.FAULT]
    assert [fault.check for fault in faults] == [check]
    assert findings[0] is faults[0]
    assert says in faults[0].message
    assert faults[0].message.endswith(".")
    assert faults[0].remedy
    assert faults[0].remedy.endswith(".")


def test_every_check_has_a_fault_to_find() -> None:
    assert {check.__name__ for check in CHECKS} >= {"check_redis", "check_flower"}
    assert {check for check, _, _ in FAULTS} == {finding.check for finding in diagnose(HEALTHY)}


def test_without_redis_only_what_is_local_is_judged() -> None:
    alone = replace(
        HEALTHY,
        unreachable="Connection refused",
        redis=None,
        seconds_ahead=None,
        waiting=None,
        workers=None,
        beats=None,
        namesakes=None,
    )
    statuses = {finding.check: finding.status for finding in diagnose(alone)}
    assert [c for c, s in statuses.items() if s is Outcome.FAULT] == ["redis"]
    assert {c for c, s in statuses.items() if s is Outcome.OK} == {
        *("visibility", "writable", "space", "keras", "flower")
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"redis": replace(REDIS, aof=False, save="3600 1")},
        {"redis": replace(REDIS, limit_bytes=0)},
        {"redis": RedisFacts(aof=None, save=None, policy=None, used_bytes=None, limit_bytes=None)},
        {"waiting": {"predict": (9, 5)}},
        {"waiting": {"predict": (5, 9)}, "workers": (replace(WORKER, busy=True), TRAINER)},
        {"waiting": {"predict": (5, 9)}, "workers": (replace(WORKER, uptime_seconds=5), TRAINER)},
        {"visibility_timeout_seconds": int(2.5 * 299), "time_limit_seconds": 299},
        {"keras": None},
        {
            "for_tensorflow": {"nightly": "mnist@3"},
            "workers": (replace(WORKER, queues=WORKER.queues | {"predict.tensorflow"}), TRAINER),
        },
        # It has TensorFlow, and keeps away from that queue for a moment: `ready` says why.
        {"for_tensorflow": {"nightly": "mnist@3"}},
        {"flower": replace(HEALTHY.flower, door=Door.CLOSED)},
        {"beats": ()},
        with_presences(PRESENCE, presence(worker="worker@two", machine="n")),
        with_presences(presence(cores=1, children=1)),
        with_presences(PRESENCE, presence(worker="worker@two", cpus=(2, 3))),
    ],
)
def test_what_is_harmless_or_unknown_is_no_fault(changes: dict[str, Any]) -> None:
    assert Outcome.FAULT not in {f.status for f in diagnose(replace(HEALTHY, **changes))}
