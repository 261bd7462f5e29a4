"""The workers, as they answer over the queue."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from warnings import catch_warnings, filterwarnings

from messaging.settings import BrokerSettings
from messaging.worker_heartbeats import WorkerHeartbeat, living_workers
from producer.doctor.probes.redis import permitted

if TYPE_CHECKING:
    import redis

REPLY_SECONDS, PATIENT_SECONDS = 1.0, 4.0
"""How long to wait for the answers of an unknown number of workers, and of known ones."""


@dataclass(frozen=True, kw_only=True)
class WorkerFacts:
    """A worker that answered, and its latest heartbeat if it gave one."""

    name: str
    queues: frozenset[str]
    uptime_seconds: float
    busy: bool
    """Whether it runs a task, or has begun one while the doctor looked."""
    visibility_timeout_seconds: float | None
    presence: WorkerHeartbeat | None = None


def inspect_workers(settings: BrokerSettings, client: "redis.Redis") -> tuple[WorkerFacts, ...]:
    """Ask all workers, twice for what they have done: the first time takes `REPLY_SECONDS`."""
    from messaging.app import make_app

    presences = permitted(lambda: living_workers(client)) or {}
    with make_app("doctor", settings=settings) as app, catch_warnings():
        filterwarnings("ignore", "Received multiple replies")  # `namesakes` tells it better
        first = app.control.inspect(timeout=REPLY_SECONDS).stats() or {}
        if presences.keys() - first.keys():  # somebody is slow to answer, or was just killed
            first |= app.control.inspect(timeout=PATIENT_SECONDS).stats() or {}
        if not first:
            return ()
        ask = app.control.inspect(destination=list(first), timeout=PATIENT_SECONDS)
        queues = ask.active_queues() or {}
        configured = ask.conf() or {}
        active = ask.active() or {}
        second = ask.stats() or {}
    presences |= permitted(lambda: living_workers(client)) or {}  # of one that has just begun, too
    return tuple(
        WorkerFacts(
            name=name,
            queues=frozenset(queue["name"] for queue in queues.get(name) or ()),
            uptime_seconds=stats["uptime"],
            busy=bool(active.get(name)) or stats["total"] != second.get(name, {}).get("total"),
            visibility_timeout_seconds=configured.get(name, {})
            .get("broker_transport_options", {})
            .get("visibility_timeout"),
            presence=presences.get(name),
        )
        for name, stats in sorted(first.items())
    )
