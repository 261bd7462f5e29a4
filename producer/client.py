"""Batchsight for Python programs: submit images, follow the job, read what came of it.

client = PredictionClient()
job = client.submit(images, labels=labels)  # arrays; or "mnist:test", a folder, a manifest
for record in job:  # in order, as batches finish
    print(record.id, record.prediction, record.score)
print(job.wait().accuracy)
frame = job.to_pandas()

Whatever goes wrong is a `BatchsightError`, whose message is a sentence.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from console.counts import counted
from console.errors import BatchsightError
from dispatch.batch_message import message_of
from dispatch.predict_queue import PredictQueue, RedisQueue
from messaging.errors import BrokerUnavailable
from messaging.settings import BrokerSettings
from producer.errors import JobStopped, ModelUnclear, NotQueued, ResultTooLarge
from producer.options import Options
from producer.results.summary import JobLine, Summary, line_of, summarise
from producer.settings import ProducerSettings, read_settings
from producer.sources.open_source import open_source
from producer.sources.source import BATCHES_OF_A_SMALL_JOB, FEWEST_IMAGES, Prepared, Request
from storage.errors import StorageError
from storage.jobs.job import End, Job, Status
from storage.jobs.reuse import ReuseStore
from storage.jobs.store import JobStore, apart
from storage.jobs.stored_job import StoredJob
from storage.jobs.tally import Tally
from storage.models.store import ModelStore, ModelVersion
from storage.settings import StorageSettings

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from producer.following import Progress
    from producer.report.writing import Report
    from producer.results.labelling import Labelling
    from producer.results.pruning import Pruned
    from producer.results.records import Record
    from producer.results.recovery import Resumption
    from producer.results.timeline import Timeline

__all__ = ["BatchsightError", "JobHandle", "PredictionClient"]

BATCH_SECONDS = 1.0
"""A batch should last long enough to hide the queue, and be short to cancel and to repeat."""
LIMIT_SHARE = 0.1
"""So much of its time limit a batch should last at most: workers may be slower, or busy."""
RANK_BYTES = 8
"""What a class that is kept of an image takes in memory, with its score."""
RESULT_BYTES = 32_000_000
"""So much memory the result of a batch may take."""
MOST_RESULTS = 16
"""Times that, where the user chose the size of the batches."""
MUCH_STORAGE = 100_000_000
"""Bytes that are worth a word."""
UNKNOWN_IMAGES_PER_SECOND = 1.0
"""What no model that is of any use falls short of. Small batches cost time, too large ones fail."""


class JobHandle:
    """One job on storage. Iterating over it gives a `Record` per image."""

    def __init__(
        self,
        stored: StoredJob,
        queue: PredictQueue,
        *,
        models: ModelStore,
        storage: StorageSettings,
        notes: Sequence[str] = (),
        unsent: NotQueued | None = None,
    ) -> None:
        self.stored = stored
        self.job = stored.job
        self.notes = notes
        """What the user should know of the submission, one sentence each."""
        self.unsent = unsent
        """Why the job's messages could not be sent yet; whoever follows it sends them."""
        self._queue = queue
        self._models = models
        self._storage = storage

    @property
    def id(self) -> str:
        """The job's id."""
        return self.job.id

    def __repr__(self) -> str:
        return f"<Job {self.id}: {counted(self.job.total, 'image')} for {self.job.model}>"

    def __iter__(self) -> "Iterator[Record]":
        """A record per image, in order, as batches finish; holds one batch in memory.

        Raises `JobStopped` after the last record of a job that failed or was cancelled.
        """
        from producer.results.records import read_batch, read_records

        told = 0
        for progress in self.watch():
            in_order = range(told, progress.tally.batches)
            ready = sorted(self.stored.results.done())[told:] if progress.status.ended else in_order
            for batch in ready:
                yield from read_records(read_batch(self.stored, batch))
            told = max(told, in_order.stop)
        self._check_complete()

    def watch(self) -> "Iterator[Progress]":
        """Progress at least every second until the job ends; lost batches are sent again."""
        from producer.following import Follower

        return iter(
            Follower(
                self.stored,
                self._queue,
                lease_seconds=self._storage.lease_seconds,
                queued=self.unsent is None,
            )
        )

    def wait(self) -> Summary:
        """Wait until the job has ended and its predictions are merged."""
        for progress in self.watch():
            tally = progress.tally
        return summarise(self.stored, tally)

    def tally(self) -> Tally:
        """Count all results there are; the predictions of a completed job are merged as well."""
        from producer.results.merging import merge

        return merge(self.stored)

    def summary(self) -> Summary:
        """The job as it stands now."""
        return summarise(self.stored, self.tally())

    def records(self) -> "Iterator[pa.Table]":
        """The records there are, in order: one Arrow table per finished batch."""
        from producer.results.records import read_tables

        return read_tables(self.stored)

    def to_arrow(self) -> "pa.Table":
        """All records in one table.

        Waits for the job; raises `JobStopped` when it fails or is cancelled.
        """
        import pyarrow as pa

        from producer.results.records import plain, read_batch

        if len(self.stored.results.done()) < self.job.batches:
            for _ in self.watch():
                pass
        self._check_complete()
        batches = range(self.job.batches)
        return plain(pa.concat_tables([read_batch(self.stored, b) for b in batches]))

    def to_pandas(self) -> "pd.DataFrame":
        """The same as a data frame; raises `MissingLibrary` when pandas is not installed."""
        from producer.results.records import to_pandas

        return to_pandas(self.to_arrow())

    def end(self) -> End | None:
        """How, why and when the job ended; none while it goes on."""
        return self.stored.end(len(self.stored.results.done()))

    def _check_complete(self) -> None:
        end = self.end()
        if end is None or end.status is not Status.COMPLETED:
            done = len(self.stored.results.done())
            way_out = (
                f"`producer resume {self.id}` takes it up again."
                if done < self.job.batches
                else f"`producer results {self.id}` writes the records all the same."
            )
            batches = counted(self.job.batches, "batch", "batches")
            raise JobStopped(
                f"Job {self.id} ended with {done:,} of {batches} done: "
                f"{end.reason if end else 'results are missing.'} {way_out}"
            )

    def cancel(self) -> bool:
        """Stop the job within a batch; False when it has ended already."""
        if self.end():
            return False
        self.stored.stop(Status.CANCELLED, "It was cancelled by hand.")
        return True

    def resume(self, *, failed_only: bool = False) -> "Resumption":
        """Send again what is missing or damaged; with `failed_only` what has failed as well."""
        from producer.results.recovery import resume

        return resume(
            self.stored,
            self._queue,
            lease_seconds=self._storage.lease_seconds,
            failed_only=failed_only,
        )

    def timeline(self) -> "Timeline | None":
        """Where the job's time went, phase by phase; none when nobody has begun it."""
        from producer.results.timeline import trace

        return trace(self.stored)

    def report(self) -> Path:
        """Write report.html into the job's folder, as far as the job is, and return its path."""
        return self.write_report().path

    def write_report(self) -> "Report":
        """The same, with what the report was made of. A completed job is merged on the way."""
        from producer.report.writing import write_report

        return write_report(self.stored, self._models, self._storage)

    def label(self, path: Path) -> "Labelling":
        """Keep true labels of its images, from a `.csv` or `.jsonl` file with `id` and `label`."""
        from producer.results.labelling import label_job

        return label_job(self.stored, path)

    def dataset(self) -> str | None:
        """Name of the data set that its model was trained on; none when the model has gone."""
        try:
            return self._models.version(self.job.model.name, self.job.model.number).manifest.dataset
        except StorageError:
            return None

    def faults(self) -> Iterator[str]:
        """Read everything again and tell what is wrong, one sentence each."""
        from producer.results.verification import find_faults

        max_bytes = self._storage.max_image_bytes
        return find_faults(self.stored, self._models, max_bytes=max_bytes)


