"""README and reference: their commands run in order, and their claims meet what is there."""

import importlib
import json
import re
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from console.settings import PREFIX
from console.variables import VARIABLES
from messaging.health import VARIABLE as HEALTH_FILE
from producer.cli import EXIT_CODES
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.acceptance.conftest import Home
from tests.acceptance.documents import (
    CONFIGURATION,
    DEVELOPMENT,
    DOCUMENTS,
    HOW_IT_WORKS,
    RECORDS,
    Document,
    agrees,
)
from tests.processes import REPOSITORY

pytestmark = pytest.mark.timeout(900)  # the first test waits for all commands of the README


def test_the_commands_of_readme_and_reference_print_what_they_say(
    readme_differences: list[str],
) -> None:
    assert not readme_differences, "\n\n".join(readme_differences)


@pytest.mark.usefixtures("readme_differences")
def test_the_notebook_among_the_examples_runs(home: Home) -> None:
    done = home.shell("python examples/classify_array.py")
    assert done.returncode == 0, done.stdout
    assert re.search(r"<Job \S+: 500 images for mnist@1>", done.stdout)
    assert re.search(r"accuracy 0\.9\d+, \d+ of 500 wrong", done.stdout)
    assert "score_mean" in done.stdout


@pytest.mark.usefixtures("readme_differences")
def test_the_accuracy_over_the_mnist_test_images_is_that_of_the_manifest(home: Home) -> None:
    version = ModelStore(home.storage).resolve("mnist@1")
    assert version.manifest.metrics["accuracy"] >= 0.97
    done = home.shell("producer submit mnist:test --model mnist@1 --json 2>/dev/null")
    summary = json.loads(done.stdout)
    assert summary["images"] == {"total": 10_000, "predicted": 10_000, "failed": 0}
    assert summary["accuracy"] == pytest.approx(version.manifest.accuracy)


@pytest.mark.usefixtures("readme_differences")
def test_a_job_of_the_readme_lies_on_storage_as_the_readme_says(home: Home) -> None:
    folder = JobStore(home.storage).path("first")
    there = {path.name for path in folder.iterdir()}
    assert there >= {"job.json", "inputs", "attempts", "results", "predictions.parquet"}
    assert there >= {"errors.jsonl", "report.html"}


def test_a_different_output_would_be_noticed() -> None:
    said = "Job a: 10 images.\n...\n  accuracy  0.97 over all images"
    assert agrees(said, "Job a: 10 images.\nx\ny\n  accuracy    0.9801 over all images\n")
    assert not agrees(said, "Job a: 11 images.\n  accuracy    0.9801 over all images\n")
    assert not agrees(said, "Job a: 10 images.\n  accuracy    0.9801 over all images\nmore\n")
    assert not agrees(said, "Job a: 10 images.\n  accuracy    0.9401 over all images\n")
    assert not agrees('"accuracy": 1.0,', '"accuracy": 0.9,')
    assert not agrees(said, "before\nJob a: 10 images.\n  accuracy    0.9801 over all images\n")


