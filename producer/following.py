"""Follows a job until it ends: the files are the truth, notifications a hint to look at them.

Whoever follows a job also keeps it going: batches whose messages were lost are sent again.
"""

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dispatch.batch_message import message_of
from dispatch.predict_queue import PredictQueue
from dispatch.resending import send_lost
from messaging.errors import BrokerUnavailable
from messaging.messages import job_of
from producer.errors import DamagedResult
from producer.results.merging import Gathering
from storage.errors import StorageAway, StorageError
from storage.identity import StorageWatch, present_id, refusal_of, require_content
from storage.jobs.job import Status
from storage.jobs.stored_job import StoredJob
from storage.jobs.tally import Tally


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """How often a follower does what."""

    poll_seconds: float = 1.0
    """It looks at the files this often though no notification comes."""
    max_throttle_seconds: float = 0.2
    """It looks at them this often at least while notifications come."""
    resend_seconds: float = 3.0
    """It looks for lost batches this often."""
    stall_seconds: float = 10.0
    """After every so long without a new result it asks whether there is any worker."""
    max_backoff_seconds: float = 10.0
    """It looks this often at least whether storage is there again."""
    long_batch_seconds: float = 2.0
    """After so long without a new result it looks what running batches have finished."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a job is."""

    status: Status
    batches: int
    """Batches done."""
    images: int
    """Images done, failed ones included: those of finished batches, and of long ones so far."""
    total: int
    tally: Tally
    """Counts; final once `status.ended`."""
    notice: str | None = None
    """Something the user should know, said once."""


