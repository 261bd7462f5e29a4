"""Rows of measured values, and the Markdown that people read."""

import platform
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from trainer.training.drawing import new_figure

HEADER = """# What the queue costs

Written by `make bench`: medians of rounds in which all take turns. Compare within a section only.
"""
PACKAGES = ("tensorflow", "keras", "celery", "kombu", "redis", "numpy", "pillow", "pyarrow")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing measured several times."""

    name: str
    unit: str
    values: Sequence[float]

    @property
    def median(self) -> float:
        """The figure to quote."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Half the range as a share of the median."""
        return (max(self.values) - min(self.values)) / 2 / self.median if self.median else 0.0


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """One row's median over another's, beside its target."""

    name: str
    value: float
    target: str


def machine() -> str:
    """Processor, cores, versions: what the figures depend on."""
    cpu = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    packages = []
    for name in PACKAGES:
        try:
            packages.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return (
        f"{cpu}, {platform.system()} {platform.release()}, Python {platform.python_version()}, "
        + ", ".join(packages)
    )


def markdown(title: str, rows: Sequence[Row], ratios: Sequence[Ratio]) -> str:
    """One section of `results.md`."""
    lines = [f"## {title}", "", "| | median | spread | rounds |", "|---|---:|---:|---:|"]
    for row in rows:
        figure = f"{row.median:,.0f}" if row.median >= 100 else f"{row.median:,.3g}"
        lines.append(
            f"| {row.name} | {figure} {row.unit} | ± {row.spread:.0%} | {len(row.values)} |"
        )
    if ratios:
        lines += ["", *ratio_table(ratios)]
    return "\n".join([*lines, ""])


def ratio_table(ratios: Sequence[Ratio]) -> list[str]:
    """Its lines."""
    return [
        "| ratio | measured | target |",
        "|---|---:|---:|",
        *(f"| {ratio.name} | {ratio.value:.2f} | {ratio.target} |" for ratio in ratios),
    ]


def update(results: Path, part: str, section: str, parts: Sequence[str]) -> None:
    """Put a part's section into `results.md`, in the order of `parts`.

    Sections of an earlier run stay as long as machine and versions are the same.
    """
    header = f"{HEADER}\n{machine()}.\n"
    text = results.read_text() if results.exists() else ""
    sections = {}
    if text.startswith(header):
        names_and_texts = re.split(r"^<!-- (\w+) -->\n", text, flags=re.MULTILINE)[1:]
        sections = dict(zip(names_and_texts[::2], names_and_texts[1::2], strict=True))
    sections[part] = f"{section.rstrip()}\n\nMeasured on {date.today():%Y-%m-%d}."
    shown = (
        f"\n<!-- {name} -->\n{sections[name].rstrip()}\n" for name in parts if name in sections
    )
    results.write_text(header + "".join(shown))


def draw_growth(
    jobs: Mapping[int, Row],
    batches: Mapping[int, Row],
    images: int,
    photographs: Mapping[int, Row] | None = None,
) -> None:
    """Draw images per second over the size of the job and of the batch, as `growth.png`.

    Photographs take so much longer that both are then drawn by orders of magnitude.
    """
    with new_figure((11, 3.4), Path(__file__).with_name("growth.png")) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, rows, label in (
            (left, jobs, "images in the job, default batches"),
            (right, batches, f"images per batch, job of {images:,}"),
        ):
            axes.plot(list(rows), [row.median for row in rows.values()], marker="o")
            axes.set(xscale="log", xlabel=label)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        if photographs:
            speeds = [row.median for row in photographs.values()]
            left.plot(list(photographs), speeds, marker="o", label="photographs, MobileNetV2")
            left.lines[0].set_label("arrays, mlp")
            left.legend()
            left.set(yscale="log", ylim=(1, None))
        else:
            left.set(ylim=(0, None))
        left.set(ylabel="images per second, end to end")
        left.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
