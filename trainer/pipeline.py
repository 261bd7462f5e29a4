"""From a request to a published version: what the command line and the task both call."""

import getpass
import logging
import os
import shlex
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from imaging.images import Shape
from imaging.preprocessing import DEFAULT, Preprocessing
from storage.datasets.store import DataSet, DatasetStore, parse_reference
from storage.errors import ChampionChanged, Corrupt, NotFound, StalePublication, StorageError
from storage.models.promotions import Override, Promotion, read_promotion, write_promotion
from storage.models.store import IMPORTED, ModelStore, ModelVersion
from storage.settings import StorageSettings
from trainer.datasets.downloads import Downloads
from trainer.datasets.known_datasets import ensure_dataset
from trainer.errors import DownloadFailed, ExaminationFailed, TrainingFailed, as_clause
from trainer.importing.model_import import ImportRequest, import_model
from trainer.promotion.gate import SPLIT, Gate, Judgement, Verdict
from trainer.runtimes.choice import choose_runtime
from trainer.settings import TrainerSettings
from trainer.training.backbones import BACKBONES
from trainer.training.checkpoint import sweep_abandoned
from trainer.training.networks import FROM_SCRATCH, LARGE, PHOTOGRAPHIC, USUAL
from trainer.training.progress import ImportSummary, TrainingSummary
from trainer.training.train import IMAGENET, OnEpoch, OnStep, TrainingRequest, train

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Outcome:
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
            accuracy=manifest.metrics["accuracy"],
            promoted=self.verdict.promoted,
            reason=self.verdict.reason,
            seconds=manifest.metrics["seconds"],
        )


