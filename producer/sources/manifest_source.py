"""Image files that a table names, line by line."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

from console.counts import counted
from producer.errors import UnknownLabel
from producer.sources.array_labels import unknown_hint
from producer.sources.file_sources import stored_path
from producer.sources.packing import Listed, pack_images
from producer.sources.source import Prepared, Request, list_briefly
from producer.sources.unique_ids import first_repeated
from storage.class_names import Classes
from storage.errors import BadManifest
from storage.jobs.store import JobDraft
from storage.manifests.columns import probability_column
from storage.manifests.image_finder import find_image
from storage.manifests.table_reader import Row, Table, shorten

MOST_OTHERS = 100
"""Columns of a user's own that are kept."""


class ManifestSource:
    """A `.csv`, `.tsv` or `.jsonl` file whose lines name a `path`, perhaps a `label` and an `id`.

    Paths lead to files inside the manifest's folder. Without an `id` the path is it. Other columns
    are kept with the images, as text.
    """

    dataset = None

    def __init__(self, path: Path) -> None:
        self.description = str(path)
        self._path = path

    def prepare(self, draft: JobDraft, request: Request) -> Prepared:
        """Pack the images; raises `BadManifest` naming the first line that cannot be used.

        The others that cannot be used are counted. The lines are read twice: ids must be unique
        before any image is read.
        """
        self._table = Table(
            self._path,
            {"path": "a.png"},
            ("path", "label", "id"),
            keep_others=True,
            reserved={probability_column(label) for label in request.labels},
        )
        self._check_ids(request.limit)
        others = self._others(request.limit)
        classes = Classes(request.labels)
        return pack_images(
            self._all_listed(request, classes, others),
            lambda item: item,
            draft,
            request,
            self.description,
            self._table.notes,
            others=others,
        )

    def _others(self, limit: int | None) -> tuple[str, ...]:
        """Names of the columns that are kept, in the order in which they come."""
        names = dict.fromkeys(chain.from_iterable(row.others for row in islice(self._table, limit)))
        if len(names) > MOST_OTHERS:
            raise BadManifest(
                f"{self.description} has {len(names):,} columns besides path, label and id: "
                f"keep at most {MOST_OTHERS}."
            )
        return tuple(names)

    def _check_ids(self, limit: int | None) -> None:
        def rows() -> Iterable[Row]:
            return islice(self._table, limit)

        repeated = first_repeated(lambda: (id_of(row) or f"\0{row.line}" for row in rows()))
        if repeated:
            id, *positions = repeated
            first, second = (row.line for i, row in enumerate(rows()) if i in positions)
            raise BadManifest(
                f"Lines {first} and {second} of {self.description} have one id, {shorten(id)!r}: "
                "give each image its own, in a column `id`."
            )

    def _all_listed(
        self, request: Request, classes: Classes, others: tuple[str, ...]
    ) -> Iterator[Listed]:
        rows = islice(self._table, request.limit)
        for row in rows:
            try:
                listed = self._listed(row, request, classes, others)
            except (BadManifest, UnknownLabel) as error:
                bad = 0
                for later in rows:
                    try:
                        self._listed(later, request, classes, others)
                    except (BadManifest, UnknownLabel):
                        bad += 1
                if not bad:
                    raise
                lines = counted(bad, "more line")
                told = str(error).removesuffix(".")
                raise type(error)(f"{told}; {lines} cannot be used either.") from None
            yield listed

    def _listed(
        self, row: Row, request: Request, classes: Classes, others: tuple[str, ...]
    ) -> Listed:
        path, label = row.fields["path"], row.fields["label"]
        where = self._table.where(row.line)
        if not path:
            raise BadManifest(f"{where} has no path: every line must name an image file.")
        position = classes.get(label) if label else None
        if label and position is None:
            raise UnknownLabel(
                f"{where} has the label {shorten(label)!r}, which {request.model} does not know: "
                f"it knows {list_briefly(list(request.labels))}{unknown_hint([label], classes)}."
            )
        file = find_image(
            path,
            self._path.parent,
            where,
            lambda change: self._table.note(f"In {self.description} {change}."),
        )
        return Listed(
            id=id_of(row),
            path=path,
            file=str(file),
            stored=stored_path(file, request.root),
            label=None if position is None else request.labels[position],
            others=tuple(row.others.get(name, "") for name in others),
        )


def id_of(row: Row) -> str:
    """The id of the image that a line names."""
    return row.fields["id"] or row.fields["path"]
