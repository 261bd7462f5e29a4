"""Charts of the report as SVG. Colours and fonts are those of report.css, in light and dark."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from console.counts import counted
from evaluation.calibration import BINS, ReliabilityBin
from evaluation.significance import wilson_interval
from producer.report.formatting import fraction, percent
from producer.report.html import Markup, element, join
from producer.report.statistics.scores import SCORE_BINS, Scores

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 380.0, 46.0, 12.0, 12.0, 42.0
SIDE = WIDTH - LEFT - RIGHT


def across(score: float) -> float:
    """Where a score of 0 to 1 is, from the left."""
    return LEFT + SIDE * score


def up(share: float) -> float:
    """Where a share of 0 to 1 is in a square chart, from the top."""
    return TOP + SIDE * (1 - share)


def reliability_chart(bins: Sequence[ReliabilityBin]) -> Markup:
    """Accuracy over score: on the diagonal a model is as sure as it is right."""
    x, y = across, up
    parts = [*grid(), line(x(0), y(0), x(1), y(1), "diagonal")]
    for b in bins:
        low, high = wilson_interval(b.right, b.images)
        parts += [
            rectangle(x(b.low) + 2, y(b.accuracy), SIDE / BINS - 4, SIDE * b.accuracy, "right"),
            line(x(b.score), y(low), x(b.score), y(high), "whisker"),
            element(
                "circle",
                element(
                    "title",
                    f"score {fraction(b.score)}: {percent(b.accuracy)} of {b.images:,} right",
                ),
                cx=x(b.score),
                cy=y(b.accuracy),
                r=3.5,
                class_="dot",
            ),
        ]
    parts += score_axis(y(0))
    told = "; ".join(f"scores about {b.score:.2f}: {percent(b.accuracy)} right" for b in bins)
    return picture(TOP + SIDE + BOTTOM, f"Reliability diagram. {told}.", parts)


def score_chart(scores: Scores) -> Markup:
    """Histograms of the scores of right and wrong predictions, one above the other."""
    panels = [
        ("right", "right", scores.right),
        ("wrong", "mistakes", scores.wrong),
        ("right", "without a label", scores.unlabelled),
    ]
    shown = [panel for panel in panels if panel[2].any()]
    height = (SIDE - 24.0 * (len(shown) - 1)) / max(2, len(shown))
    x = across
    parts: list[Markup] = []
    top = TOP + 14
    for colour, name, counts in shown:
        shares = counts / counts.sum()
        highest = float(shares.max())
        parts += [
            label(x(0), top - 5, f"{name}: {counted(int(counts.sum()), 'image')}", "start"),
            line(x(0), top + height, x(1), top + height, "axis"),
            line(x(0), top, x(1), top, "grid"),
            label(x(0) - 6, top + 4, in_whole_percent(highest), "end"),
            label(x(0) - 6, top + height + 4, "0", "end"),
        ]
        for i in np.flatnonzero(counts).tolist():
            tall = max(1.0, height * float(shares[i]) / highest)
            left = x(i / SCORE_BINS) + 1
            parts.append(
                rectangle(
                    left,
                    top + height - tall,
                    SIDE / SCORE_BINS - 2,
                    tall,
                    colour,
                    f"score {i / SCORE_BINS:.2f} to {(i + 1) / SCORE_BINS:.2f}: {counts[i]:,}",
                )
            )
        top += height + 24
    bottom = top - 24
    parts += score_axis(bottom)
    told = "; ".join(f"{name}, mean {mean_bin(counts):.2f}" for _, name, counts in shown)
    return picture(bottom + BOTTOM, f"Histogram of the scores: {told}.", parts)


def mean_bin(counts: NDArray[np.int64]) -> float:
    """Mean of a histogram of scores, taking every score for the middle of its bin."""
    middles = (np.arange(SCORE_BINS) + 0.5) / SCORE_BINS
    return float(counts @ middles / counts.sum())


def comparison_chart(expected: NDArray[np.float64], found: NDArray[np.float64]) -> Markup:
    """Shares of a job as bars, those of the model's test as marks above them."""
    width, height = 160.0, 34.0
    slot = width / len(found)
    highest = max(float(found.max()), float(expected.max()))
    parts = [line(0, height, width, height, "axis")]
    for i, share in enumerate(found.tolist()):
        tall = (height - 2) * share / highest
        parts.append(rectangle(i * slot + slot * 0.1, height - tall, slot * 0.8, tall, "right"))
    for i, share in enumerate(expected.tolist()):
        y = height - (height - 2) * share / highest
        parts.append(line(i * slot, y, (i + 1) * slot, y, "mark"))
    return picture(height + 1, None, parts, width=width, class_="spark")


def bar(share: float, colour: str = "right", mark: float | None = None) -> Markup:
    """A bar of a share of 0 to 1, full at 1, for a cell of a table; a mark shows another share."""
    parts = [rectangle(0, 1, 120, 10, "track"), rectangle(0, 1, 120 * min(share, 1), 10, colour)]
    if mark is not None:
        parts.append(line(120 * mark, 0, 120 * mark, 12, "mark"))
    return picture(12, None, parts, width=120, class_="bar")


def picture(
    height: float,
    told: str | None,
    parts: Sequence[Markup],
    width: float = WIDTH,
    class_: str = "chart",
) -> Markup:
    """An SVG; what it shows is told in words, or else stands beside it."""
    return element(
        "svg",
        join(*parts),
        viewBox=f"0 0 {width:g} {height:g}",
        class_=class_,
        role="img" if told else None,
        aria_label=told,
        aria_hidden=None if told else "true",
    )


def grid() -> list[Markup]:
    """Lines and labels of a vertical axis of shares."""
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        kind = "grid" if share else "axis"
        parts += [
            line(across(0), up(share), across(1), up(share), kind),
            label(across(0) - 6, up(share) + 4, in_whole_percent(share), "end"),
        ]
    return parts


def score_axis(bottom: float) -> list[Markup]:
    """Labels of a horizontal axis of scores."""
    ticks = [label(across(s), bottom + 17, f"{s:g}", "middle") for s in (0, 0.25, 0.5, 0.75, 1)]
    return [*ticks, label(across(0.5), bottom + 35, "score", "middle")]


def in_whole_percent(share: float) -> str:
    """A share at an axis, where there is no room for decimals."""
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def rectangle(
    x: float, y: float, width: float, height: float, class_: str, told: str | None = None
) -> Markup:
    """A filled rectangle; `told` appears when it is pointed at."""
    title = element("title", told) if told else Markup()
    return element("rect", title, x=x, y=y, width=width, height=height, class_=class_)


def label(x: float, y: float, content: str, anchor: str) -> Markup:
    return element("text", content, x=x, y=y, text_anchor=anchor)
