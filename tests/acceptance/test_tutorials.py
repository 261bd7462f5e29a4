"""The tutorials: their commands are run in order, and both languages show the same ones."""

import re

import pytest

from tests.acceptance.conftest import Home
from tests.acceptance.documents import Document
from tests.processes import REPOSITORY

pytestmark = pytest.mark.timeout(900)

ROLES = ("trainer", "operator", "producer", "photographs")


def tutorial(role: str, language: str = "") -> Document:
    return Document(path=REPOSITORY / "docs" / "tutorials" / f"{role}{language}.md")


@pytest.mark.parametrize("role", ["trainer", "producer", "photographs"])
def test_the_commands_of_the_tutorial_print_what_it_says(role: str, other_home: Home) -> None:
    differences = other_home.differences(tutorial(role))
    assert not differences, "\n\n".join(differences)


def test_the_commands_of_the_operators_tutorial_print_what_it_says(bare_home: Home) -> None:
    differences = bare_home.differences(tutorial("operator"))
    assert not differences, "\n\n".join(differences)


@pytest.mark.parametrize("role", ROLES)
def test_both_languages_of_a_tutorial_show_the_same_commands_and_outputs(role: str) -> None:
    english, chinese = tutorial(role), tutorial(role, ".zh")
    shown = [(block.language, block.lines) for block in english.blocks()]
    assert len(shown) > 5
    assert [(block.language, block.lines) for block in chinese.blocks()] == shown
    assert len(re.findall("[\u4e00-\u9fff]", chinese.text)) > 500


@pytest.mark.parametrize("role", ROLES)
def test_the_readme_leads_to_both_languages_of_a_tutorial_and_they_to_each_other(role: str) -> None:
    readme = Document(path=REPOSITORY / "README.md").text
    for here, there in (("", ".zh"), (".zh", "")):
        assert f"(docs/tutorials/{role}{here}.md)" in readme
        assert f"({role}{there}.md)" in tutorial(role, here).text
