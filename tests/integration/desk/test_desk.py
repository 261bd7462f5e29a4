"""The desk as a program, asked over HTTP, and in a real browser."""

import base64
import csv
import http.client
import io
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from local.redis_server import choose_port
from producer.report.writing import write_report
from producer.results.records import PREDICTIONS_FILE
from storage.jobs.job import Job
from storage.jobs.store import JobStore
from storage.models.promotions import Check, Promotion, Thresholds, write_promotion
from storage.models.store import ModelStore
from storage.settings import StorageSettings
from tests.browser import MISSING, open_browser
from tests.builders import SHAPE, add_dataset, describe_job, encode, file_job, image_file, publish
from tests.fake_queue import FakeWorker
from tests.processes import Program, wait_for

HOSTILE = "<script>document.title='hit'</script><img src=http://example.com/x.png>"
LONG = "a-very-long-class-name-without-a-single-space-in-it-" * 3
CLASSES = ("zero", HOSTILE, LONG)
MANY = 101
THRESHOLDS = Thresholds(
    alpha=0.05,
    recall=0.05,
    recall_loss=0.02,
    calibration=0.1,
    latency=3,
    memory=3,
    seconds=300,
    megabytes=3000,
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Desk:
    """A running desk."""

    def __init__(self, storage: Path, folder: Path, **environment: str) -> None:
        self.port = choose_port()
        self.storage = storage
        command = [sys.executable, "-m", "desk", "--port", str(self.port)]
        settings = {"BATCHSIGHT_STORAGE": str(storage), **environment}
        self.program = Program(command, folder / "desk.log", settings)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return Answer(status=answer.status, headers=answer.headers, body=answer.read())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job that has ended, one that goes on, a broken one, and a model with its data set."""
    root = tmp_path_factory.mktemp("storage")
    jobs, models = JobStore(root), ModelStore(root)
    version = publish(models, labels=CLASSES)
    (version.folder / "curves.png").write_bytes(encode(np.full((300, 900), 200, np.uint8)))
    reason = f"it is worse: {HOSTILE}"
    promotion = Promotion(
        passed=False,
        reason=reason,
        candidate=version.pin,
        champion=None,
        dataset=None,
        dataset_sha256=None,
        checks=(Check(name="recall", passed=False, finding=LONG),),
        thresholds=THRESHOLDS,
        judged_at=datetime.now(UTC),
    )
    write_promotion(version, promotion)
    add_dataset(root, [0, 1, 1, 2], classes=CLASSES, origin=HOSTILE)
    for job_id, done in (("ended", 5), ("going", 2)):
        pixels = encode(np.zeros(SHAPE, np.uint8))
        files = [image_file(pixels, i, id=f"{HOSTILE}/{i}", label=i % 3) for i in range(20)]
        job = file_job(
            jobs, files, id=job_id, labels=CLASSES, model=version.pin, source=HOSTILE, notes=(LONG,)
        )
        classify(jobs, job, done)
    (root / "jobs" / "broken").mkdir()
    (root / "jobs" / "broken" / "job.json").write_text("no job")
    return root


def classify(jobs: JobStore, job: Job, batches: int) -> None:
    fake = FakeWorker(jobs, {3: f"file cannot be read: {HOSTILE}"})
    for batch in range(batches):
        jobs.of(job).attempts.begin(batch).end("done", {"predict": 0.01})
        jobs.of(job).results.write(batch, fake.result(job, batch))


@pytest.fixture(scope="module")
def program(storage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One desk for all tests."""
    desk = Desk(storage, tmp_path_factory.mktemp("desk"))
    desk.program.wait_for_log("Desk at", seconds=60)
    yield desk
    assert desk.program.terminate() == 0


StartDesk = Callable[..., Desk]


@pytest.fixture
def start_desk(tmp_path: Path) -> Iterator[StartDesk]:
    """Starts desks of a test's own, which end with it."""
    started: list[Desk] = []

    def start(storage: Path, **environment: str) -> Desk:
        started.append(Desk(storage, tmp_path, **environment))
        return started[-1]

    yield start
    for desk in started:
        desk.program.terminate()


PAGES = (
    "/",
    "/jobs/ended",
    "/jobs/going",
    "/models",
    "/models/digits/1",
    "/data",
    "/data/digits/1",
)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_whole_and_what_users_wrote_is_text(program: Desk, path: str) -> None:
    answer = program.ask(path)
    assert answer.status == 200
    assert answer.text.endswith("</html>\n")
    assert "<script" not in answer.text
    assert "example.com/x.png>" not in answer.text
    assert answer.headers["Content-Security-Policy"].startswith(
        "default-src 'none'; img-src 'self'"
    )
    head = program.ask(path, "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(answer.body))


def test_a_broken_job_is_told_and_costs_no_other(program: Desk) -> None:
    page = program.ask("/").text
    assert "Job broken is damaged" in page
    assert "/jobs/ended" in page
    assert "8 of 20" in page


def test_only_what_goes_on_is_loaded_again(program: Desk) -> None:
    again = '<meta http-equiv="refresh" content="2">'
    found = {path: again in program.ask(path).text for path in PAGES}
    assert {path for path, refreshed in found.items() if refreshed} == {"/", "/jobs/going"}


def test_a_report_is_what_the_producer_writes_and_storage_stays_as_it_is(
    program: Desk, tmp_path: Path
) -> None:
    before = files_below(program.storage)
    answer = program.ask("/jobs/ended/report")
    assert "The job goes on." in program.ask("/jobs/going/report").text
    program.ask("/jobs/ended/records.csv")
    assert files_below(program.storage) == before
    assert "img-src data:" in answer.headers["Content-Security-Policy"]
    shutil.copytree(program.storage, tmp_path / "copy")
    stored = JobStore(tmp_path / "copy").open("ended")
    report = write_report(stored, ModelStore(tmp_path / "copy"), StorageSettings()).path
    assert untimed(answer.body) == untimed(report.read_bytes())


def untimed(report: bytes) -> bytes:
    """A report without where the time went: merging takes some."""
    return re.sub(rb'<section id="time".*?</section>', b"", report, flags=re.DOTALL)


def files_below(root: Path) -> dict[str, int]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in files}


def test_records_come_as_files(program: Desk) -> None:
    answer = program.ask("/jobs/ended/records.csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="ended.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["id"] for row in rows] == [f"{HOSTILE}/{i}" for i in range(20)]
    assert len(program.ask("/jobs/going/records.csv").text.splitlines()) == 1 + 8
    missing = program.ask("/jobs/ended/records.parquet")
    assert (missing.status, "not merged yet" in missing.text) == (404, True)
    merged = program.storage / "jobs" / "ended" / PREDICTIONS_FILE
    merged.write_bytes(b"PAR1" * 1_000_000)
    try:
        assert program.ask("/jobs/ended/records.parquet").body == merged.read_bytes()
        merged.unlink()
        merged.symlink_to("/etc/passwd")
        assert program.ask("/jobs/ended/records.parquet").status == 500
    finally:
        merged.unlink()


def test_a_file_of_records_that_breaks_off_is_no_file(program: Desk) -> None:
    damaged = JobStore(program.storage).path("going") / "results"
    result = sorted(damaged.iterdir())[1]
    content = result.read_bytes()
    result.write_bytes(content[:100])
    try:
        answer = program.ask("/jobs/going/records.csv")
    finally:
        result.write_bytes(content)
    assert answer.status == 500
    assert "Content-Disposition" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/none",
        "/jobs/..%2F..%2Fmodels",
        "/jobs/%2Fetc",
        "/models/digits/7",
        "/models/..%2Fjobs/1",
        "/models/digits/1/manifest.json",
        "/models/digits/1/..%2F..%2Fchampion.json",
        "/models/digits/1/confusion.png",
        "/data/none/1",
        "/desk/page.py",
        "/templates/base.html",
        "/older/7",
        f"/jobs/{quote(HOSTILE, safe='')}",
    ],
)
def test_what_is_not_there_is_not_found(program: Desk, path: str) -> None:
    answer = program.ask(path)
    assert answer.status == 404
    assert "<script" not in answer.text