class Pipeline:
    """Data sets in, model versions out."""

    def __init__(
        self, datasets: DatasetStore, models: ModelStore, downloads: Downloads, gate: Gate
    ) -> None:
        self.datasets = datasets
        self.models = models
        self.downloads = downloads
        self.gate = gate

    @classmethod
    def of(cls, storage: StorageSettings, settings: TrainerSettings) -> "Pipeline":
        root = storage.root
        downloads = Downloads(
            settings.downloads or root / "downloads", settings.download_timeout_seconds
        )
        return cls(DatasetStore(root), ModelStore(root), downloads, Gate(settings.thresholds))

    def run(
        self,
        request: TrainingRequest,
        on_epoch: OnEpoch = lambda report: None,
        *,
        on_step: OnStep = lambda step: None,
        fencing_token: int | None = None,
    ) -> Outcome:
        """Get the data set, train, publish, judge and promote.

        `fencing_token` orders trainings that no person has started: see `ModelStore.promote`.
        """
        dataset = ensure_dataset(self.datasets, self.downloads, request.dataset)
        sweep_abandoned(self.models.folder)
        parent, weights = self._start(request, dataset)
        checkpoint = request.checkpoint(self.models.folder, dataset)
        with self.models.draft(request.name) as draft:
            manifest = train(
                request,
                dataset,
                draft,
                on_epoch,
                on_step=on_step,
                parent=parent,
                weights=weights,
                checkpoint=checkpoint,
                fencing_token=fencing_token or 0,
                version=lambda: f"{request.name}@{self.models.next_number(request.name)}",
            )
            made = self.models.drafted(request.name, draft, manifest)
            try:
                made, _ = choose_runtime(made, dataset.images_path(SPLIT), self.gate)
            except ExaminationFailed as error:
                log.warning("The runtimes of %s were not compared: %s", made, error)
            version = self.models.publish(request.name, draft, made.manifest)
        checkpoint.remove()
        return Outcome(
            version=version, verdict=self.promote(version, dataset, fencing_token=fencing_token)
        )

    def training_images(self, dataset_name: str) -> int | None:
        """How many images a data set has to train on; none while it is not on storage."""
        if not self.datasets.numbers(parse_reference(dataset_name)[0]):
            return None
        return self.datasets.get(dataset_name).split("train").count

    def usual_network(self, dataset_name: str) -> tuple[str, str | None]:
        """The network for a data set, and why if there is a choice to explain.

        Photographs are learned best by who has seen many others.
        """
        if not self.datasets.numbers(parse_reference(dataset_name)[0]):
            return USUAL, None  # to be fetched: those known by name are small
        shape = self.datasets.get(dataset_name).description.shape
        if max(shape[:2]) < LARGE:
            return USUAL, None
        size = f"images of {shape[0]} x {shape[1]}"
        try:
            self.downloads.get(BACKBONES[PHOTOGRAPHIC].imagenet)
        except DownloadFailed as error:
            return FROM_SCRATCH, (
                f"{FROM_SCRATCH}, from nothing, for {size}. {PHOTOGRAPHIC} would be better: "
                f"{self._unavailable(PHOTOGRAPHIC, error)} A version as a start (--from) would be, "
                "too."
            )
        return PHOTOGRAPHIC, f"{PHOTOGRAPHIC}, which has seen ImageNet's photographs: for {size}."

    def _start(
        self, request: TrainingRequest, dataset: DataSet
    ) -> tuple[ModelVersion | None, Path | None]:
        """The version or the file of weights that a training starts from, if any."""
        if request.parent:
            parent = self.models.resolve(request.parent)
            if misfit := misfit_of_parent(parent, dataset):
                raise TrainingFailed(misfit)
            return parent, None
        if request.weights != IMAGENET:
            return None, Path(request.weights) if request.is_learned and request.weights else None
        try:
            return None, self.downloads.get(BACKBONES[request.network].imagenet)
        except DownloadFailed as error:
            raise TrainingFailed(
                f"{self._unavailable(request.network, error)} Or start from a version of your own, "
                "--from NAME@N instead of --network, or from nothing, --weights none."
            ) from error

    def _unavailable(self, network: str, error: DownloadFailed) -> str:
        """Where to bring the weights that cannot be fetched."""
        file = BACKBONES[network].imagenet
        return (
            f"The ImageNet weights of {network} cannot be fetched: {as_clause(error)}. Bring "
            f"{file.name} ({file.digest.replace(':', ' ')}) to {self.downloads.folder}."
        )

    def bring_in(self, request: ImportRequest, dataset_name: str | None) -> ImportSummary:
        """Publish a model file from elsewhere; with a data set it is tested and judged."""
        dataset = None
        if dataset_name:
            dataset = ensure_dataset(self.datasets, self.downloads, dataset_name)
        imported = import_model(request, dataset, self.models, self.gate)
        version = imported.version
        verdict = Verdict(
            promoted=False, reason=f"not tested, `trainer promote {version} --force` does it"
        )
        if dataset:
            verdict = self.promote(version, dataset)
        return ImportSummary(
            model=str(version),
            file=request.path.name,
            dataset=str(dataset) if dataset else None,
            accuracy=version.manifest.accuracy,
            promoted=verdict.promoted,
            reason=verdict.reason,
            preprocessing=version.manifest.preprocessing,
            contract=version.manifest.contract,
            input_shape=version.manifest.input_shape,
            classes=version.manifest.labels,
            check_accuracy=version.manifest.metrics.get("check_accuracy"),
            notes=imported.notes,
        )

    def trained_since(self, name: str, when: float) -> str | None:
        """The newest version of a model, if it is younger than `when`, seconds since 1970."""
        numbers = self.models.numbers(name)
        try:
            newest = self.models.version(name, numbers[-1]) if numbers else None
        except Corrupt:
            return None
        if newest is None or newest.manifest.network == IMPORTED:
            return None
        return str(newest) if newest.manifest.created_at.timestamp() > when else None

    def promote(
        self, version: ModelVersion, dataset: DataSet, *, fencing_token: int | None = None
    ) -> Verdict:
        """Make a version champion if it passes the gate; the verdict is kept beside it."""
        while True:
            number = self._champion_number(version.name)
            log.debug("Judging %s on the test images of %s ...", version, dataset)
            promotion = self._judge(version, number, dataset)
            write_promotion(version, promotion)
            if not promotion.passed:
                return Verdict(promoted=False, reason=promotion.reason)
            try:
                self.models.promote(version, fencing_token=fencing_token, instead_of=number)
            except ChampionChanged:
                continue  # it has to be better than that one
            except (StalePublication, Corrupt) as error:
                return Verdict(promoted=False, reason=as_clause(error))
            return Verdict(promoted=True, reason=promotion.reason)

    def force(self, version: ModelVersion) -> Promotion:
        """Make a version champion whatever the gate says, and keep who did so beside its verdict.

        One that was never judged is judged now, if there is a data set to judge it by.
        """
        promotion = read_promotion(version) or self._judge_now(version)
        override = Override(
            by=user_and_host(),
            at=datetime.now(UTC),
            passed=promotion.passed,
            reason=promotion.reason,
        )
        write_promotion(version, promotion, override)
        self.models.promote(version)
        return promotion

    def compare(self, first: ModelVersion, second: ModelVersion, dataset: DataSet) -> Judgement:
        """Judge the second as if the first were champion; nothing is changed.

        Raises `ExaminationFailed` unless both can be examined on the data set.
        """
        log.debug("Examining %s and %s on the test images of %s ...", first, second, dataset)
        judgement = self.gate.judge(second, first, dataset)
        if not (judgement.candidate and judgement.champion):
            raise ExaminationFailed(f"{judgement.promotion.reason}.")
        return judgement

    def data_set_of(self, version: ModelVersion) -> DataSet:
        """The data set that a version was trained or tested on, its digests checked."""
        manifest = version.manifest
        if manifest.dataset is None:
            raise NotFound(
                f"{version} was never tested on a data set: import it again with --dataset, or "
                f"make it champion untested by `trainer promote {version} --force`."
            )
        dataset = self.datasets.get(f"{manifest.dataset}@{manifest.dataset_number}")
        dataset.verify()
        return dataset

    def _judge_now(self, version: ModelVersion) -> Promotion:
        if version.manifest.dataset is None:
            return self.gate.refuse(version, None, "it was never tested on a data set")
        try:
            dataset = self.data_set_of(version)
        except StorageError as error:
            return self.gate.refuse(version, None, str(error))
        return self._judge(version, self._champion_number(version.name), dataset)

    def _judge(self, version: ModelVersion, number: int, dataset: DataSet) -> Promotion:
        """Judge a version beside the champion of that number, 0 for none."""
        if not number:
            return self.gate.judge(version, None, dataset).promotion
        try:
            champion, otherwise = self.models.version(version.name, number), ""
        except (NotFound, Corrupt):
            champion, otherwise = None, f"{version.name}@{number} cannot be read"
        return self.gate.judge(version, champion, dataset, otherwise).promotion

    def _champion_number(self, name: str) -> int:
        """Number of the present champion; 0 when there is none that can be told."""
        try:
            champion = self.models.champion(name)
        except Corrupt:
            return 0
        return champion.number if champion else 0


