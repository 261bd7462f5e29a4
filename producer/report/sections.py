"""The sections of the report. One that has nothing to tell is empty, and left out."""

import base64
import io

import numpy as np
from PIL import Image

from evaluation.calibration import BINS
from evaluation.class_table import MOST_CLASS_ROWS
from evaluation.confusion import ClassScore, Evaluation
from evaluation.drift import SMALLEST_DRIFT, Comparison
from imaging.images import Pixels
from producer.report import charts
from producer.report.analysis import Findings, Mistake, Pictures, Reason
from producer.report.elements import DASH, cut, definitions, moment, name, percent, scroll, table
from producer.report.html import Markup, element, join
from producer.results.records import ERRORS_FILE, read_identities
from producer.results.timeline import PHASES, Timeline
from storage.jobs.store import Job, JobStore
from storage.models.store import IMPORTED, Manifest
from storage.settings import StorageSettings

MOST_MATRIX_CLASSES = 25
MOST_CONFUSIONS = 30
LARGEST_PICTURE = 96
"""Pixels per side; larger images are shown smaller."""


# Classes


def class_section(job: Job, findings: Findings, manifest: Manifest | None) -> Markup:
    """Metrics by class where labels are known, else how often each class was predicted."""
    if findings.tally.evaluation.count:
        return class_table(findings.tally.evaluation)
    if findings.classes.any():
        return class_mix(job, findings, manifest)
    return Markup()


def class_table(evaluation: Evaluation) -> Markup:
    """Precision, recall and F1; of very many classes those with the lowest F1."""
    predicted = evaluation.matrix.sum(axis=0).tolist()
    pairs = zip(evaluation.per_class(), predicted, strict=True)
    rows = [(score, count) for score, count in pairs if score.support or count]
    said = f"Over {evaluation.count:,} images with a label and a prediction."
    if len(rows) < len(evaluation.labels):
        said += f" Of {len(evaluation.labels):,} classes {len(rows):,} occur."
    if len(rows) > MOST_CLASS_ROWS:
        said += f" Shown are the {MOST_CLASS_ROWS} with the lowest F1."
        rows = sorted(rows, key=lambda row: row[0].f1)[:MOST_CLASS_ROWS]
    head = ["class", "precision", "recall", "F1", "", "images", "predicted"]
    return table(said, head, [class_row(score, count) for score, count in rows])


def class_row(score: ClassScore, predicted: int) -> list[str]:
    """One class; a figure without a denominator is a dash."""
    return [
        name(score.label),
        f"{score.precision:.4f}" if predicted else DASH,
        f"{score.recall:.4f}" if score.support else DASH,
        f"{score.f1:.4f}",
        charts.bar(score.f1),
        f"{score.support:,}",
        f"{predicted:,}",
    ]


def class_mix(job: Job, findings: Findings, manifest: Manifest | None) -> Markup:
    """How often each class was predicted, beside the model's test."""
    counts = findings.classes
    shares = counts / counts.sum()
    highest = float(shares.max())
    order = np.arange(len(counts))
    said = "No image has a label: this is how often each class was predicted."
    if len(order) > MOST_CLASS_ROWS:
        order = np.argsort(-counts, kind="stable")[:MOST_CLASS_ROWS]
        said += f" Shown are the {MOST_CLASS_ROWS} commonest of {len(counts):,} classes."
    tested = None
    if manifest and manifest.baseline:
        tested = np.array(manifest.baseline.classes) / max(1, sum(manifest.baseline.classes))
        highest = max(highest, float(tested.max()))
        said += " The mark is its share in the model's test."
    rows = [
        [
            name(job.labels[i]),
            f"{counts[i]:,}",
            f"{shares[i]:.1%}",
            DASH if tested is None else f"{tested[i]:.1%}",
            charts.bar(
                float(shares[i]) / highest,
                mark=None if tested is None else float(tested[i]) / highest,
            ),
        ]
        for i in order.tolist()
    ]
    return table(said, ["class", "images", "share", "in the test", ""], rows)


# Confusion


def confusion_section(evaluation: Evaluation) -> Markup:
    """The matrix, or of many classes the commonest confusions."""
    if not evaluation.count:
        return Markup()
    if len(evaluation.labels) > MOST_MATRIX_CLASSES:
        return confusion_list(evaluation)
    return confusion_matrix(evaluation)


