"""Names of classes: which two are the same, and what a whole number among labels means."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

WHOLE_NUMBER = re.compile(r"(-?[0-9]+)(?:\.0*)?")
BYTE_ORDER_MARK = "\ufeff"


def canonical(name: str) -> str:
    """The one way to write a name: in NFC, without what nobody sees at its ends.

    File systems and editors write `ä` as one character or as two, and leave blanks and byte order
    marks behind; no two classes differ in that alone.
    """
    name = name.strip().strip(BYTE_ORDER_MARK).strip()
    return name if name.isascii() else unicodedata.normalize("NFC", name)


class Classes(Mapping[str, int]):
    """Position of each class by its name, however that is written.

    The exact name comes first, then the same one written otherwise, then the same whole number:
    `1.0`, as pandas writes a column with gaps, is the class `1`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._exact = {name: i for i, name in enumerate(names)}
        self._written: dict[str, int] = {}
        self._numbers: dict[int, int] = {}
        shared: set[int] = set()
        for i, name in enumerate(names):
            self._written.setdefault(canonical(name), i)
            number = whole_number(name)
            if number is not None and self._numbers.setdefault(number, i) != i:
                shared.add(number)
        for number in shared:  # `1` and `01` are two classes here: neither is meant by `1.0`
            del self._numbers[number]
        self.numbered = any(whole_number(name) is not None for name in names)
        """Whether a class has a whole number for its name: whole numbers are names then."""

    def __getitem__(self, name: str) -> int:
        found = self._exact.get(name)
        if found is None:
            found = self._written.get(canonical(name))
        if found is None:
            number = whole_number(name)
            found = None if number is None else self._numbers.get(number)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def of_number(self, number: int) -> int | None:
        """The class that a whole number means, none if it means none.

        It is a name when any class is named by a whole number, and a position when none is. That
        hangs on the classes alone, never on which numbers occur beside it.
        """
        if self.numbered:
            return self.get(str(number))
        return number if 0 <= number < len(self._names) else None


def whole_number(name: str) -> int | None:
    """The whole number that a name is: 1 for `1`, `01` and `1.0`; none for any other name."""
    found = WHOLE_NUMBER.fullmatch(canonical(name))
    return int(found[1]) if found and len(name) < 20 else None
