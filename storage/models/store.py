"""Model versions on shared storage: immutable folders, one of which is the champion.

models/<name>/<number>/model.keras and model.onnx, or one of them, manifest.json, pictures, ...
models/<name>/champion.json             the version that `name` resolves to, and its forerunners
"""

import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ValidationError, computed_field, model_validator

from evaluation.baseline import Baseline
from evaluation.confusion import ClassScore, Evaluation
from imaging.images import MODE_OF_CHANNELS, Shape
from imaging.preprocessing import Preprocessing
from storage.errors import ChampionChanged, Corrupt, NotFound, StalePublication
from storage.files import (
    check_name,
    draft_folder,
    list_folders,
    locked,
    make_folder,
    sha256_of,
    sync_folder,
    sync_tree,
    write_atomically,
)
from storage.models.contract import Contract
from storage.models.metrics import Metrics
from storage.models.runtime_choice import TITLES, Runtime, RuntimeChoice

ArtefactFormat = Literal["keras", "onnx"]
"""What a version was trained or imported as."""
RUNTIME_OF: Mapping[ArtefactFormat, Runtime] = {"keras": "tensorflow", "onnx": "onnx"}
FILE_OF: Mapping[ArtefactFormat, str] = {"keras": "model.keras", "onnx": "model.onnx"}
ONNX_FILE = FILE_OF["onnx"]
MODEL_FILE = FILE_OF["keras"]
MODEL_MEMBERS = r"metadata\.json|config\.json|model\.weights\.(h5|npz)|assets/.*"
MODEL_BYTES_LIMIT = 4_000_000_000
IMPORTED = "imported"
"""The network of a version that was trained elsewhere."""


class ModelPin(BaseModel, frozen=True, extra="forbid"):
    """Exactly one model version in one runtime: what a job is bound to. Written `mnist@3`."""

    name: str
    number: int
    sha256: str
    """Digest of the artefact for that runtime."""
    runtime: Runtime

    def __str__(self) -> str:
        return f"{self.name}@{self.number}"


