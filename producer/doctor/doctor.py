"""`producer doctor`: what is wrong with a system, running or merely configured, and how to fix it.

`gather_facts` looks; each check below is a function from `Facts` to one `Finding`; `examine` runs
them all. A fact that could not be found out is None, and what depends on it is skipped.
"""

import http.client
import re
import secrets
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import redis
from kombu.exceptions import OperationalError
from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from console.output import print_json
from console.settings import from_environment
from messaging.beat_heartbeats import living_beats
from messaging.broker import connect
from messaging.refusals import PASSWORD, REFUSALS, Refusal, probe, refusal_of
from messaging.settings import (
    PREDICT_QUEUE,
    SWEEP_QUEUE,
    TRAIN_QUEUE,
    VISIBILITY_FACTOR,
    BrokerSettings,
)
from messaging.worker_heartbeats import WorkerHeartbeat, living_workers, seconds_ahead
from producer.settings import read_settings
from storage.errors import StorageError
from storage.files import TEMPORARY_PREFIX
from storage.identity import present_id, storage_id
from storage.settings import StorageSettings

Fact = TypeVar("Fact")

HIGHEST_MEMORY_SHARE = 0.6
LOWEST_FREE_SHARE = 0.05
LOWEST_FREE_BYTES = 10**9
LARGEST_SKEW_SECONDS = 5.0
SAFE_KERAS = (3, 15, 1)
STARTING_SECONDS = 60.0
"""A worker younger than this may still be importing TensorFlow, and idle for that reason."""
REPLY_SECONDS, PATIENT_SECONDS = 1.0, 4.0
"""How long to wait for the answers of an unknown number of workers, and of known ones."""
NOTICE_SECONDS = 5.0
"""Until workers that wait for new storage have seen it, and said so."""
STARTS = {
    PREDICT_QUEUE: "celery -A worker worker",
    SWEEP_QUEUE: "celery -A worker worker",
    TRAIN_QUEUE: "celery -A trainer worker",
}
"""What listens on each queue."""
NOT_REDIS = "Redis cannot be used."
NOT_INSPECTED = "Redis passes no question on to the workers."