def confusion_matrix(evaluation: Evaluation) -> Markup:
    """Actual classes by row, predicted ones by column; the darker, the more of its row."""
    matrix = evaluation.matrix
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    mistakes = shares - np.diag(shares.diagonal())
    depths = (mistakes / max(float(mistakes.max(initial=0.0)), 0.02)) ** 0.7
    np.fill_diagonal(depths, shares.diagonal())
    levels = np.ceil(depths * 9).astype(int)

    def cell(i: int, j: int) -> Markup:
        if not matrix[i, j]:
            return element("td")
        colour = "r" if i == j else "w"
        return element("td", f"{matrix[i, j]:,}", class_=f"{colour}{levels[i, j]}")

    names = [name(label) for label in evaluation.labels]
    every = range(len(names))
    head = element("tr", element("td"), *(element("th", n, scope="col") for n in names))
    rows = [
        element("tr", element("th", names[i], scope="row"), *(cell(i, j) for j in every))
        for i in every
    ]
    said = (
        "Rows are actual classes, columns predicted ones. Blue is right, orange wrong; the darker, "
        "the larger its share of the row."
    )
    return scroll(said, element("thead", head), element("tbody", *rows), class_="matrix")


def confusion_list(evaluation: Evaluation) -> Markup:
    """The commonest confusions of many classes."""
    matrix = evaluation.matrix
    support = matrix.sum(axis=1)
    mistakes = matrix - np.diag(matrix.diagonal())
    commonest = np.argsort(-mistakes, axis=None, kind="stable")[:MOST_CONFUSIONS]
    cells = [divmod(cell, len(matrix)) for cell in commonest.tolist()]
    rows = [
        [
            name(evaluation.labels[i]),
            name(evaluation.labels[j]),
            f"{mistakes[i, j]:,}",
            f"{mistakes[i, j] / support[i]:.1%}",
        ]
        for i, j in cells
        if mistakes[i, j]
    ]
    if not rows:
        return element("p", "No class was taken for another.")
    said = f"The commonest confusions; a matrix of {len(matrix):,} classes would be unreadable."
    return table(said, ["actual", "predicted", "images", "of its class"], rows)


# Scores


def score_section(findings: Findings) -> Markup:
    """How sure the model is, and whether rightly so."""
    if not findings.scores.all.any():
        return Markup()
    histogram = element(
        "figure",
        element("figcaption", "Scores, as a share of each kind of prediction"),
        charts.score_chart(findings.scores),
    )
    calibration = findings.scores.calibration
    bins = calibration.bins
    if not bins:
        return element("div", histogram, class_="charts")
    said = (
        f"The scores promise {percent(calibration.confidence)} right answers, "
        f"{percent(calibration.accuracy)} are right. The expected calibration error is "
        f"{calibration.error:.4f}, over {BINS} bins of scores."
    )
    diagram = element(
        "figure",
        element(
            "figcaption",
            "Accuracy by score. Where bars end on the dashed line, the model is as sure as it is "
            "right; the thin lines are 95 % intervals",
        ),
        charts.reliability_chart(bins),
    )
    numbers = table(
        "Labelled predictions by score",
        ["score", "images", "mean score", "accuracy"],
        [
            [f"{b.low:.1f} to {b.high:.1f}", f"{b.images:,}", f"{b.score:.4f}", f"{b.accuracy:.4f}"]
            for b in bins
        ],
    )
    return join(
        element("p", said),
        element("div", diagram, histogram, class_="charts"),
        element("details", element("summary", "The same in numbers"), numbers),
    )


# Mistakes


def mistake_section(
    store: JobStore,
    job: Job,
    findings: Findings,
    manifest: Manifest | None,
    settings: StorageSettings,
) -> Markup:
    """The wrong predictions that the model was surest of, as pictures."""
    if not findings.tally.evaluation.count:
        return Markup()
    if not findings.mistakes:
        return element("p", "There are no mistakes.")
    pictures = None
    if manifest:
        pictures = Pictures(store, job, manifest.input_shape, manifest.preprocessing, settings)
    items = [mistake_item(store, job, mistake, pictures) for mistake in findings.mistakes]
    wrong = int(findings.scores.wrong.sum())
    said = (
        f"{len(items)} of {wrong:,} mistakes, those of the highest scores, as the model saw them. "
        "An image with a wrong label would stand here, too."
    )
    return join(element("p", said), element("ul", *items, class_="pictures"))


def mistake_item(store: JobStore, job: Job, mistake: Mistake, pictures: Pictures | None) -> Markup:
    """One mistake with its picture, if that can still be had."""
    predicted, actual = name(job.labels[mistake.predicted]), name(job.labels[mistake.actual])
    batch, offset = divmod(mistake.position, job.batch_size)
    image_id = read_identities(store, job, batch).ids[offset].as_py()
    found = pictures.read_some([mistake.position]) if pictures else []
    return element(
        "li",
        *(picture(pixels, cut(f"Image {image_id}")) for pixels in found),
        element("b", "predicted ", predicted),
        element("span", "actual ", actual),
        element("span", f"score {mistake.score:.1%}", class_="faint"),
        element("span", "image ", name(image_id), class_="faint"),
    )