class PredictionClient:
    """Everything a producer does. Without arguments it is configured by the environment."""

    def __init__(
        self,
        *,
        storage: StorageSettings | None = None,
        broker: BrokerSettings | None = None,
        settings: ProducerSettings | None = None,
        queue: PredictQueue | None = None,
    ) -> None:
        if not (storage and broker and settings):
            defaults = read_settings()
            storage = storage or defaults[0]
            broker = broker or defaults[1]
            settings = settings or defaults[2]
        self._storage = storage
        self._settings = settings
        self._limit_seconds = broker.soft_time_limit_seconds
        self._queue = queue or RedisQueue(broker)
        self.jobs = JobStore(storage.root)
        self._models = ModelStore(storage.root)

    def submit(
        self,
        *source: str | PathLike[str] | NDArray[Any],
        labels: Iterable[object] | None = None,
        ids: Iterable[object] | None = None,
        model: str | None = None,
        batch_size: int | None = None,
        limit: int | None = None,
        job_id: str | None = None,
        max_in_flight: int | None = None,
        max_failure_rate: float | None = None,
        reuse: bool = False,
        top: int = 1,
        probabilities: bool = False,
        follow_links: bool = False,
        strict: bool = False,
    ) -> JobHandle:
        """Put a job on storage and its first batches on the queue.

        `source` is what `producer submit` takes, or a uint8 array (N, H, W) or (N, H, W, C); that
        may have `labels`, class names or whole numbers (see `array_labels`) with "" or -1 for
        unlabelled, and unique `ids`, which are positions otherwise. It is copied into the job.

        With `reuse` an image whose pixels the same model has classified before, in a job with
        `reuse`, is not computed again.

        The `top` likeliest classes are kept of each image, and with `probabilities` those of all
        classes, four bytes each.

        With `follow_links` the symbolic links of a folder are followed wherever they lead, and
        with `strict` its images of formats that are not supported become errors. What of a folder
        was not taken is counted in `passed_over` of the handle's job, and told in its notes.

        An id that exists already with the same images and model gives the existing job; with
        others it raises `AlreadyExists`. Raises `BrokerUnavailable` before anything is written
        when there is no Redis, `SourceError` for a source that cannot be used, `BadOption` for an
        option that is out of range.
        """
        created_at = datetime.now(UTC)
        chosen = Options.of(
            model=model,
            batch_size=batch_size,
            limit=limit,
            job_id=job_id,
            max_in_flight=max_in_flight,
            max_failure_rate=max_failure_rate,
            reuse=reuse,
            top=top,
            probabilities=probabilities,
            follow_links=follow_links,
            strict=strict,
        )
        job_id = new_job_id(created_at) if chosen.job_id is None else chosen.job_id
        self.jobs.path(job_id)  # refuses a bad id before any work
        opened = open_source(source, self._storage.root, labels=labels, ids=ids)
        version = choose_model(self._models, chosen.model, opened.dataset)
        if self._settings.runtime != "auto":
            version = version.on(self._settings.runtime)
        self._queue.check()
        speed = self._queue.measured_speed(version.pin) or version.images_per_second
        request = self._request(job_id, version, speed, chosen)
        with self.jobs.draft() as draft:
            prepared = opened.prepare(draft, request)
            notes = [
                *prepared.notes,
                *notes_on_batches(
                    version,
                    speed,
                    prepared,
                    self._limit_seconds,
                    chosen=chosen.batch_size is not None,
                ),
                *notes_on_kept(version, prepared, chosen),
            ]
            job = Job(
                id=job_id,
                source=opened.description,
                model=version.pin,
                labels=version.manifest.labels,
                total=prepared.total,
                labelled=prepared.labelled,
                batch_size=prepared.batch_size,
                window=chosen.max_in_flight or self._settings.max_in_flight,
                max_failure_rate=chosen.max_failure_rate,
                reuse=chosen.reuse,
                top=min(chosen.top, len(version.manifest.labels)),
                probabilities=chosen.probabilities,
                notes=tuple(prepared.notes),
                inputs=prepared.inputs,
                passed_over=dict(prepared.passed_over),
                fingerprint=prepared.fingerprint,
                created_at=created_at,
            )
            if not self.jobs.commit(draft, job):
                note = f"Job {job_id} exists already with the same images: nothing is sent twice."
                kept = self.jobs.open(job_id).job
                if (kept.top, kept.probabilities) != (job.top, job.probabilities):
                    note += (
                        f" It keeps what it kept (--top {kept.top}"
                        f"{', --probabilities' if kept.probabilities else ''}): choose another "
                        "--job-id for more."
                    )
                return self._handle(self.jobs.get(job_id), notes=[*notes, note])
        unsent = self._send_heads(job)
        self.jobs.settle()
        return self._handle(job, notes=notes, unsent=unsent)

    def job(self, job_id: str) -> JobHandle:
        """Take up a job again; raises `NotFound`."""
        return self._handle(self.jobs.get(job_id))

    def overview(self, *, on_fault: Callable[[str], object]) -> list[JobLine]:
        """All jobs, the newest first; of those that cannot be read `on_fault` hears."""
        lines = []
        for job_id in self.jobs.ids():
            with apart(job_id, on_fault):
                lines.append(line_of(self.jobs.open(job_id)))
        return sorted(lines, key=lambda line: line.created_at, reverse=True)

    def prune(
        self, older_than: timedelta, *, dry_run: bool, on_fault: Callable[[str], object]
    ) -> "list[Pruned]":
        """Remove jobs that ended longer ago than that, stale drafts, and predictions for reuse.

        Of these what was kept longer ago, or of models that are gone.
        """
        from producer.results.pruning import prune, prune_reuse

        return [
            *prune(self.jobs, older_than, dry_run=dry_run, on_fault=on_fault),
            *prune_reuse(
                ReuseStore(self._storage.root),
                self._models,
                older_than,
                dry_run=dry_run,
                on_fault=on_fault,
            ),
        ]

    def _request(
        self, job_id: str, version: ModelVersion, speed: float | None, chosen: Options
    ) -> Request:
        depth, batch_size = kept_classes(version, chosen), chosen.batch_size
        room = max(1, RESULT_BYTES // (RANK_BYTES * depth))
        affordable = min(room, affordable_batch(speed, self._limit_seconds))
        if batch_size and batch_size > MOST_RESULTS * room:
            raise ResultTooLarge(
                f"The result of {batch_size:,} images with {depth:,} classes each would take "
                f"{batch_size * depth * RANK_BYTES / 1e9:.1f} GB of memory: choose a --batch-size "
                f"of at most {MOST_RESULTS * room:,}."
            )
        return Request(
            root=self._storage.root,
            job_id=job_id,
            model=str(version),
            labels=version.manifest.labels,
            shape=version.manifest.input_shape,
            limit=chosen.limit,
            batch_size=batch_size,
            array_batch_size=min(self._settings.array_batch_size, affordable),
            file_batch_size=min(self._settings.file_batch_size, affordable),
            max_image_bytes=self._storage.max_image_bytes,
            follow_links=chosen.follow_links,
            strict=chosen.strict,
        )

    def _send_heads(self, job: Job) -> NotQueued | None:
        heads = range(min(job.window, job.batches))
        try:
            self._queue.send([message_of(job, batch) for batch in heads])
        except BrokerUnavailable as error:
            return NotQueued(
                f"Job {job.id} lies on storage but is not queued: {error} "
                f"Then `producer resume {job.id}` sends it."
            )
        return None

    def _handle(
        self, job: Job, *, notes: Sequence[str] = (), unsent: NotQueued | None = None
    ) -> JobHandle:
        return JobHandle(
            self.jobs.of(job),
            self._queue,
            models=self._models,
            storage=self._storage,
            notes=notes,
            unsent=unsent,
        )


def kept_classes(version: ModelVersion, chosen: Options) -> int:
    """How many classes of each image are kept."""
    classes = len(version.manifest.labels)
    return classes if chosen.probabilities else min(chosen.top, classes)


def notes_on_kept(version: ModelVersion, job: Prepared, chosen: Options) -> Iterator[str]:
    """What the user should know of the classes that are kept, one sentence each."""
    classes = len(version.manifest.labels)
    if chosen.top > classes:
        yield f"{version} has {classes} classes: --top {chosen.top} keeps all of them."
    size = 4 * job.total * classes
    if chosen.probabilities and size >= MUCH_STORAGE:
        yield (
            f"The {classes:,} probabilities of {job.total:,} images take {size / 1e9:.1f} GB on "
            "storage, and as much again merged."
        )


def affordable_batch(speed: float | None, limit_seconds: float) -> int:
    """How many images a batch may have, so that it is short, and far from its time limit.

    A model of unknown `speed`, in images per second, gets small batches.
    """
    speed = speed or UNKNOWN_IMAGES_PER_SECOND
    comfortable = max(FEWEST_IMAGES, speed * BATCH_SECONDS)
    return max(1, int(min(comfortable, speed * limit_seconds * LIMIT_SHARE)))


def notes_on_batches(
    version: ModelVersion,
    speed: float | None,
    job: Prepared,
    limit_seconds: float,
    *,
    chosen: bool,
) -> Iterator[str]:
    """What the user should know of the size of the batches, one sentence each.

    `chosen` is whether the user chose it.
    """
    spread = BATCHES_OF_A_SMALL_JOB * job.batch_size
    if speed is None and not chosen and job.total > spread:
        yield (
            f"Nobody has measured how fast {version} is, so that a batch has only "
            f"{counted(job.batch_size, 'image')}: `--batch-size` makes them larger."
        )
    if speed is not None and job.batch_size / speed > limit_seconds / 2:
        yield (
            f"A batch of {counted(job.batch_size, 'image')} may take {version} "
            f"{job.batch_size / speed:,.0f} s, and its predictions come only then: choose a "
            "smaller `--batch-size`."
        )


def choose_model(models: ModelStore, reference: str | None, dataset: str | None) -> ModelVersion:
    """The version a job is pinned to.

    Without a `reference` it is the champion named like the data set, else the only model there
    is; raises `ModelUnclear` when that does not settle it, `NotFound` for an unknown one.
    """
    if reference is not None:
        return models.resolve(reference)
    names = models.names()
    if dataset in names:
        return models.resolve(dataset)
    if len(names) == 1:
        return models.resolve(names[0])
    if not names:
        raise ModelUnclear(
            "No model is published yet: train one with `trainer train --dataset mnist`."
        )
    raise ModelUnclear(f"Say which model is to classify these images: --model {'|'.join(names)}.")


def new_job_id(now: datetime) -> str:
    """An id that sorts by time, such as 20260131-120000-3fa2b1."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