def test_pictures_of_a_version_are_shown_unless_they_lead_elsewhere(program: Desk) -> None:
    folder = program.storage / "models" / "digits" / "1"
    answer = program.ask("/models/digits/1/curves.png")
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.body == (folder / "curves.png").read_bytes()
    (folder / "comparison.png").symlink_to("/etc/passwd")
    try:
        assert program.ask("/models/digits/1/comparison.png").status == 404
    finally:
        (folder / "comparison.png").unlink()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_but_reading_is_taken(program: Desk, method: str) -> None:
    assert program.ask("/", method).status == 405


def test_a_name_that_others_point_at_this_machine_is_refused(program: Desk) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", f"evil.example:{program.port}"):
        assert program.ask("/", Host=host).status == 421
    for host in ("localhost", f"LOCALHOST:{program.port}", f"[::1]:{program.port}"):
        assert program.ask("/", Host=host).status == 200


def test_user_and_password_are_those_of_flower(
    start_desk: StartDesk, storage: Path, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("se:cret\n")
    file = str(tmp_path / "password")
    desk = start_desk(storage, FLOWER_PASSWORD_FILE=file, FLOWER_USER="me")
    desk.program.wait_for_log("Desk at", seconds=60)
    refused = desk.ask("/jobs/ended")
    assert (refused.status, b"ended" in refused.body) == (401, False)
    assert refused.headers["WWW-Authenticate"].startswith("Basic ")
    for wrong in ("me:secret", "you:se:cret", "me:", ""):
        assert desk.ask("/", Authorization=basic(wrong)).status == 401
    assert desk.ask("/", Authorization="Basic §").status == 401
    assert desk.ask("/", Authorization=basic("me:se:cret")).status == 200
    assert desk.ask("/healthcheck").body == b"OK"


def basic(login: str) -> str:
    return f"Basic {base64.b64encode(login.encode()).decode()}"


def test_without_a_password_it_does_not_leave_this_machine(
    start_desk: StartDesk, storage: Path
) -> None:
    desk = start_desk(storage, BATCHSIGHT_DESK_ADDRESS="0.0.0.0")
    desk.program.wait_for_log("set FLOWER_BASIC_AUTH=user:password", seconds=60)
    wait_for(lambda: not desk.program.running, "it ends")
    assert desk.program.exit_code == 1


def test_many_jobs_are_on_several_pages(start_desk: StartDesk, tmp_path: Path) -> None:
    jobs = JobStore(tmp_path / "storage")
    for number in range(MANY):
        with jobs.draft() as draft:
            jobs.commit(draft, describe_job(id=f"job-{number}"))
        os.utime(jobs.path(f"job-{number}") / "job.json", (number, number))
    desk = start_desk(tmp_path / "storage")
    desk.program.wait_for_log("Desk at", seconds=60)
    first, second = desk.ask("/").text, desk.ask("/older/2").text
    assert first.index("job-100<") < first.index("job-1<")
    assert 'href="/older/2"' in first
    assert ("job-0<" in first, "job-0<" in second, "job-1<" in second) == (False, True, False)
    assert desk.ask("/older/3").status == 404


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_pages_fit_a_phone_and_ask_for_nothing_from_elsewhere(
    program: Desk, tmp_path: Path
) -> None:
    with open_browser(tmp_path / "chromedriver.log") as browser:
        for path in PAGES:
            for width in (400, 1280):
                browser.visit(program.url + path, width=width, scheme="light")
                assert browser.run("document.title").endswith(" batchsight")
                assert browser.run("innerWidth") == width
                assert browser.run("document.documentElement.scrollWidth") <= width, path
                assert browser.run("getComputedStyle(document.body).margin") == "0px"
                assert browser.run("[...document.images].every(image => image.naturalWidth)")
                assert browser.messages() == []
                asked = [url for url in browser.requests() if not url.startswith("data:")]
                assert all(url.startswith(program.url) for url in asked), asked
