"""Prepares sources as a job would."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from producer.sources.open_source import open_source
from producer.sources.source import Prepared, Request
from storage.jobs.inputs import ImageFile, read_pack
from storage.jobs.job_inputs import pack_name
from storage.jobs.store import JobDraft, JobStore
from tests.builders import LABELS, SHAPE


class Prepare:
    """Prepares sources as a job would, and looks at what came of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with JobStore(root).draft() as draft:
            pass
        draft.inputs.mkdir(parents=True)
        self.draft = JobDraft(draft.folder)

    def __call__(
        self,
        *arguments: str | Path | NDArray[Any],
        true_labels: Iterable[object] | None = None,
        ids: Iterable[object] | None = None,
        **fields: Any,
    ) -> Prepared:
        known: dict[str, Any] = {
            "root": self.root,
            "job_id": "job",
            "model": "digits@1",
            "labels": LABELS,
            "shape": SHAPE,
            "limit": None,
            "batch_size": None,
            "array_batch_size": 5_000,
            "file_batch_size": 500,
            "max_image_bytes": 100_000,
        }
        source = open_source(arguments, self.root, labels=true_labels, ids=ids)
        return source.prepare(self.draft, Request(**(known | fields)))

    def packed(self, batches: int = 1) -> list[ImageFile]:
        packs = [read_pack(self.draft.inputs / pack_name(batch)) for batch in range(batches)]
        return [image for pack in packs for image in pack]

    def array(self, name: str) -> Any:
        return np.load(self.draft.inputs / name)
