"""Runs one message: once, exactly, whatever happened to the batch before.

A batch is done when its result file exists. Everything else here is about not doing it twice at
the same time, not stopping the job when a worker died over it, and passing the job on.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import redis
from kombu.exceptions import OperationalError

from console.counts import counted
from dispatch.batch_message import message_of
from evaluation.ranking import Ranking
from imaging.errors import ImageError
from imaging.images import Pixels
from messaging.errors import BadMessage
from messaging.messages import PredictBatch
from storage.errors import (
    ConflictingResult,
    Corrupt,
    NotFound,
    StorageAway,
    StorageUnwritable,
    UnsafePath,
)
from storage.identity import present_id, refusal_of, require_content, require_source
from storage.jobs.attempts import DUPLICATE, Attempt, Heartbeat, History
from storage.jobs.job import Job, Status
from storage.jobs.labels import read_labels
from storage.jobs.results import BatchResult
from storage.jobs.store import JobStore
from storage.jobs.stored_job import StoredJob
from storage.jobs.tally import Tally
from storage.models.store import ModelPin
from storage.settings import StorageSettings
from worker.batches.batch import (
    NOT_OF_AN_IMAGE,
    BatchReader,
    classify_batch,
    classify_new,
    reason_of,
)
from worker.batches.phases import Phases
from worker.batches.progress import JobStopped, Progress
from worker.batches.quarantine import (
    HOPELESS_ERRORS,
    hopeless,
    is_suspect,
    is_too_slow,
    left_out,
    walk,
)
from worker.batches.reuse import Reuse
from worker.batches.watchdog import StepTooLong, Watchdog
from worker.errors import ModelRefused
from worker.runtimes.model_cache import ModelCache

if TYPE_CHECKING:
    from worker.runtimes.predictor import Predictor

log = logging.getLogger(__name__)

REFUSALS = (Corrupt, NotFound, UnsafePath, ModelRefused)
"""What fails a job for good, if storage is there."""

MEASURED_SECONDS = 0.2
"""What was computed in less says little of a model's speed."""

Summary = dict[str, Any]