def picture(pixels: Pixels, told: str) -> Markup:
    """Pixels (H, W, C) as an image element that holds them."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    small = max(image.size) <= LARGEST_PICTURE
    image.thumbnail((LARGEST_PICTURE, LARGEST_PICTURE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    source = f"data:image/png;base64,{data}"
    return element("img", src=source, alt=told, class_="small" if small else None)


# Errors


def error_section(findings: Findings) -> Markup:
    """Error records by reason."""
    if not findings.tally.failed:
        return Markup()
    rows = [
        [join(cut(reason.kind, 200), first_errors(reason)), f"{reason.count:,}"]
        for reason in findings.reasons
    ]
    failed = findings.tally.failed
    images = "1 image has" if failed == 1 else f"{failed:,} images have"
    said = f"{images} no prediction; {ERRORS_FILE} lists them all."
    return table(said, ["reason, and the first of them", "images"], rows, class_="reasons")


def first_errors(reason: Reason) -> Markup:
    """The first images of a reason, with their own words where these differ."""
    items = [
        element("li", name(i), "" if said == reason.kind else f": {cut(said, 200)}")
        for i, said in reason.examples
    ]
    return element("ul", *items)


# Drift


def drift_section(job: Job, findings: Findings, manifest: Manifest | None) -> Markup:
    """The job beside the model's test."""
    if manifest is None:
        said = f"Model {job.model} is no longer there: its test cannot be compared with."
        return element("p", said)
    if findings.drift is None:
        said = f"Model {job.model} has no baseline: it was trained elsewhere, or long ago."
        return element("p", said)
    if not findings.drift:
        return Markup()
    said = (
        "The job (bars) beside the images the model was tested with (marks). The distance is the "
        "share of the images that would have to change their bin to make both equal. Drift is "
        f"what is more than {SMALLEST_DRIFT} and more than chance explains."
    )
    drifted = [i for i, comparison in enumerate(findings.drift) if comparison.drifted]
    head = ["figure", "distance", "by chance", "drift", "share by bin", "images"]
    rows = [drift_row(comparison) for comparison in findings.drift]
    caption = "Comparison with the model's test"
    return join(element("p", said), table(caption, head, rows, bad=drifted))


def drift_row(comparison: Comparison) -> list[str]:
    """One figure; of very many classes there is no chart."""
    readable = len(comparison.found) <= MOST_CLASS_ROWS
    chart = charts.comparison_chart(comparison.expected, comparison.found)
    return [
        comparison.feature,
        f"{comparison.distance:.3f}",
        f"{comparison.chance:.3f}",
        element("span", "yes" if comparison.drifted else "no", class_="verdict"),
        chart if readable else Markup(),
        f"{comparison.images:,}",
    ]


# Time and origin


def time_section(timeline: Timeline | None) -> Markup:
    """The phases of the job's time."""
    if timeline is None or not timeline.phases:
        return Markup()
    longest = max(phase.seconds for phase in timeline.phases)
    rows = [
        [
            phase.name,
            f"{phase.seconds:,.3f}",
            f"{phase.seconds / timeline.wall_seconds:.1%}",
            charts.bar(phase.seconds / longest),
            PHASES.get(phase.name, ""),
        ]
        for phase in timeline.phases
    ]
    processes = f"{timeline.processes} worker process{'es' if timeline.processes > 1 else ''}"
    said = (
        f"{timeline.wall_seconds:,.3f} seconds, {processes} at a time; "
        "what these did side by side counts by the share of one."
    )
    return table(said, ["phase", "seconds", "share", "", "what"], rows)


def origin_section(job: Job, manifest: Manifest | None) -> Markup:
    """Everything needed to do it again."""
    images = f"{job.total:,} in {job.batches:,} batches of {job.batch_size:,}, digest "
    rows: list[tuple[str, str]] = [
        ("Model", join(name(str(job.model)), ", SHA-256 ", element("code", job.model.sha256))),
        ("Images", join(images, element("code", job.fingerprint))),
    ]
    if manifest is None:
        return definitions(rows)
    rows.append(("Network", manifest.network))
    if manifest.epochs is not None:
        how = (
            f"{manifest.network}, preset {manifest.preset}, {manifest.epochs} epochs of batches of "
            f"{manifest.batch_size}, seed {manifest.seed}"
        )
        rows[-1] = ("Network", how)
    rows.append(("Model made", moment(manifest.created_at)))
    if manifest.dataset is not None and manifest.dataset_sha256 is not None:
        data = name(f"{manifest.dataset}@{manifest.dataset_number}")
        digest = element("code", manifest.dataset_sha256)
        rows.append((use_of_data(manifest), join("data set ", data, ", digest ", digest)))
    if manifest.versions:
        versions = sorted(manifest.versions.items())
        said = ", ".join(f"{library} {version}" for library, version in versions)
        rows.append(("Made with", cut(said, 400)))
    return definitions(rows)


def use_of_data(manifest: Manifest) -> str:
    """What the model's data set was to it."""
    return "Tested on" if manifest.network == IMPORTED else "Trained on"
