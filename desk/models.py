"""The pages of models: all versions, and each with its pictures."""

from dataclasses import dataclass
from typing import Any

from desk.page import Page, View
from desk.shelves import Shelves
from storage.errors import StorageError
from storage.files import check_name, printable, read_inside
from storage.models.promotions import Promotion, read_promotion
from storage.models.runtime_choice import TITLES
from storage.models.store import ModelVersion

MOST_VERSIONS = 50
"""Of each model, the newest; others have pages all the same."""
MOST_CLASSES = 200
PICTURES = {
    "curves.png": "How its training went",
    "confusion.png": "What it took for what on the test images",
    "predictions.png": "Some test images, its surest mistakes first",
    "comparison.png": "Compared with another version",
}
LARGEST_PICTURE = 20_000_000


@dataclass(frozen=True, kw_only=True)
class Row:
    """A version in the list, or what is wrong with it."""

    number: int
    version: ModelVersion | None = None
    promotion: Promotion | None = None
    fault: str = ""


class Models(View):
    template = "models.html"

    def look(self, *_: str) -> dict[str, Any]:
        return {"models": [model_of(self.shelves, name) for name in self.shelves.models.names()]}


def model_of(shelves: Shelves, name: str) -> dict[str, Any]:
    """A model with its newest versions; a broken one costs no other."""
    numbers = shelves.models.numbers(name)[::-1]
    champion, fault = champion_of(shelves, name)
    rows = [row_of(shelves, name, number) for number in numbers[:MOST_VERSIONS]]
    hidden = max(0, len(numbers) - MOST_VERSIONS)
    return {"name": name, "rows": rows, "champion": champion, "fault": fault, "hidden": hidden}


def champion_of(shelves: Shelves, name: str) -> tuple[int | None, str]:
    """Number of the champion, and what is wrong where that cannot be read."""
    try:
        champion = shelves.models.champion(name)
    except StorageError as error:
        return None, printable(str(error))
    return (champion.number if champion else None), ""


def row_of(shelves: Shelves, name: str, number: int) -> Row:
    try:
        version = shelves.models.version(name, number)
    except StorageError as error:
        return Row(number=number, fault=printable(str(error)))
    except OSError as error:
        return Row(number=number, fault=f"It cannot be read ({error.strerror}).")
    return Row(number=number, version=version, promotion=read_promotion(version))


class Model(View):
    template = "model.html"

    def look(self, *parts: str) -> dict[str, Any]:
        name, number = parts[0], int(parts[1])
        version = self.shelves.models.version(name, number)
        champion, fault = champion_of(self.shelves, name)
        manifest = version.manifest
        classes = manifest.per_class if manifest.accuracy is not None else []
        return {
            "version": version,
            "manifest": manifest,
            "champion": champion,
            "fault": fault,
            "promotion": read_promotion(version),
            "classes": classes[:MOST_CLASSES],
            "hidden": len(classes[MOST_CLASSES:]),
            "pictures": {
                file: title for file, title in PICTURES.items() if (version.folder / file).is_file()
            },
            "titles": TITLES,
        }


class Picture(Page):
    async def get(self, *parts: str) -> None:
        name, number, file = parts
        content = await self.read(picture, self.shelves, name, int(number), file)
        self.set_header("Content-Type", "image/png")
        self.finish(content)


def picture(shelves: Shelves, name: str, number: int, file: str) -> bytes:
    """One of `PICTURES` beside a version."""
    relative = f"{check_name(name, 'model name')}/{number}/{file}"
    return read_inside(shelves.models.folder, relative, LARGEST_PICTURE, {})[0]
