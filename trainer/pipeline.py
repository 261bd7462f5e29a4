"""From a request to a published version: what the command line and the task both call."""

from dataclasses import dataclass

from storage.datasets import DatasetStore
from storage.errors import Corrupt, NotFound, StalePublication
from storage.models import ModelStore, ModelVersion
from storage.settings import StorageSettings
from trainer.downloads import Downloads
from trainer.gate import Verdict, judge
from trainer.known_datasets import ensure_dataset
from trainer.progress import TrainingSummary
from trainer.settings import TrainerSettings
from trainer.training import OnEpoch, TrainingRequest, train


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A published version and the verdict on it."""

    version: ModelVersion
    verdict: Verdict

    @property
    def summary(self) -> TrainingSummary:
        """The few facts that people read."""
        manifest = self.version.manifest
        return TrainingSummary(
            model=str(self.version),
            dataset=f"{manifest.dataset}@{manifest.dataset_number}",
            network=manifest.network,
            accuracy=manifest.accuracy,
            promoted=self.verdict.promoted,
            reason=self.verdict.reason,
            seconds=manifest.metrics["seconds"],
        )


class Pipeline:
    """Data sets in, model versions out."""

    def __init__(self, datasets: DatasetStore, models: ModelStore, downloads: Downloads) -> None:
        self.datasets = datasets
        self.models = models
        self.downloads = downloads

    @classmethod
    def of(cls, storage: StorageSettings, settings: TrainerSettings) -> "Pipeline":
        """The pipeline of a process that is configured so."""
        root = storage.root
        downloads = Downloads(
            settings.downloads or root / "downloads", settings.download_timeout_seconds
        )
        return cls(DatasetStore(root), ModelStore(root), downloads)

    def run(
        self,
        request: TrainingRequest,
        on_epoch: OnEpoch = lambda report: None,
        *,
        fence: int | None = None,
    ) -> Outcome:
        """Get the data set, train, publish, judge and promote.

        `fence` orders trainings that were not started by a person: see `ModelStore.promote`.
        """
        dataset = ensure_dataset(self.datasets, self.downloads, request.dataset)
        with self.models.draft(request.name) as draft:
            manifest = train(request, dataset, draft, on_epoch, fence=fence or 0)
            version = self.models.publish(request.name, draft, manifest)
        return Outcome(version=version, verdict=self._promote(version, fence))

    def trained_since(self, name: str, when: float) -> str | None:
        """The newest version of a model, if it is younger than `when`, seconds since 1970."""
        numbers = self.models.numbers(name)
        try:
            newest = self.models.version(name, numbers[-1]) if numbers else None
        except Corrupt:
            return None
        return str(newest) if newest and newest.manifest.created_at.timestamp() > when else None

    def _promote(self, version: ModelVersion, fence: int | None) -> Verdict:
        verdict = judge(version.manifest, self._champion(version.name))
        if verdict.promoted:
            try:
                self.models.promote(version, fence=fence)
            except (StalePublication, Corrupt) as error:
                return Verdict(promoted=False, reason=str(error))
        return verdict

    def _champion(self, name: str) -> ModelVersion | None:
        """The present champion, if there is one that can be read."""
        try:
            return self.models.resolve(name)
        except (NotFound, Corrupt):
            return None