class Follower:
    """Follows one job. `queued=False` when its messages have still to be sent."""

    def __init__(
        self,
        stored: StoredJob,
        queue: PredictQueue,
        *,
        lease_seconds: float,
        queued: bool = True,
        intervals: Intervals = Intervals(),
    ) -> None:
        self._stored = stored
        self._job = stored.job
        self._queue = queue
        self._lease_seconds = lease_seconds
        self._queued = queued
        self._intervals = intervals
        self._notifications: Iterator[bool] | None = None
        self._discarded: set[int] = set()
        self._unavailable = False
        self._resend_at = time.monotonic() + intervals.resend_seconds
        self._done = 0
        self._finished: dict[int, int] = {}
        self._count_at = 0.0
        self._quiet_since = time.monotonic()
        self._told_of_workers = False
        self._storage_id = present_id(stored.root)
        self._last: Progress | None = None
        self._draft = secrets.token_hex(4)
        if not queued:
            self._send_idle_now()

    def __iter__(self) -> Iterator[Progress]:
        """Progress whenever the files were looked at; the last one has ended.

        The one before it has all results, which can be read while they are not merged yet. While
        storage is away there is no progress. Raises `StorageError` where it is from the beginning.
        """
        last_notice, pause = "", self._intervals.poll_seconds
        while True:
            try:
                for progress in self._follow():
                    last_notice, pause = "", self._intervals.poll_seconds
                    self._last = progress
                    yield progress
            except (OSError, StorageError, DamagedResult) as error:
                problem = self._storage_problem(error)
                if problem is None:
                    raise
                if self._last is None:
                    raise problem from error
                notice = f"{problem} The job waits meanwhile; nothing of it is lost."
                yield replace(self._last, notice=None if notice == last_notice else notice)
                last_notice = notice
                time.sleep(pause)
                pause = min(2 * pause, self._intervals.max_backoff_seconds)
            else:
                return

    def _follow(self) -> Iterator[Progress]:
        """Progress to the end of the job, or of storage; its results are taken in anew."""
        with Gathering(self._stored, self._draft) as gathering:
            while True:
                notice = self._look(gathering)
                if gathering.unmerged:
                    yield self._progress(gathering, Status.RUNNING, notice)
                    gathering.merge()
                    notice = None
                status = self._stored.status(gathering.done, gathering.tally.failed)
                if status.ended:
                    gathering.count_all()
                    yield self._progress(gathering, status, notice)
                    return
                notice = notice or self._resend_lost() or self._check_for_workers(gathering.done)
                yield self._progress(gathering, status, notice)
                self._wait(gathering.scan_seconds)

    def _storage_problem(self, error: Exception) -> StorageError | None:
        """What is wrong with storage as a whole; none where an error is that of the job alone."""
        root = self._stored.root
        if refusal := refusal_of(error, root):
            return refusal
        try:
            if self._storage_id:
                StorageWatch(root, self._storage_id).look()
            else:
                require_content(self._stored.folder.parent)
        except StorageError as problem:
            return problem
        except OSError as problem:
            return StorageAway(f"Shared storage at {root} does not answer ({problem.strerror}).")
        return None

    def _progress(self, gathering: Gathering, status: Status, notice: str | None) -> Progress:
        under_way = 0 if status.ended else self._under_way()
        return Progress(
            status=status,
            batches=gathering.done,
            images=gathering.images + under_way,
            total=self._job.total,
            tally=gathering.tally,
            notice=notice,
        )

    def _under_way(self) -> int:
        """Images that batches without a result have finished, counted anew every second or so."""
        now, intervals = time.monotonic(), self._intervals
        is_long = now - self._quiet_since >= intervals.long_batch_seconds
        if now >= self._count_at and (is_long or any(self._finished.values())):
            self._count_at = now + intervals.poll_seconds
            self._finished = {
                head: self._stored.attempts.history(head, self._lease_seconds).finished
                for head in self._stored.chains.heads()
            }
        return sum(n for head, n in self._finished.items() if not self._stored.results.has(head))

    def _look(self, gathering: Gathering) -> str | None:
        """Take in new results.

        A damaged one is thrown away once, to be computed again, unless nothing more is computed.
        """
        notice = None
        while True:
            try:
                gathering.look()
            except DamagedResult:
                batch = gathering.next_batch
                if batch in self._discarded or self._stored.stopped():
                    raise
                self._discarded.add(batch)
                self._stored.results.discard(batch)
                self._send_idle_now()
                notice = (
                    f"The result of batch {batch} is damaged: it was removed, to be computed again."
                )
            else:
                return notice

    def _send_idle_now(self) -> None:
        """Do not wait for a lease: the messages are known not to be there."""
        self._queued = False
        self._resend_at = 0.0

    def _resend_lost(self) -> str | None:
        """Send lost batches again, every few seconds."""
        now = time.monotonic()
        if now < self._resend_at:
            return None
        self._resend_at = now + self._intervals.resend_seconds
        chains = self._stored.chains
        find = chains.stalled if self._queued else chains.idle_heads
        if stalled := find(self._lease_seconds):
            try:
                sent = send_lost(
                    self._stored,
                    stalled,
                    waiting=self._queue.waiting(),
                    lease_seconds=self._lease_seconds,
                    send=self._queue.send,
                )
            except BrokerUnavailable as error:
                return self._say_unavailable(error)
            self._unavailable = False
            if self._queued:
                return self._say_sent_again(sent)
        self._queued = True
        return None

    def _say_sent_again(self, sent: Sequence[int]) -> str:
        """The logs of attempts tell a message that got lost from a batch that was given up."""
        begun = {
            batch
            for batch in sent
            if self._stored.attempts.history(batch, self._lease_seconds).attempts
        }
        fates = (("had got lost", len(sent) - len(begun)), ("had not come to an end", len(begun)))
        return " ".join(
            f"{count} batch{'es' * (count > 1)} of job {self._job.id} {fate} and "
            f"{'were' if count > 1 else 'was'} sent again."
            for fate, count in fates
            if count
        )

    def _check_for_workers(self, done: int) -> str | None:
        """After some time in which nothing was done, see whether anybody works on the job."""
        if done != self._done:
            self._done, self._quiet_since, self._told_of_workers = done, time.monotonic(), False
        quiet = time.monotonic() - self._quiet_since
        if self._told_of_workers or quiet < self._intervals.stall_seconds:
            return None
        self._quiet_since = time.monotonic()
        if self._has_live_attempt():
            return None  # some batches take longer
        try:
            in_hand = self._queue.in_hand(message_of(self._job, 0).queue)
            obstacles = self._queue.obstacles() if in_hand is None else {}
        except BrokerUnavailable as error:
            return self._say_unavailable(error)
        self._unavailable = False
        self._told_of_workers = True
        if obstacles:
            worker, obstacle = next(iter(obstacles.items()))
            return f"No worker takes batches. {worker} says: {obstacle}"
        if in_hand is None:
            needs = ""
            if self._job.model.runtime == "tensorflow":
                needs = f" for what needs TensorFlow, as {self._job.model} does"
            return (
                f"No worker seems to listen{needs}: start one with `celery -A worker worker`, on "
                "the same Redis and the same BATCHSIGHT_STORAGE."
            )
        if any(job_of(key) == self._job.id for key in in_hand):
            return None
        if in_hand:
            return f"The workers are busy with other jobs; {self._job.id} waits for its turn."
        return (
            f"Workers listen, but none has begun job {self._job.id} yet; if that lasts, "
            "`producer doctor` tells why."
        )

    def _has_live_attempt(self) -> bool:
        """Whether somebody runs a batch of the job now."""
        heads = self._stored.chains.heads()
        return any(self._stored.attempts.history(h, self._lease_seconds).live for h in heads)

    def _wait(self, scan_seconds: float) -> None:
        """Sleep until it is worth looking again: until a notification comes, or for a second.

        Finding the results is not repeated before ten times its cost has passed: a producer
        leaves the cores to the workers, however many of them notify and however large the job.
        """
        looked_at = time.monotonic()
        try:
            if self._notifications is None:
                self._notifications = self._queue.listen(self._job.id, self._intervals.poll_seconds)
            next(self._notifications)
        except (BrokerUnavailable, StopIteration):
            self._notifications = None
            time.sleep(self._intervals.poll_seconds)
        pause = min(10 * scan_seconds, self._intervals.max_throttle_seconds)
        time.sleep(max(0.0, looked_at + pause - time.monotonic()))

    def _say_unavailable(self, error: BrokerUnavailable) -> str | None:
        if self._unavailable:
            return None
        self._unavailable = True
        return f"{error} The job waits meanwhile; nothing of it is lost."