class DoctorSettings(BaseSettings):
    """What only the doctor needs to know. Unset variables take the defaults below."""

    model_config = SettingsConfigDict(env_prefix="BATCHSIGHT_", frozen=True)

    flower_url: str = Field(default="http://127.0.0.1:5555", description="Where Flower is.")

    @field_validator("flower_url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError("write it as http://host:5555")
        return url


class Outcome(StrEnum):
    """What a check came to."""

    FAULT = "fault"
    WARNING = "warning"
    SKIPPED = "skipped"
    OK = "ok"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The outcome of one check, and for a fault or warning the way out."""

    check: str
    status: Outcome
    message: str
    remedy: str | None = None


@dataclass(frozen=True, kw_only=True)
class RedisFacts:
    """How Redis is configured. None where it does not tell this user."""

    aof: bool | None
    save: str | None
    policy: str | None
    used_bytes: int | None
    limit_bytes: int | None
    """0 is no limit."""


@dataclass(frozen=True, kw_only=True)
class WorkerFacts:
    """A worker that answered, and its latest heartbeat if it gave one."""

    name: str
    queues: frozenset[str]
    uptime_seconds: float
    busy: bool
    """Whether it runs a task, or has begun one while the doctor looked."""
    visibility_timeout_seconds: float | None
    time_limit_seconds: float | None
    """The longest that a task may take which is acknowledged only when it is done."""
    presence: WorkerHeartbeat | None = None


@dataclass(frozen=True, kw_only=True)
class StorageFacts:
    """Shared storage as this process sees it."""

    root: str
    id: str | None
    problem: str | None
    """Why it cannot be written."""
    new: bool = False
    """Whether nobody had used it before this look."""
    free_bytes: int = 0
    total_bytes: int = 0


class Door(StrEnum):
    """What somebody without a password finds at Flower's address."""

    OPEN = "open"
    LOCKED = "locked"
    CLOSED = "closed"


@dataclass(frozen=True, kw_only=True)
class FlowerFacts:
    """Flower as a stranger sees it."""

    url: str
    door: Door
    open_at: tuple[str, ...] = ()
    """Addresses beyond this machine's loopback where it is open as well."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that the checks judge by."""

    broker: str
    """The broker's URL without secrets."""
    visibility_timeout_seconds: float
    time_limit_seconds: float
    storage: StorageFacts
    keras: str | None
    flower: FlowerFacts
    unreachable: str | None = None
    """Why no Redis answers."""
    refused: str | None = None
    """What Redis says to this user and password."""
    refusal: Refusal | None = None
    """Why Redis answers, but takes no messages."""
    redis: RedisFacts | None = None
    seconds_ahead: float | None = None
    """This machine's clock minus that of Redis."""
    waiting: Mapping[str, tuple[int, int]] | None = None
    """Messages in each queue, twice, at least a second apart."""
    workers: tuple[WorkerFacts, ...] | None = None
    beats: tuple[str, ...] | None = None

    @property
    def presences(self) -> list[WorkerHeartbeat]:
        """The heartbeats of the workers that answer."""
        return [w.presence for w in self.workers or () if w.presence]


# The checks.


def ok(check: str, message: str) -> Finding:
    """All is well."""
    return Finding(check=check, status=Outcome.OK, message=message)


def skipped(check: str, message: str) -> Finding:
    """It could not be found out."""
    return Finding(check=check, status=Outcome.SKIPPED, message=message)


def fault(check: str, message: str, remedy: str) -> Finding:
    """Something is wrong."""
    return Finding(check=check, status=Outcome.FAULT, message=message, remedy=remedy)


def check_redis(facts: Facts) -> Finding:
    """Redis answers, and takes messages."""
    if facts.unreachable:
        return fault(
            "redis",
            f"No Redis answers at {facts.broker} ({facts.unreachable}).",
            "Start it, or point BATCHSIGHT_REDIS_URL to the one that runs.",
        )
    if facts.refusal:
        remedy = facts.refusal.remedy
        return fault(
            "redis",
            f"Redis at {facts.broker} {facts.refusal.says}.",
            f"{remedy[0].upper()}{remedy[1:]}.",
        )
    return ok("redis", f"Redis at {facts.broker} answers and takes messages.")


def check_password(facts: Facts) -> Finding:
    """Redis lets this user in."""
    if facts.refused:
        return fault(
            "password",
            f"Redis at {facts.broker} refuses the user or password ({facts.refused}).",
            "Set BATCHSIGHT_REDIS_PASSWORD, or the password in BATCHSIGHT_REDIS_URL, to what Redis "
            "expects.",
        )
    if facts.unreachable:
        return skipped("password", NOT_REDIS)
    return ok("password", "Redis accepts the user and password.")


def check_persistence(facts: Facts) -> Finding:
    """What is queued survives a restart of Redis."""
    if facts.redis is None:
        return skipped("persistence", NOT_REDIS)
    if facts.redis.aof:
        return ok("persistence", "Redis keeps an append-only file.")
    if facts.redis.aof is None or facts.redis.save is None:
        return skipped("persistence", "Redis does not tell this user whether it persists.")
    if facts.redis.save:
        return ok("persistence", "Redis saves snapshots.")
    return fault(
        "persistence",
        "Redis keeps nothing on disk, so that a restart loses all that is queued.",
        "Start Redis with `appendonly yes`.",
    )


def check_eviction(facts: Facts) -> Finding:
    """Redis throws no message away."""
    if facts.redis is None:
        return skipped("eviction", NOT_REDIS)
    if facts.redis.policy is None:
        return skipped("eviction", "Redis does not tell this user its eviction policy.")
    if facts.redis.policy != "noeviction":
        return fault(
            "eviction",
            f"Redis throws queued messages away when memory is short ({facts.redis.policy}).",
            "Start Redis with `maxmemory-policy noeviction`.",
        )
    return ok("eviction", "Redis evicts nothing.")


def check_memory(facts: Facts) -> Finding:
    """Redis is far from its memory limit, at which messages are lost."""
    if facts.redis is None:
        return skipped("memory", NOT_REDIS)
    used, limit = facts.redis.used_bytes, facts.redis.limit_bytes
    if used is None or limit is None:
        return skipped("memory", "Redis does not tell this user how much memory it uses.")
    if limit == 0:
        return ok("memory", f"Redis uses {used / 1e6:.1f} MB and has no limit of its own.")
    share = f"{used / limit:.0%} of its {limit / 1e6:.0f} MB"
    if used > HIGHEST_MEMORY_SHARE * limit:
        return fault(
            "memory",
            f"Redis uses {share}, and loses messages when it is full.",
            "Find what fills it with `redis-cli --bigkeys`, or raise `maxmemory`.",
        )
    return ok("memory", f"Redis uses {share}.")


def check_visibility(facts: Facts) -> Finding:
    """No batch is handed out again while it runs.

    The hash of unacknowledged messages is one for all workers, and each sweeps it with its own
    timeout: so the shortest timeout of any counts against the longest task of any.
    """
    pairs = [
        (facts.visibility_timeout_seconds, facts.time_limit_seconds, "this machine's settings")
    ]
    workers = facts.workers or ()
    timeouts = [
        (w.visibility_timeout_seconds, w.name) for w in workers if w.visibility_timeout_seconds
    ]
    limits = [(w.time_limit_seconds, w.name) for w in workers if w.time_limit_seconds]
    if timeouts and limits:
        (timeout, sweeper), (limit, runner) = min(timeouts), max(limits)
        who = runner if runner == sweeper else f"{sweeper} and {runner}"
        pairs.append((timeout, limit, who))
    for timeout, limit, who in pairs:
        if timeout < int(VISIBILITY_FACTOR * limit):
            return fault(
                "visibility",
                f"Redis hands a batch out again after {timeout:g} s, but it may take {limit:g} s "
                f"({who}).",
                "Start all programs with the same BATCHSIGHT_TIME_LIMIT_SECONDS, and set no "
                f"visibility_timeout below {VISIBILITY_FACTOR:g} times that.",
            )
    return ok("visibility", "The visibility timeout is long enough for the time limit.")


def check_queues(facts: Facts) -> Finding:
    """Somebody listens on every queue."""
    if facts.workers is None:
        return skipped("queues", NOT_INSPECTED)
    deaf = [q for q in STARTS if not any(q in w.queues for w in facts.workers)]
    if deaf:
        commands = sorted({f"`{STARTS[queue]}`" for queue in deaf})
        return fault(
            "queues",
            f"No worker listens on {listed(deaf)}.",
            f"Start {listed(commands)} with the same BATCHSIGHT_REDIS_URL.",
        )
    return ok("queues", f"Workers listen on {listed(list(STARTS))}.")


def check_idle(facts: Facts) -> Finding:
    """Workers take what waits for them."""
    if facts.workers is None or facts.waiting is None:
        return skipped("idle", NOT_INSPECTED)
    for queue, (before, after) in facts.waiting.items():
        listeners = [w for w in facts.workers if queue in w.queues]
        awake = all(w.busy or w.uptime_seconds < STARTING_SECONDS for w in listeners)
        stuck = not any(w.busy for w in listeners) and 0 < before <= after
        if listeners and stuck and not awake:
            names = listed([w.name for w in listeners])
            return fault(
                "idle",
                f"{after} messages wait on {queue} and get no fewer, but {names} does nothing.",
                "Restart that worker, and read its log for what its pool waits for.",
            )
    return ok("idle", "No queue waits for an idle worker.")


def check_beats(facts: Facts) -> Finding:
    """One beat sends the scheduled messages."""
    if facts.beats is None:
        return skipped("beat", NOT_REDIS)
    if len(facts.beats) > 1:
        names = listed([name.rpartition(":")[0] for name in facts.beats])
        return fault(
            "beat",
            f"{len(facts.beats)} beats run ({names}), and each sends every scheduled message.",
            "Stop all but one.",
        )
    if not facts.beats:
        return Finding(
            check="beat",
            status=Outcome.WARNING,
            message="No beat runs, so that nobody looks after jobs that stand still.",
            remedy="Start one, and only one, with `celery -A trainer beat`.",
        )
    return ok("beat", "One beat runs.")


def check_ready(facts: Facts) -> Finding:
    """The workers can run what they take."""
    if not facts.presences:
        return skipped("ready", "No worker has told how it is.")
    for presence in facts.presences:
        # What is wrong with its storage is another check's.
        if presence.problem and presence.storage_id is not None:
            return fault(
                "ready",
                f"{presence.worker}: {presence.problem}",
                "If that does not help, read the log of that worker.",
            )
    return ok("ready", "All workers are ready.")


def check_threads(facts: Facts) -> Finding:
    """The workers of a machine have no more TensorFlow threads, one a child, than cores."""
    if not facts.presences:
        return skipped("threads", "No worker has told of its threads.")
    for presence in facts.presences:
        if presence.cores and len(presence.cpus) > presence.cores < presence.children:
            return too_many_threads([presence], presence.cores, " of its CPU quota")
    for machine in sorted({p.machine for p in facts.presences}):
        here = [p for p in facts.presences if p.machine == machine]
        cores = len({cpu for p in here for cpu in p.cpus})
        if sum(p.children for p in here) > cores:
            return too_many_threads(here, cores, "")
    return ok("threads", "There are no more TensorFlow threads than cores.")


def too_many_threads(presences: Sequence[WorkerHeartbeat], cores: int, of: str) -> Finding:
    """Children that take each other's time."""
    threads = sum(p.children for p in presences)
    there = "1 core" if cores == 1 else f"{cores} cores"
    return fault(
        "threads",
        f"{listed([p.worker for p in presences])} run {threads} TensorFlow threads on {there}{of}, "
        "one in each child.",
        f"Start fewer workers or children: `--concurrency` {cores} in all at most.",
    )


def check_shared(facts: Facts) -> Finding:
    """Workers see the folder that this process sees."""
    if facts.storage.id is None:
        return skipped("shared", f"The storage root {facts.storage.root} cannot be used.")
    if not facts.presences:
        return skipped("shared", "No worker has told of its storage.")
    for presence in facts.presences:
        if presence.storage_id is None:
            because = f" ({presence.problem.rstrip('.')})" if presence.problem else ""
            return fault(
                "shared",
                f"{presence.worker} cannot use its storage root {presence.storage}{because}.",
                "Give that worker a BATCHSIGHT_STORAGE which it may read and write.",
            )
        if presence.storage_id != facts.storage.id:
            return fault(
                "shared",
                f"{presence.worker} sees another folder at {presence.storage} than this machine "
                f"at {facts.storage.root}.",
                "Mount the same folder on both, and point BATCHSIGHT_STORAGE to it.",
            )
    return ok("shared", "All workers see the same storage.")


def check_writable(facts: Facts) -> Finding:
    """This process may write to storage."""
    if facts.storage.problem:
        return fault(
            "writable",
            f"Shared storage at {facts.storage.root} cannot be used ({facts.storage.problem}).",
            "Make it writable for this user, or point BATCHSIGHT_STORAGE to a folder that is.",
        )
    return ok("writable", f"Shared storage at {facts.storage.root} can be written.")


def check_space(facts: Facts) -> Finding:
    """Storage has room for results."""
    free, total = facts.storage.free_bytes, facts.storage.total_bytes
    if not total:
        return skipped("space", f"The storage root {facts.storage.root} cannot be used.")
    share = f"{free / 1e9:.1f} GB ({free / total:.0%}) free"
    if free < LOWEST_FREE_BYTES or free < LOWEST_FREE_SHARE * total:
        return fault(
            "space",
            f"Shared storage at {facts.storage.root} is nearly full: {share}.",
            "Remove finished jobs with `producer prune --older-than 30d`, or enlarge it.",
        )
    return ok("space", f"Shared storage has {share}.")


def check_clocks(facts: Facts) -> Finding:
    """All clocks agree: leases and schedules are told by them."""
    if facts.seconds_ahead is None:
        return skipped("clocks", NOT_REDIS)
    clocks = [(facts.seconds_ahead, "this machine"), (0.0, "Redis")]
    clocks += [(p.seconds_ahead, p.worker) for p in facts.presences]
    (slow, behind), (fast, ahead) = min(clocks), max(clocks)
    if fast - slow > LARGEST_SKEW_SECONDS:
        return fault(
            "clocks",
            f"The clock of {ahead} is {fast - slow:.0f} s ahead of that of {behind}.",
            "Let NTP set the clocks of both.",
        )
    return ok("clocks", "The clocks agree.")


def check_keras(facts: Facts) -> Finding:
    """No Keras with known holes loads models."""
    versions = [(facts.keras, "This environment")]
    versions += [(p.keras, p.worker) for p in facts.presences]
    known = [(keras, where) for keras, where in versions if keras]
    safe = ".".join(map(str, SAFE_KERAS))
    if not known:
        return skipped("keras", "There is no Keras here, and no worker has told of its own.")
    for keras, where in known:
        if tuple(int(n) for n in re.findall(r"\d+", keras)[:3]) < SAFE_KERAS:
            return fault(
                "keras",
                f"{where} has Keras {keras}, which a crafted model file can make run its code.",
                f"Install keras>={safe} there.",
            )
    return ok("keras", f"Keras is {listed(sorted({keras for keras, _ in known}))}.")


def check_flower(facts: Facts) -> Finding:
    """Strangers cannot watch the workers."""
    flower = facts.flower
    if flower.door is Door.CLOSED:
        return skipped("flower", f"No Flower answers at {flower.url}.")
    if flower.open_at:
        return fault(
            "flower",
            f"Flower is open to everyone without a password at {listed(list(flower.open_at))}.",
            "Start it with `--basic_auth=user:password`, or with `--address=127.0.0.1`.",
        )
    if flower.door is Door.OPEN:
        return ok("flower", "Flower has no password, but answers on loopback only.")
    return ok("flower", "Flower asks for a password.")


CHECKS: Sequence[Callable[[Facts], Finding]] = (
    check_redis,
    check_password,
    check_persistence,
    check_eviction,
    check_memory,
    check_visibility,
    check_queues,
    check_idle,
    check_beats,
    check_ready,
    check_threads,
    check_shared,
    check_writable,
    check_space,
    check_clocks,
    check_keras,
    check_flower,
)


def examine(facts: Facts) -> list[Finding]:
    """All findings, faults first."""
    order = list(Outcome)
    return sorted((check(facts) for check in CHECKS), key=lambda f: order.index(f.status))


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


# The facts.


def gather_facts(
    broker: BrokerSettings, storage: StorageSettings, settings: DoctorSettings
) -> Facts:
    """Look at everything; takes a few seconds, and raises nothing that a check could name."""
    facts = Facts(
        broker=broker.public_url,
        visibility_timeout_seconds=broker.visibility_timeout_seconds,
        time_limit_seconds=broker.time_limit_seconds,
        storage=look_at_storage(storage.root),
        keras=installed_keras(),
        flower=look_at_flower(settings.flower_url),
    )
    client = connect(broker)
    try:
        facts = replace(facts, refusal=look_at_role(client))
        return look_at_line(facts, client, broker)
    except (redis.RedisError, OperationalError, OSError) as error:
        refusal = refusal_of(error)
        if refusal is PASSWORD:
            return replace(facts, refused=brief(error))
        if refusal:
            return replace(facts, refusal=refusal)
        return replace(facts, unreachable=brief(error))
    finally:
        client.close()


def look_at_role(client: "redis.Redis") -> Refusal | None:
    """Why Redis takes no messages, found by trying; raises `redis.RedisError` when it is away.

    A replica counts even where it may be written to: what is written there is lost.
    """
    try:
        probe(client)
    except redis.ResponseError as error:
        if refusal := refusal_of(error):
            return refusal
        raise
    role: Mapping[str, Any] = permitted(lambda: client.info("replication")) or {}
    return REFUSALS["READONLY"] if role.get("role") == "slave" else None


def look_at_line(facts: Facts, client: "redis.Redis", settings: BrokerSettings) -> Facts:
    """Add what Redis and, through it, the workers tell. What this user may not ask stays None."""
    if facts.storage.new:
        time.sleep(NOTICE_SECONDS)
    before = permitted(lambda: queue_lengths(client))
    workers = permitted(lambda: inspect_workers(settings, client))
    after = permitted(lambda: queue_lengths(client))
    return replace(
        facts,
        redis=look_at_redis(client),
        seconds_ahead=permitted(lambda: seconds_ahead(client)),
        waiting={q: (before[q], after[q]) for q in STARTS} if before and after else None,
        workers=workers,
        beats=permitted(lambda: living_beats(client)),
    )


def permitted(ask: Callable[[], Fact]) -> Fact | None:
    """The answer, or None when Redis refuses it."""
    try:
        return ask()
    except (redis.ResponseError, OperationalError) as error:
        if isinstance(error, OperationalError) and refusal_of(error) is None:
            raise
        return None


def queue_lengths(client: "redis.Redis") -> dict[str, int]:
    """How many messages wait in each queue."""
    return {queue: client.llen(queue) for queue in STARTS}


def look_at_redis(client: "redis.Redis") -> RedisFacts:
    """How Redis is configured; managed servers refuse CONFIG, and some users INFO."""
    memory: Mapping[str, Any] = permitted(lambda: client.info("memory")) or {}
    persistence: Mapping[str, Any] = permitted(lambda: client.info("persistence")) or {}
    save: Mapping[Any, Any] = permitted(lambda: client.config_get("save")) or {}
    aof = persistence.get("aof_enabled")
    return RedisFacts(
        aof=None if aof is None else bool(aof),
        save=save.get("save"),
        policy=memory.get("maxmemory_policy"),
        used_bytes=memory.get("used_memory"),
        limit_bytes=memory.get("maxmemory"),
    )


def inspect_workers(settings: BrokerSettings, client: "redis.Redis") -> tuple[WorkerFacts, ...]:
    """Ask all workers, twice for what they have done: the first time takes `REPLY_SECONDS`."""
    from messaging.app import make_app

    presences = permitted(lambda: living_workers(client)) or {}
    with make_app("doctor", settings=settings) as app:
        first = app.control.inspect(timeout=REPLY_SECONDS).stats() or {}
        if presences.keys() - first.keys():  # somebody is slow to answer, or was just killed
            first |= app.control.inspect(timeout=PATIENT_SECONDS).stats() or {}
        if not first:
            return ()
        ask = app.control.inspect(destination=list(first), timeout=PATIENT_SECONDS)
        queues = ask.active_queues() or {}
        configured = ask.conf() or {}
        tasks = ask.registered("time_limit", "acks_late") or {}
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
            time_limit_seconds=longest_late_task(tasks.get(name) or ()),
            presence=presences.get(name),
        )
        for name, stats in sorted(first.items())
    )