def misfit_of_parent(parent: ModelVersion, dataset: DataSet) -> str | None:
    """Why a version cannot be taught by a data set: its images have another shape."""
    wanted, shape = parent.manifest.input_shape, dataset.description.shape
    if wanted == shape:
        return None
    source = dataset.description.origin.partition(" (")[0]
    if not source.startswith(("folder:", "list:")):
        source = "folder:DIR"
    return (
        f"{parent} takes images of {shape_in_words(wanted)}, and those of {dataset} have "
        f"{shape_in_words(shape)}: add them again with `trainer data add {dataset.name} "
        f"{shlex.quote(source)} --replace --size {wanted[0]}x{wanted[1]} "
        f"{options_of(parent.manifest.preprocessing)}`."
    )


def options_of(how: Preprocessing) -> str:
    """The options by which images of a new data set come to their size in this way."""
    options = f"--resize {how.resize} --interpolation {how.interpolation}"
    if how.shorter_side:
        options += f" --shorter-side {how.shorter_side}"
    if how.fill != DEFAULT.fill:
        options += f" --fill {bytes(how.fill).hex()}"
    if how.colours != DEFAULT.colours:
        options += f" --colours {how.colours}"
    if how.filters and not how.scaled_decoding:
        options += " --full-decoding"
    return options


def shape_in_words(shape: Shape) -> str:
    """Such as `224 x 224 x 3`."""
    return " x ".join(map(str, shape))


def user_and_host() -> str:
    """Who runs this process, and where."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as containers have
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
