"""The report in a real browser: nothing is loaded, nothing is wrong, and it fits a phone."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from evaluation.baseline import Baseline
from producer.report.statistics.examples import EXAMPLES_OF_A_CLASS
from producer.report.writing import write_report
from storage.jobs.job import Job
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.settings import StorageSettings
from tests.browser import MISSING, Browser, open_browser
from tests.builders import encode as encoded
from tests.builders import file_job, image_file, publish
from tests.digits import digits
from tests.fake_queue import FakeWorker

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

HOSTILE = "<script>document.title='hit'</script><img src=http://example.com/x.png>"
LONG = "a-very-long-class-name-without-a-single-space-in-it-" * 3
CLASSES = (*map(str, range(8)), HOSTILE, LONG)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("browser") / "chromedriver.log") as browser:
        yield browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a job that has everything: mistakes, errors, drift and long names."""
    root = tmp_path_factory.mktemp("storage")
    store, models = JobStore(root), ModelStore(root)
    images, labels = digits()
    probabilities = np.eye(10)[labels[:500]] * 0.9
    baseline = Baseline.of(probabilities, images[:500, ..., None])
    model = publish(models, labels=CLASSES, input_shape=(8, 8, 1), baseline=baseline).pin
    files = [
        image_file(encoded(np.rot90(images[i])), i, id=f"{LONG}/{HOSTILE}/{i}", label=labels[i])
        for i in range(200)
    ]
    job = file_job(store, files, labels=CLASSES, model=model, batch_size=50, source=LONG)
    classify(store, job)
    return write_report(store.of(job), models, StorageSettings()).path


def classify(store: JobStore, job: Job) -> None:
    reasons = {3: f"file cannot be read: {LONG}", 7: HOSTILE, 8: f"too many pixels: {LONG}"}
    worker = FakeWorker(store, reasons)
    for batch in range(job.batches):
        store.of(job).attempts.begin(batch).end("done", {"predict": 0.01})
        store.of(job).results.write(batch, worker.result(job, batch))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_report_is_sound_in_a_browser(
    browser: Browser, report: Path, width: int, scheme: str
) -> None:
    browser.open(report, width=width, scheme=scheme)
    assert browser.messages() == []
    asked = [url for url in browser.requests() if not url.startswith("data:")]
    assert asked == [report.as_uri()]
    assert browser.run("document.title") == "Job job"
    counts = {"mistakes": 24, "unsure": 24, "examples": 10 * EXAMPLES_OF_A_CLASS, "errors": 3}
    for section, count in counts.items():
        assert browser.run(f"document.querySelectorAll('#{section} img').length") == count
    assert browser.run("[...document.images].every(image => image.naturalWidth == 8)")
    assert browser.run("innerWidth") == width
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("document.querySelector('.scroll').scrollWidth") > 300
    assert (brightness(browser, "backgroundColor") < 0.2) == (scheme == "dark")
    assert (brightness(browser, "color") > 0.8) == (scheme == "dark")


@pytest.mark.parametrize("section", ["classes", "errors", "drift", "time"])
def test_every_table_but_the_matrix_fits_a_phone(
    browser: Browser, report: Path, section: str
) -> None:
    browser.open(report, width=390, scheme="light")
    box = f"document.querySelector('#{section} .scroll')"
    assert browser.run(f"{box}.clientWidth") == 362
    assert browser.run(f"{box}.scrollWidth") == 362


HINT = "getComputedStyle(document.querySelector('#{section} .hint')).display"


@pytest.mark.parametrize(("width", "scrolls"), [(1280, False), (390, True)])
def test_what_scrolls_says_so(browser: Browser, report: Path, width: int, *, scrolls: bool) -> None:
    browser.open(report, width=width, scheme="light")
    box = "document.querySelector('#confusion .scroll')"
    assert browser.run(f"{box}.scrollWidth > {box}.clientWidth") == scrolls
    assert browser.run(HINT.format(section="confusion")) == ("block" if scrolls else "none")
    assert browser.run(HINT.format(section="classes")) == "none"


LINES = """[...document.querySelectorAll('#time tbody th')].map(cell => {
  const text = document.createRange();
  text.selectNodeContents(cell);
  return text.getClientRects().length;
})"""


def test_a_name_in_a_matrix_takes_little_room(browser: Browser, report: Path) -> None:
    browser.open(report, width=1280, scheme="light")
    heads = "[...document.querySelectorAll('#confusion thead bdi')]"
    sizes = browser.run(f"{heads}.map(head => [head.offsetWidth, head.offsetHeight, head.title])")
    assert {title for _, _, title in sizes} == {"", HOSTILE, LONG}
    assert max(width for width, _, _ in sizes) < 40, "they stand upright"
    assert max(height for _, height, _ in sizes) < 200


def test_a_phase_is_one_word_on_a_phone(browser: Browser, report: Path) -> None:
    browser.open(report, width=390, scheme="light")
    lines = browser.run(LINES)
    assert len(lines) > 3
    assert set(lines) == {1}


def brightness(browser: Browser, colour: str) -> float:
    """Of a colour of the page, 0 to 1."""
    written = browser.run(f"getComputedStyle(document.body).{colour}")
    return sum(map(int, re.findall(r"\d+", written)[:3])) / (3 * 255)


CONTRASTS = """(() => {
  const canvas = document.createElement('canvas').getContext('2d');
  const rgb = colour => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const found = rgb(getComputedStyle(node).backgroundColor);
      if (found[3] == 255) return found;
    }
  };
  return [...document.querySelectorAll('body *')]
    .filter(node => [...node.childNodes].some(n => n.nodeType == 3 && n.data.trim()))
    .filter(node => !['title'].includes(node.localName))
    .map(node => {
      const style = getComputedStyle(node);
      const ink = node.closest('svg') ? style.fill : style.color;
      const [a, b] = [light(rgb(ink)), light(behind(node))].sort((x, y) => y - x);
      return [(a + 0.05) / (b + 0.05), node.localName, node.className.toString()];
    });
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_background(
    browser: Browser, report: Path, scheme: str
) -> None:
    browser.open(report, width=1280, scheme=scheme)
    found = browser.run(CONTRASTS)
    assert len(found) > 200
    assert min(found)[0] >= 4.5, sorted(found)[:5]
