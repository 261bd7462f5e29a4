import unicodedata

import pytest

from storage.class_names import Classes, canonical

NFC, NFD = (unicodedata.normalize(form, "Käse") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    "written", [NFC, NFD, f" {NFD}\t", f"\ufeff{NFC}", f"{NFC}\N{NO-BREAK SPACE}"]
)
def test_one_name_is_one_name_however_it_is_written(written: str) -> None:
    assert canonical(written) == NFC
    assert Classes(["Brot", NFD])[written] == Classes(["Brot", NFC])[written] == 1


def test_case_and_blanks_within_tell_names_apart() -> None:
    assert "brot" not in Classes(["Brot", "New York"])
    assert "NewYork" not in Classes(["Brot", "New York"])


def test_classes_that_differ_only_in_how_they_are_written_are_found_by_their_exact_names() -> None:
    assert [Classes([NFC, NFD])[name] for name in (NFC, NFD)] == [0, 1]


@pytest.mark.parametrize(
    ("classes", "name", "position"),
    [
        (("0", "1"), "1.0", 1),
        (("0.0", "1.0"), "1", 1),
        (("001", "002"), "2", 1),
        (("1", "01"), "01", 1),
        (("1", "01"), "1.0", None),
        (("0", "1"), "0.5", None),
        (("zero", "one"), "1", None),
        (("-1", "1"), "-1.0", 0),
    ],
)
def test_a_name_that_is_a_whole_number_is_found_however_the_number_is_written(
    classes: tuple[str, ...], name: str, position: int | None
) -> None:
    assert Classes(classes).get(name) == position


@pytest.mark.parametrize(
    ("classes", "meanings"),
    [
        (("zero", "one", "two"), {0: 0, 2: 2, 3: None, -1: None}),
        (("1", "2", "3"), {0: None, 1: 0, 3: 2}),
        (("3", "5", "7"), {0: None, 3: 0, 7: 2}),
        (("0.0", "1.0"), {0: 0, 1: 1}),
        (("0", "1", "10", "2"), {2: 3, 10: 2, 3: None}),
        (("cat", "1"), {0: None, 1: 1}),
    ],
)
def test_what_a_number_means_hangs_on_the_classes_alone(
    classes: tuple[str, ...], meanings: dict[int, int | None]
) -> None:
    assert {number: Classes(classes).of_number(number) for number in meanings} == meanings