class Manifest(BaseModel, frozen=True):
    """What is known of a model version, kept beside it as `manifest.json`."""

    network: str
    """`IMPORTED` for one that was trained elsewhere; what is not known of it is none."""
    preset: str | None
    parent: str | None = None
    """What its training started from: a version such as `pets@3`, or weights; none is chance."""
    dataset: str | None
    dataset_number: int
    """Which version of the data set."""
    dataset_sha256: str | None
    seed: int | None
    epochs: int | None
    """At most so many: `metrics` says how many there were, and which one's weights were kept."""
    batch_size: int | None
    augment: bool = False
    """Whether the training images were changed at random."""
    labels: tuple[str, ...]
    input_shape: Shape
    preprocessing: Preprocessing
    format: ArtefactFormat = "keras"
    contract: Contract | None = None
    """Of an imported network: what is put around it."""
    evaluation: Evaluation
    """Confusion matrix on the test split."""
    metrics: dict[str, float]
    """`accuracy` and `loss` on the test split, `seconds` of training, and more."""
    versions: dict[str, str]
    """Library versions by name."""
    sha256: str
    """Digest of the artefact that it was trained or imported as."""
    onnx_sha256: str | None = None
    """Digest of the `model.onnx` that was made of a Keras model, if there is one and it agrees."""
    runtime: RuntimeChoice | None = None
    """What it is used with; none is for what it was trained or imported as."""
    created_at: AwareDatetime
    fencing_token: int = 0
    """Order of scheduled trainings: a lower one never replaces a higher one as champion."""
    baseline: Baseline | None = None
    """What jobs are compared with to see drift; none if the version was never tested."""

    @model_validator(mode="after")
    def _holds_together(self) -> "Manifest":
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels) or "" in self.labels:
            raise ValueError("labels must name two classes or more, each by a name of its own")
        if self.labels != self.evaluation.labels:
            raise ValueError("labels must be those of the evaluation, in their order")
        if min(self.input_shape[:2]) < 1 or self.input_shape[2] not in MODE_OF_CHANNELS:
            raise ValueError("input_shape must have rows, columns, and 1, 3 or 4 channels")
        if self.runtime and self.runtime.runtime not in self.digests:
            raise ValueError(f"runtime is {self.runtime.runtime}, of which there is no artefact")
        return self

    @computed_field  # type: ignore[prop-decorator]
    @property
    def per_class(self) -> list[ClassScore]:
        """Precision, recall and F1 of each class on the test split, for whoever reads the file."""
        return self.evaluation.per_class()

    @property
    def digests(self) -> Mapping[Runtime, str]:
        """Of its artefacts, by the runtime that each is for."""
        made = {RUNTIME_OF[self.format]: self.sha256}
        return {**made, "onnx": self.onnx_sha256} if self.onnx_sha256 else made

    @property
    def accuracy(self) -> float | None:
        """Share of right predictions on the test split; none if it was never tested."""
        return self.metrics.get("accuracy")


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong, by its place."""
    fault = error.errors()[0]
    place = ".".join(map(str, fault["loc"]))
    what = fault["msg"].removeprefix("Value error, ")
    return f"{place}: {what}" if place else what


class Champion(BaseModel, frozen=True):
    number: int
    former: tuple[int, ...] = ()
    """Earlier champions, the latest last: `rollback` returns to them."""
    fencing_token: int = 0
    promoted_at: AwareDatetime


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """A version as it is used with one of its runtimes."""

    name: str
    number: int
    folder: Path
    manifest: Manifest
    told: Runtime | None = None
    """With which one; none is for the one that was chosen when it was published."""

    def __str__(self) -> str:
        return f"{self.name}@{self.number}"

    @property
    def runtime(self) -> Runtime:
        if self.told:
            return self.told
        choice = self.manifest.runtime
        return choice.runtime if choice else RUNTIME_OF[self.manifest.format]

    def on(self, runtime: Runtime) -> "ModelVersion":
        """The same in a certain runtime; raises `NotFound` when it has no artefact for that."""
        if runtime == self.runtime:
            return self
        if runtime not in self.manifest.digests:
            choice = self.manifest.runtime
            raise NotFound(
                f"{self} cannot be used with {TITLES[runtime]}, only with {TITLES[self.runtime]}"
                + (f": {choice.reason}." if choice else ".")
            )
        return replace(self, told=runtime)

    @property
    def model_path(self) -> Path:
        """The artefact: uint8 pixels (N, H, W, C) in, probabilities (N, classes) out."""
        return self.folder / (ONNX_FILE if self.runtime == "onnx" else MODEL_FILE)

    @property
    def pin(self) -> ModelPin:
        """What a job needs to be bound to this version."""
        digest = self.manifest.digests[self.runtime]
        return ModelPin(name=self.name, number=self.number, sha256=digest, runtime=self.runtime)

    @property
    def metrics(self) -> Metrics | None:
        """What using it costs, as far as it is known."""
        choice = self.manifest.runtime
        return choice.metrics.get(self.runtime) if choice else None

    @property
    def images_per_second(self) -> float | None:
        """What one process does with one thread, as far as it is known."""
        return (self.metrics and self.metrics.images_per_second) or None

    def verify(self) -> None:
        """Raise `Corrupt` unless the model file matches its digest."""
        if not self.model_path.is_file() or sha256_of(self.model_path) != self.pin.sha256:
            raise Corrupt(
                f"Model {self} is damaged: {self.model_path.name} does not match its digest. "
                f"Train again, or return to an earlier one with `trainer promote {self.name}@N`."
            )


def check_archive(path: Path, name: str) -> None:
    """Raise `Corrupt` unless a `.keras` file holds what Keras writes, and not too much of it.

    Looks at the archive's directory only: nothing is unpacked.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise Corrupt(f"Model {name} is refused: it is no Keras archive ({error}).") from None
    strange = [m.filename for m in members if not re.fullmatch(MODEL_MEMBERS, m.filename)]
    if strange:
        raise Corrupt(
            f"Model {name} is refused: it holds {strange[0][:80]!r}, which Keras does not write."
        )
    unpacked = sum(member.file_size for member in members)
    if unpacked > MODEL_BYTES_LIMIT:
        raise Corrupt(
            f"Model {name} is refused: it would unpack to {unpacked / 1e9:.1f} GB, "
            f"the limit is {MODEL_BYTES_LIMIT / 1e9:.0f} GB."
        )


