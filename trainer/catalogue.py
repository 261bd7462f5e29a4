"""Model versions and data sets in short, for tables and `--json`."""

from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import AwareDatetime, BaseModel

from imaging.images import Shape
from storage.datasets.store import Appended, DatasetStore
from storage.errors import Corrupt
from storage.models.store import FILE_OF, ModelStore, ModelVersion


class ModelLine(BaseModel, frozen=True):
    name: str
    version: int
    champion: bool
    accuracy: float | None
    network: str
    dataset: str | None
    dataset_number: int
    bytes: int
    created_at: AwareDatetime

    @classmethod
    def of(cls, version: ModelVersion, *, champion: bool) -> "ModelLine":
        manifest = version.manifest
        return cls(
            name=version.name,
            version=version.number,
            champion=champion,
            accuracy=manifest.accuracy,
            network=manifest.network,
            dataset=manifest.dataset,
            dataset_number=manifest.dataset_number,
            bytes=file_size(version.folder / FILE_OF[manifest.format]),
            created_at=manifest.created_at,
        )


class DataSetLine(BaseModel, frozen=True):
    name: str
    version: int
    shape: Shape
    classes: tuple[str, ...]
    splits: dict[str, int]
    """Number of images by split."""
    bytes: int
    origin: str
    appended: tuple[Appended, ...]
    created_at: AwareDatetime


def list_models(
    store: ModelStore, name: str | None, on_fault: Callable[[str], None]
) -> Iterator[ModelLine]:
    """All versions of one model or of all; `on_fault` hears of those that cannot be read.

    Raises `NotFound` for a name without any version.
    """
    if name is not None and not store.numbers(name):
        store.resolve(name)
    for known in [name] if name else store.names():
        champion = read_champion(store, known, on_fault)
        for number in store.numbers(known):
            try:
                version = store.version(known, number)
            except Corrupt as error:
                on_fault(str(error))
            else:
                yield ModelLine.of(version, champion=number == champion)


def read_champion(store: ModelStore, name: str, on_fault: Callable[[str], None]) -> int | None:
    """Number of the champion, if there is one that can be read."""
    try:
        champion = store.champion(name)
    except Corrupt as error:
        on_fault(str(error))
        return None
    return champion.number if champion else None


def list_datasets(store: DatasetStore, on_fault: Callable[[str], None]) -> Iterator[DataSetLine]:
    """All versions of all data sets; `on_fault` hears of those that cannot be read."""
    for name, number in ((known, n) for known in store.names() for n in store.numbers(known)):
        try:
            dataset = store.version(name, number)
        except Corrupt as error:
            on_fault(str(error))
            continue
        about = dataset.description
        yield DataSetLine(
            name=name,
            version=number,
            shape=about.shape,
            classes=about.classes,
            splits={  # train first, in an appended version as well
                split: part.count for split, part in sorted(about.splits.items(), reverse=True)
            },
            bytes=sum(file_size(dataset.images_path(split)) for split in about.splits),
            origin=about.origin,
            appended=about.appended,
            created_at=about.created_at,
        )


def file_size(path: Path) -> int:
    """Bytes of a file, 0 when it is missing."""
    return path.stat().st_size if path.is_file() else 0