def longest_late_task(tasks: Sequence[str]) -> float | None:
    """Seconds, from `worker.predict [time_limit=300 acks_late=True]`; None without a limit."""
    late = [task for task in tasks if "acks_late=True" in task]
    limits = (re.search(r"\btime_limit=([\d.]+)", task) for task in late)
    return max((float(limit[1]) for limit in limits if limit), default=None)


def look_at_storage(root: Path) -> StorageFacts:
    """Create the storage root if need be, as who submits a job does, and write to it."""
    new = present_id(root) is None
    try:
        identity = storage_id(root)
        jobs = root / "jobs"  # may be a mount of its own
        probe = jobs / f"{TEMPORARY_PREFIX}doctor-{secrets.token_hex(4)}"
        probe.write_bytes(b"a file that is removed at once")
        probe.unlink()
        usage = shutil.disk_usage(jobs)
    except StorageError as error:
        cause = error.__cause__
        reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
        return StorageFacts(root=str(root), id=None, problem=reason)
    except OSError as error:
        return StorageFacts(root=str(root), id=None, problem=error.strerror or str(error))
    return StorageFacts(
        root=str(root),
        id=identity,
        problem=None,
        new=new,
        free_bytes=usage.free,
        total_bytes=usage.total,
    )


def installed_keras() -> str | None:
    """The installed Keras, found without importing it."""
    try:
        return version("keras")
    except PackageNotFoundError:
        return None


