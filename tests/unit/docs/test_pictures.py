"""What docs/pictures.md says of names and limits; its other claims have tests of their own."""

import re
from typing import get_args

from imaging.preprocessing import Interpolation
from storage.settings import StorageSettings
from tests.processes import REPOSITORY

PAGE = (REPOSITORY / "docs" / "pictures.md").read_text("utf-8")


def test_the_page_names_every_interpolation_once() -> None:
    table = PAGE.split("## Interpolation")[1].split("\n\n")[1]
    names = [
        name for row in table.splitlines()[2:] for name in re.findall("`(.+?)`", row.split("|")[1])
    ]
    assert sorted(names) == sorted(get_args(Interpolation))


def test_the_page_gives_the_limits() -> None:
    for name, field in [
        ("PIXELS", "max_image_pixels"),
        ("BYTES", "max_image_bytes"),
    ]:
        default = StorageSettings.model_fields[field].default
        assert re.search(rf"`BATCHSIGHT_MAX_IMAGE_{name}`(?: is)? {default:,}\b", PAGE)