class ModelStore:
    """All models below one storage root."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "models"

    def names(self) -> list[str]:
        """Names that have at least one version, sorted."""
        return [name for name in list_folders(self.folder) if self.numbers(name)]

    def numbers(self, name: str) -> list[int]:
        """Version numbers of a model, ascending."""
        folder = self.folder / check_name(name, "model name")
        return sorted(int(entry) for entry in list_folders(folder) if entry.isdecimal())

    def versions(self, name: str) -> list[ModelVersion]:
        """All versions of a model, oldest first."""
        return [self.version(name, number) for number in self.numbers(name)]

    def version(self, name: str, number: int) -> ModelVersion:
        """One version; raises `NotFound` or `Corrupt`. The model file itself is not read."""
        folder = self.folder / check_name(name, "model name") / str(number)
        try:
            manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
        except FileNotFoundError:
            raise self._not_found(name, number) from None
        except ValidationError as error:
            raise Corrupt(
                f"Model {name}@{number} is damaged: {folder / 'manifest.json'} cannot be used "
                f"({first_fault(error)}). Restore it, or publish the model again."
            ) from None
        return ModelVersion(name=name, number=number, folder=folder, manifest=manifest)

    def resolve(self, reference: str) -> ModelVersion:
        """The version that `mnist@3`, `mnist@champion` or `mnist` means."""
        name, _, which = reference.partition("@")
        if which in ("", "champion"):
            champion = self.champion(name)
            if champion is None:
                raise self._no_champion(name)
            return self.version(name, champion.number)
        if not re.fullmatch(r"[0-9]{1,9}", which):
            raise NotFound(f"{reference!r} names no model version: write {name}@3, say.")
        return self.version(name, int(which))

    def pinned(self, pin: ModelPin) -> ModelVersion:
        """The version a job is bound to; raises `Corrupt` when it is not the same any more."""
        version = self.version(pin.name, pin.number)
        if version.manifest.digests.get(pin.runtime) != pin.sha256:
            raise Corrupt(
                f"Model {pin} is not the one the job was submitted with: submit it again."
            )
        version = version.on(pin.runtime)
        version.verify()
        return version

    @contextmanager
    def draft(self, name: str) -> Iterator[Path]:
        """A folder to write the artefacts and pictures into; `publish` makes it a version."""
        check_name(name, "model name")
        with draft_folder(make_folder(self.folder) / name) as folder:
            yield folder

    def drafted(self, name: str, draft: Path, manifest: Manifest) -> ModelVersion:
        """A draft as the version that it becomes, unless another one is published first."""
        number = self.next_number(name)
        return ModelVersion(name=name, number=number, folder=draft, manifest=manifest)

    def next_number(self, name: str) -> int:
        """That of the version that is published next."""
        return max(self.numbers(name), default=0) + 1

    def publish(self, name: str, draft: Path, manifest: Manifest) -> ModelVersion:
        """Turn a draft into the next version, whole or not at all.

        Renaming onto a number that another trainer took meanwhile fails, and the next one is
        tried: two trainers get two numbers.
        """
        write_atomically(draft / "manifest.json", manifest.model_dump_json(indent=2).encode())
        sync_tree(draft)
        number = self.drafted(name, draft, manifest).number
        while True:
            target = self.folder / name / str(number)
            try:
                draft.rename(target)
                break
            except OSError:
                if not target.exists():
                    raise
                number += 1
        sync_folder(self.folder / name)
        return ModelVersion(name=name, number=number, folder=target, manifest=manifest)

    def champion(self, name: str) -> Champion | None:
        path = self.folder / check_name(name, "model name") / "champion.json"
        try:
            return Champion.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            raise Corrupt(
                f"champion.json of model {name} is unreadable: "
                f"choose a champion with `trainer promote {name}@N`."
            ) from None

    def promote(
        self,
        version: ModelVersion,
        *,
        fencing_token: int | None = None,
        instead_of: int | None = None,
    ) -> Champion:
        """Make a version the champion.

        A `fencing_token` lower than that of the present champion raises `StalePublication`; without
        one (a person decided) the present one stays, and an unreadable champion.json is replaced.
        Another present champion than `instead_of` raises `ChampionChanged`; 0 stands for none.
        """
        with locked(self.folder / version.name):
            try:
                present = self.champion(version.name)
            except Corrupt:
                if fencing_token is not None:
                    raise
                present = None
            if present and fencing_token is not None and fencing_token < present.fencing_token:
                raise StalePublication(
                    f"{version} was trained by an overtaken run (fencing token {fencing_token}, "
                    f"the champion has {present.fencing_token}): it stays published but does not "
                    "become champion."
                )
            if instead_of not in (None, present.number if present else 0):
                raise ChampionChanged(
                    f"Model {version.name} has another champion meanwhile: promote {version} again."
                )
            former = present.former if present else ()
            if present and present.number != version.number:
                former = (*former, present.number)
            return self._write_champion(
                version.name,
                Champion(
                    number=version.number,
                    former=former,
                    fencing_token=max(fencing_token or 0, present.fencing_token if present else 0),
                    promoted_at=datetime.now(UTC),
                ),
            )

    def rollback(self, name: str) -> Champion:
        """Return to the former champion; raises `NotFound` when there is none."""
        with locked(self.folder / name):
            present = self.champion(name)
            if present is None:
                raise self._no_champion(name)
            if not present.former:
                raise NotFound(
                    f"{name}@{present.number} is the first champion: nothing came before."
                )
            *former, number = present.former
            return self._write_champion(
                name,
                Champion(
                    number=number,
                    former=tuple(former),
                    fencing_token=present.fencing_token,
                    promoted_at=datetime.now(UTC),
                ),
            )

    def _write_champion(self, name: str, champion: Champion) -> Champion:
        write_atomically(
            self.folder / name / "champion.json", champion.model_dump_json(indent=2).encode()
        )
        return champion

    def _no_champion(self, name: str) -> NotFound:
        if self.numbers(name):
            return NotFound(f"Model {name} has no champion: `trainer promote {name}@N` makes one.")
        known = ", ".join(self.names()) or "none so far"
        return NotFound(
            f"There is no model {name!r} ({known}): train one with `trainer train --name {name}`."
        )

    def _not_found(self, name: str, number: int) -> NotFound:
        numbers = self.numbers(name)
        if not numbers:
            return self._no_champion(name)
        return NotFound(
            f"Model {name} has no version {number}, only {', '.join(map(str, numbers))}."
        )