def look_at_flower(url: str) -> FlowerFacts:
    """Knock at Flower without a password, and again at this machine's other addresses.

    That Flower is open at a loopback address says nothing of who else can reach it, so the same
    port is tried where only a server that listens on all interfaces answers.
    """
    door = knock(url)
    if door is not Door.OPEN:
        return FlowerFacts(url=url, door=door)
    parts = urlsplit(url)
    if not is_loopback(parts.hostname or ""):
        return FlowerFacts(url=url, door=door, open_at=(url,))
    port = parts.port or (443 if parts.scheme == "https" else 80)
    others = [parts._replace(netloc=f"{host}:{port}").geturl() for host in other_addresses()]
    return FlowerFacts(url=url, door=door, open_at=tuple(u for u in others if knock(u) is door))


def knock(url: str) -> Door:
    """What a page of Flower answers. Not `/api`, which is shut even where the pages are open."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), StayHere())
    try:
        with opener.open(f"{url.rstrip('/')}/workers", timeout=2) as answer:
            page = answer.read(100_000)
    except urllib.error.HTTPError as error:
        error.close()
        return Door.LOCKED if error.code in (301, 302, 303, 307, 401, 403) else Door.CLOSED
    except (OSError, http.client.HTTPException):
        return Door.CLOSED
    return Door.OPEN if b"Flower</title>" in page else Door.CLOSED


class StayHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: where Flower sends strangers to log in, it is locked."""

    def redirect_request(self, *_: Any) -> None:
        """Refuse."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    return host == "localhost" or host == "::1" or host.startswith("127.")


def other_addresses() -> list[str]:
    """IPv4 addresses at which a server on all interfaces answers, but not one on 127.0.0.1.

    All of 127.0.0.0/8 is loopback on Linux, yet a server on 127.0.0.1 answers nowhere else in it.
    """
    addresses = ["127.0.0.2"]
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("198.51.100.1", 9))  # sends nothing: it only chooses the interface
        addresses.insert(0, probe.getsockname()[0])
    return addresses


def brief(error: BaseException) -> str:
    """The first line of an error."""
    lines = str(error).strip().rstrip(".").splitlines()
    return lines[0] if lines else type(error).__name__


# The command.


def run_doctor(*, as_json: bool) -> int:
    """Print what was found; returns the exit code: 1 when there is a fault, else 0."""
    storage, broker, _ = read_settings()
    findings = examine(gather_facts(broker, storage, from_environment(DoctorSettings)))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        show_findings(findings)
    return int(any(finding.status is Outcome.FAULT for finding in findings))


def show_findings(findings: Sequence[Finding]) -> None:
    """Faults with their remedies first, and what is well in one line."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    styles = {Outcome.FAULT: "bold red", Outcome.WARNING: "yellow", Outcome.SKIPPED: "dim"}
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        if finding.status in styles:
            style = styles[finding.status]
            text = Text(finding.message)
            if finding.remedy:
                text.append(f"\n{finding.remedy}", "bold")
            table.add_row(Text(finding.status, style), Text(finding.check), text)
    well = [finding.check for finding in findings if finding.status is Outcome.OK]
    if well:
        table.add_row(Text("ok", "green"), "", Text(", ".join(well)))
    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(table)
