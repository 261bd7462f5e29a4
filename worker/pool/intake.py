"""Opens and closes the queues of a worker: it takes batches only while it can run them.

That is while a child is ready and shared storage is there. Both are looked at anew every second, so
that a worker recovers by itself. Meanwhile the messages stay in their queues, for other workers.
"""

import logging
import threading
import time
from functools import cached_property
from typing import Any

from celery.bootsteps import StartStopStep
from celery.concurrency.prefork import TaskPool
from celery.worker import state
from celery.worker.consumer.tasks import Tasks

from process.limits import memory_kills
from storage.errors import StorageError
from storage.files import list_folders
from storage.identity import StorageWatch
from storage.settings import storage_settings
from worker.pool.children import DEATHS_BEFORE_SHRINKING, children

LOOK_SECONDS = 1.0
STALE_SECONDS = 10.0
"""Storage that has not answered for so long counts as absent: a network mount can hang for ever."""
PAUSE_SECONDS = 5.0
"""How long no batch is taken after one whose files were not there."""
SETTLED_SECONDS = 30.0
"""After so long without such a batch storage counts as well again."""
REPEAT_SECONDS = 300.0
"""How often the same reason for taking no batches is logged."""
PREPARING = "Its children are preparing."

log = logging.getLogger(__name__)


class StorageState:
    """What a thread last found out about shared storage: the event loop never waits for it."""

    def __init__(self) -> None:
        self._looked = threading.Event()
        self._at = 0.0
        self.id: str | None = None
        self.has_jobs = False
        """Whether there is any job, as far as it is known."""
        self._problem: str | None = None

    def begin(self) -> None:
        """Look now, and every second from now on; waits a little for the first time."""
        if not self._at:
            self._at = time.monotonic()
            threading.Thread(target=self._run, name="storage", daemon=True).start()
            self._looked.wait(2 * LOOK_SECONDS)

    @cached_property
    def _watch(self) -> StorageWatch:
        return StorageWatch(storage_settings().root)

    @property
    def problem(self) -> str | None:
        """Why storage cannot be used, if so."""
        if not self._looked.is_set() or time.monotonic() - self._at > STALE_SECONDS:
            return f"Shared storage at {self._watch.root} does not answer: look after its mount."
        return self._problem

    def _run(self) -> None:
        while True:
            try:
                self.id, self._problem = self._watch.look(), None
                self.has_jobs = bool(list_folders(self._watch.root / "jobs"))
            except (StorageError, OSError) as error:
                self.id, self._problem = None, str(error)
            self._at = time.monotonic()
            self._looked.set()
            time.sleep(LOOK_SECONDS)


class Intake:
    """Whether batches are taken, and why not."""

    def __init__(self) -> None:
        self.storage = StorageState()
        self.problem: str | None = None
        """Why no batches are taken, unless its children have only just begun."""
        self.children: int | None = None
        """Size of the pool, as soon as it is known."""
        self._closed: tuple[str, ...] = ()
        self._paused_until = 0.0
        self._complaint: str | None = None
        self._told: dict[str, float] = {}
        """When each reason was logged, since batches were taken last."""
        self._kills = memory_kills()

    def look(self, consumer: Any) -> None:
        """Open or close the queues of Celery's consumer as children and storage are now."""
        reason = self._reason_to_close(consumer)
        self.problem = None if reason == PREPARING else reason
        self.children = consumer.pool.num_processes
        self._tell(reason)
        queues = consumer.app.amqp.queues
        if reason and not self._closed:
            self._closed = tuple(queues.consume_from)
            for name in self._closed:
                queues.deselect(name)
                consumer.task_consumer.cancel_by_queue(name)
        elif self._closed and not reason:
            for name in self._closed:
                consumer.add_task_queue(name)
            self._closed = ()

    def _tell(self, reason: str | None) -> None:
        """Log a reason once, and again every few minutes; and when batches are taken again.

        Full storage shows only when a batch is tried: between two tries nothing is known.
        """
        now = time.monotonic()
        if self.problem:
            told_at = self._told.get(self.problem)
            if told_at is None or now >= told_at + REPEAT_SECONDS:
                log.warning("No batches are taken. %s", self.problem)
                self._told[self.problem] = now
        elif self._told and not reason and now >= self._paused_until + SETTLED_SECONDS:
            log.warning("Batches are taken again.")
            self._told.clear()

    def _reason_to_close(self, consumer: Any) -> str | None:
        unready = False
        if isinstance(consumer.pool, TaskPool):  # other pools have no children
            died = children.hear(set(consumer.pool.info["processes"]))
            if self._too_many(died) and consumer.pool.num_processes > 1:
                shrink(consumer)
            unready = not children.ready
        if unready and children.problem:
            return children.problem
        if self.storage.problem:
            return self.storage.problem
        if complaint := children.take_complaint():
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            self._complaint = complaint
        if time.monotonic() < self._paused_until:
            return self._complaint
        # Where there is no job at all, no batch can be of one: storage was never mounted here.
        if self._complaint and not self.storage.has_jobs:
            return self._complaint
        self._complaint = None
        return PREPARING if unready else None

    def _too_many(self, died: int) -> bool:
        """Whether there is no room for so many children, `died` of which just now, not ready yet.

        A child that is killed at work may have had an image to work on that took it all.
        """
        kills, self._kills = self._kills, memory_kills()
        killed = self._kills > kills and (died > 0 or not state.active_requests)
        return killed or children.deaths >= DEATHS_BEFORE_SHRINKING


def shrink(consumer: Any) -> None:
    """Go on with one child less, as Celery's own command does."""
    try:
        consumer.pool.shrink(1)
    except ValueError:
        return  # all are at work: later
    consumer._update_prefetch_count(-1)
    children.deaths = 0
    log.warning("There is too little memory: the pool shrinks to %s.", consumer.pool.num_processes)


intake = Intake()


class IntakeStep(StartStopStep):
    """The step of Celery's consumer that looks; begun anew with each connection to the broker."""

    requires = (Tasks,)

    def start(self, consumer: Any) -> None:
        """Look now, whenever a child has something to tell, and every second."""
        # Celery ends a worker one of whose children died before the first connection.
        consumer.pool.did_start_ok = lambda: True
        intake.storage.begin()
        intake.look(consumer)
        self._timer = consumer.timer.call_repeatedly(LOOK_SECONDS, intake.look, (consumer,))
        if consumer.hub:
            consumer.hub.add_reader(children.inbox, intake.look, consumer)

    def stop(self, consumer: Any) -> None:
        self._timer.cancel()
        if consumer.hub:
            consumer.hub.remove_reader(children.inbox)
