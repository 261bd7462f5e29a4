"""What folders and lines that belong to a split are called, in any case: `Training_Set`, say."""

import re

from storage.class_names import canonical

SPLIT_NAMES = {
    "train": r"tr(ai)?n(ing)?",
    "test": r"te?st(ing)?",
    "validation": r"val(id(ation)?)?",
}
SPLIT_OF = {
    split: re.compile(
        rf"((x|seg|images?|data)[ ._-]?)?{name}([ ._-]?(data|images?|(data)?set|split))?"
    )
    for split, name in SPLIT_NAMES.items()
}
"""In lower case: `train`, `training_set`, `seg_test`."""


def split_called(name: str) -> str | None:
    """The split that is called so, if it is one."""
    name = canonical(name).lower()
    return next((split for split, names in SPLIT_OF.items() if names.fullmatch(name)), None)