class BatchRunner:
    """What a worker process needs to run batches.

    `send` puts a message on the queue, `notify(job_id, fields)` tells listeners and
    `tell_speed(sha256, images_per_second)` producers; all may fail with the broker, which costs
    time but no result.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        models: ModelCache,
        reuse: Reuse,
        settings: StorageSettings,
        watchdog: Watchdog | None = None,
        send: Callable[[PredictBatch], object],
        notify: Callable[[str, Summary], object],
        tell_speed: Callable[[str, float], object] = lambda sha256, images_per_second: None,
    ) -> None:
        self._jobs = jobs
        self.models = models
        self._reuse = reuse
        self._settings = settings
        self._watchdog = watchdog
        self._send = send
        self._notify = notify
        self._tell_speed = tell_speed
        self._heartbeat = Heartbeat(settings.lease_seconds / 5)
        self._storage_id: str | None = None
        self._tally = lru_cache(maxsize=16)(lambda job: Tally(jobs.of(job)))

    def run(self, message: PredictBatch) -> Summary:
        """Run a batch unless that is needless; returns a small summary for people to read.

        Raises `StorageAway` when storage is not there, or full, and `ImportError` when this worker
        lacks the runtime of the job: the batch has to go back to the queue.
        """
        try:
            return self._run(message)
        except (OSError, StorageUnwritable) as error:
            self._require_jobs()
            if refusal := refusal_of(error, self._jobs.root):
                raise refusal from error
            raise

    def _run(self, message: PredictBatch) -> Summary:
        stored = self._find(message.job)
        job, batch = stored.job, message.batch
        if batch >= job.batches:
            raise BadMessage(
                f"Job {job.id} has {counted(job.batches, 'batch', 'batches')}, "
                f"there is no batch {batch}."
            )
        if stop := stored.stopped():
            return {"skipped": f"job {stop.status}"}
        if stored.results.has(batch):
            summary: Summary = {"skipped": "done before"}
        else:
            history = stored.attempts.history(batch, self._settings.lease_seconds)
            if history.live:
                return {"skipped": "another worker runs it"}
            summary = self._attempt(stored, batch, history)
        self._pass_on(stored, batch, summary)
        return summary

    def _find(self, job_id: str) -> StoredJob:
        """The job, not remembered: its id may have been given anew."""
        try:
            stored = self._jobs.open(job_id)
        except NotFound:
            self._require_jobs()
            stored = self._jobs.open(job_id)  # it may have come back between the two looks
        self._storage_id = present_id(self._jobs.root)
        return stored

    def _attempt(self, stored: StoredJob, batch: int, history: History) -> Summary:
        """Run a batch under its log, so that whoever comes next knows how it ended."""
        job, phases = stored.job, Phases()
        attempt = stored.attempts.begin(batch, self._settings.lease_seconds)
        self._heartbeat.follow(attempt)
        outcome = "interrupted"  # a worker told to stop is no error of the batch
        try:
            with self._watchdog.watching() if self._watchdog else nullcontext():
                result = self._classify_for_sure(stored, batch, history, attempt, phases)
            with phases("write"):
                new = stored.results.write(batch, result)
            outcome = "done" if new else DUPLICATE
            self._measure(job, result, phases)
            with phases("count"):
                self._check_failure_rate(stored, result)
                return self._summarise(stored, batch, result, phases)
        except StorageAway as error:
            outcome = f"storage: {error}"
            raise
        except ImportError as error:
            outcome = f"worker: {error}"  # a runtime that is not there is no fault of the batch
            raise
        except (*REFUSALS, ConflictingResult) as error:
            outcome = f"refused: {error}"
            stored.stop(Status.FAILED, str(error))
            return {"failed": str(error)}
        except JobStopped:
            return {"skipped": "its job was stopped"}
        except StepTooLong:
            outcome = "timeout"
            log.warning("Batch %s of job %s ran into the time limit of a step.", batch, job.id)
            self._send(message_of(job, batch))
            return {"failed": "time limit"}
        except OSError as error:
            outcome = f"storage: {error}"  # a full disk, say
            raise
        except Exception as error:
            outcome = f"error: {error}"
            if history.errors + 1 >= HOPELESS_ERRORS:
                reason = (
                    f"Batch {batch} failed {HOPELESS_ERRORS} times, at last with: {error} "
                    f"({self._images(stored, batch)})"
                )
                stored.stop(Status.FAILED, reason)
            else:
                self._send(message_of(job, batch))
            raise
        finally:
            self._heartbeat.follow(None)
            attempt.end(outcome, phases.seconds)

    def _classify_for_sure(
        self, stored: StoredJob, batch: int, history: History, attempt: Attempt, phases: Phases
    ) -> BatchResult:
        """Classify; what is missing or damaged is so only if it is twice, with storage there."""
        with self._storage_there(stored):
            try:
                with self._storage_there(stored):
                    return self._classify(stored, batch, history, attempt, phases)
            except REFUSALS:
                return self._classify(stored, batch, history, attempt, phases)

    @contextmanager
    def _storage_there(self, stored: StoredJob) -> Iterator[None]:
        """Raise `StorageAway` instead of a refusal unless all that the job needs is mounted."""
        try:
            yield
        except REFUSALS:
            self._require_jobs()
            require_content(self._jobs.root / "models")
            if array := stored.job.array:
                require_source(self._jobs.root, array.images, stored.submitted_at())
            raise

    def _require_jobs(self) -> None:
        """Raise `StorageAway` unless storage is there: the one of the last job, with jobs on it."""
        require_content(self._jobs.folder)
        if self._storage_id and present_id(self._jobs.root) != self._storage_id:
            raise StorageAway(
                f"Another folder lies at {self._jobs.root} than before: mount shared storage there."
            )

    def _loading(self, pin: ModelPin) -> AbstractContextManager[None]:
        """No limit of a step for a version that has still to be loaded."""
        if self._watchdog is None or pin in self.models:
            return nullcontext()
        return self._watchdog.unhurried()

    def _classify(
        self, stored: StoredJob, batch: int, history: History, attempt: Attempt, phases: Phases
    ) -> BatchResult:
        job = stored.job
        if reason := hopeless(history):
            return all_failed(job, batch, reason)
        with phases("model"), self._loading(job.model):
            predictor = self.models.get(job.model)
        with phases("open"):
            reader = BatchReader(
                stored, batch, predictor.shape, predictor.preprocessing, self._settings
            )
        progress = Progress(
            self._watchdog, lambda: stored.stopped() is not None, attempt.note_finished
        )
        skip = left_out(history)
        if is_suspect(history):

            def try_image(position: int) -> str | None:
                try:
                    pixels = reader.read(position)[np.newaxis]
                except ImageError:
                    return None  # a bad image is not a dangerous one
                except NOT_OF_AN_IMAGE:
                    raise
                except Exception as error:
                    return reason_of(error)
                progress.step()
                return self._blame(predictor, pixels)

            log.warning("Batch %s of job %s is tried image by image.", batch, job.id)
            with phases("quarantine"):
                skip = dict(walk(reader.count, history, attempt, try_image))
        chunk = 1 if is_too_slow(history) else predictor.chunk
        with phases("open"):
            saved = None if job.reuse else stored.results.saved(batch)
        if job.reuse:
            return classify_new(
                job, reader, predictor, skip, phases, progress, self._reuse, chunk=chunk
            )
        return classify_batch(
            job,
            reader,
            predictor,
            skip,
            phases,
            progress,
            saved=saved,
            save=lambda result: self._save(stored, batch, result),
            chunk=chunk,
        )

    def _save(self, stored: StoredJob, batch: int, result: BatchResult) -> None:
        """A full disk costs the next attempt its time, not this one its result."""
        try:
            stored.results.save(batch, result)
        except OSError as error:
            log.info(
                "What is done of batch %s of job %s is not saved: %s", batch, stored.job.id, error
            )

    @staticmethod
    def _blame(predictor: "Predictor", pixels: Pixels) -> str | None:
        """Why these pixels (1, H, W, C) cannot be classified, if it is they that raise an error.

        What raises with an empty image as well is not the image's fault, and is raised.
        """
        try:
            predictor(pixels)
        except OSError:
            raise
        except Exception as error:
            predictor(np.zeros_like(pixels))
            return reason_of(error)
        return None

    def _check_failure_rate(self, stored: StoredJob, result: BatchResult) -> None:
        job = stored.job
        if job.max_failure_rate is None or not result.errors:
            return
        tally = self._tally(job)
        tally.refresh(
            on_damage=lambda error: log.warning("%s Until then it is not counted.", error)
        )
        if reason := job.excess(tally.failed):
            stored.stop(Status.FAILED, reason)

    def _summarise(
        self, stored: StoredJob, batch: int, result: BatchResult, phases: Phases
    ) -> Summary:
        job, failed = stored.job, len(result.errors)
        summary: Summary = {
            "model": str(job.model),
            "batch": f"{batch + 1}/{job.batches}",
            "images": len(result.predictions),
        }
        labels = read_labels(stored, batch)
        if labels is not None:
            summary["correct"] = int((labels == result.predictions).sum())
        if failed:
            summary["failed"] = failed
        if result.reused is not None:
            summary["reused"] = result.reused
        summary["ms"] = round(1000 * sum(phases.seconds.values()), 1)
        return summary

    def _measure(self, job: Job, result: BatchResult, phases: Phases) -> None:
        """Tell producers how fast the model is here: the next job's batches are cut by it."""
        computed = len(result.predictions) - (result.reused or 0)
        seconds = phases.seconds.get("predict", 0.0)
        if seconds < MEASURED_SECONDS:
            return
        try:
            self._tell_speed(job.model.sha256, computed / seconds)
        except (redis.RedisError, OSError) as error:
            log.info("The speed of %s is not told: %s", job.model, error)

    def _images(self, stored: StoredJob, batch: int) -> str:
        """Which images a batch has, for people to look at."""
        job = stored.job
        if job.array:
            span = job.span(batch)
            return f"images {span.start} to {span.stop - 1} of {job.array.images}"
        try:
            paths = stored.inputs.read_columns(batch).paths
        except (Corrupt, KeyError):
            return "its images cannot be read"
        return f"{paths[0]} to {paths[-1]}"

    def _pass_on(self, stored: StoredJob, batch: int, summary: Summary) -> None:
        """Send the next batch of the chain and notify. The result is safe by now.

        When the broker is away, the chain stands still until the sweep or a waiting producer
        sends it again.
        """
        job = stored.job
        try:
            successor = stored.chains.successor(batch)
            if successor is not None:
                self._send(message_of(job, successor))
            self._notify(job.id, {"event": "batch", "number": batch, **summary})
        except (redis.RedisError, OperationalError, OSError) as error:
            log.warning("Job %s could not be passed on after batch %s: %s", job.id, batch, error)


def all_failed(job: Job, batch: int, reason: str) -> BatchResult:
    """The result of a batch that was given up: every image an error with this reason."""
    count = len(job.span(batch))
    return BatchResult(
        model=job.model,
        ranking=Ranking.failed(count, job.depth),
        errors=dict.fromkeys(range(count), reason),
    )