def test_commands_and_programs_are_found_with_what_they_print(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(
        "```console\n$ cat > a <<EOF\n> x\n> EOF\n$ false\nno\n$ echo $?\n1\n```\n"
        "```python\nprint(1)\n```\n\n```text\n1\n```\n```sh\nnever\n```\n"
    )
    found = [(s.place, s.command, s.prints, s.exit_code) for s in Document(path=path).steps()]
    assert found == [
        ("page.md:2", "cat > a <<EOF\nx\nEOF", (), 0),
        ("page.md:5", "false", ("no",), 1),
        ("page.md:11", "python -c 'print(1)'", ("1",), 0),
    ]


def settings_classes() -> list[type[BaseSettings]]:
    """All classes that read BATCHSIGHT_* from the environment."""
    found = []
    packages = (path.parent for path in REPOSITORY.glob("*/__init__.py"))
    for path in sorted(path for package in packages for path in package.rglob("*.py")):
        where = path.relative_to(REPOSITORY).with_suffix("")
        if where.parts[0] != "tests" and "(BaseSettings)" in path.read_text("utf-8"):
            module = importlib.import_module(".".join(where.parts))
            found += [
                thing
                for thing in vars(module).values()
                if isinstance(thing, type)
                and issubclass(thing, BaseSettings)
                and thing.__module__ == module.__name__
            ]
    return found


def test_the_variables_that_are_known_are_exactly_those_that_exist() -> None:
    read = {f"{PREFIX}{name.upper()}" for kind in settings_classes() for name in kind.model_fields}
    assert sorted({*read, HEALTH_FILE}) == list(VARIABLES)


def configuration_rows() -> list[tuple[str, ...]]:
    """Variable, default and meaning of all settings."""
    rows = []
    for settings in settings_classes():
        for name, field in settings.model_fields.items():
            default = "" if field.default in (None, "") else f"`{field.default}`"
            rows.append((f"`BATCHSIGHT_{name.upper()}`", default, field.description or ""))
    return sorted(rows)


def test_the_configuration_table_names_exactly_the_variables_that_exist() -> None:
    wanted = configuration_rows()
    assert len(wanted) > 15
    as_markdown = "\n".join(f"| {' | '.join(row)} |" for row in wanted).replace("|  |", "| |")
    rows = [tuple(cell for cell in row) for row in CONFIGURATION.table("variable")]
    assert [row[0] for row in rows] == [row[0] for row in wanted], f"It should be\n{as_markdown}"
    for row, (name, default, meaning) in zip(rows, wanted, strict=True):
        assert row == (name, default, meaning), f"It should be\n{as_markdown}"


def test_the_records_page_lists_the_exit_codes_that_the_help_lists() -> None:
    documented = {row[0] for row in RECORDS.table("exit code")}
    assert documented == set(re.findall(r"^  (\d+) ", EXIT_CODES, re.MULTILINE))


def test_every_make_target_that_the_documents_name_exists() -> None:
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    for document in DOCUMENTS:
        named = set(re.findall(r"(?:`|^)make ([a-z-]+)", document.text, re.MULTILINE))
        assert named <= targets, f"{document.path}: {named - targets}"
    assert {"demo", "test"} <= targets


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for document in DOCUMENTS:
        for link in re.findall(r"\]\(([^)]+)\)", document.text):
            if link.startswith("http"):
                continue
            name, _, anchor = link.partition("#")
            target = document.path.parent / name if name else document.path
            assert target.is_file(), f"{document.path} links to {link}"
            if anchor:
                assert anchor in anchors(Document(path=target)), f"{document.path} links to {link}"


def anchors(document: Document) -> set[str]:
    """What the headings of a document can be reached by."""
    headings = re.findall(r"^#+ (.+)$", document.text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_tree_of_the_development_page_names_the_folders_that_are_there() -> None:
    tree = next(b for b in DEVELOPMENT.blocks("text") if b.lines[0].startswith("console/"))
    named = {line.partition("/")[0] for line in tree.lines}
    packages = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")}
    assert packages <= named
    assert all((REPOSITORY / name).is_dir() for name in named)


def test_the_way_of_an_image_goes_through_rooms_and_names_that_exist() -> None:
    text = HOW_IT_WORKS.text
    way = text[text.index("## One image on its way") : text.index("## What lies where")]
    rooms = [name for step in re.findall(r"^\d+\. (.*)", way, re.M) for name in names(step)]
    assert len(rooms) == 10
    for step in re.split(r"^\d+\. ", way, flags=re.M)[1:]:
        room = re.findall(r"\*\*`([\w.]+)`\*\*", step)[0]
        sources = "".join(
            path.read_text("utf-8") for path in (REPOSITORY / room.replace(".", "/")).glob("*.py")
        )
        assert sources, f"There is no room {room}."
        for name in re.findall(r"\(`([\w.]+)`\)", step):
            kind, _, method = name.partition(".")
            stem = (REPOSITORY / room.replace(".", "/") / f"{name}.py").is_file()
            assert stem or re.search(rf"^(class|def) {kind}\b", sources, re.M), f"{room}: {name}"
            assert not method or re.search(rf"^    def {method}\b", sources, re.M), (
                f"{room}: {name}"
            )


def names(step: str) -> list[str]:
    """The room that a step is about."""
    return re.findall(r"^\*\*`([\w.]+)`\*\*", step)
