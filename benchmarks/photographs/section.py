"""What `results.md` says of one network and one number of photographs."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from benchmarks.photographs.contestants import (
    NOT_WORK,
    PIPELINES,
    TITLES,
    Field,
    batchsight,
    loop,
    ray,
)
from benchmarks.photographs.measurement import ONNX_RUNTIME, Figures
from benchmarks.report import Ratio, Row, ratio_table

MANY = 20_000
TO_PLAIN = {"mobilenetv2": "≥ 3.5", "resnet50": "≥ 1.4"}
"""Batchsight beside the best plain program."""
CHILD = {"cnn": "≤ 200"}
"""Megabytes of a worker's child."""
NOTE = f"""
Images/s count from the start of the contestant's process to its end; batchsight's is the producer,
whose worker is running. `warm` leaves the start out: of batchsight it is its workers' time, from
the first batch to the last. `ready` is until all processes have the model, for batchsight that of
the worker. Memory is that of the largest process, of batchsight the larger child. All take the
pixels that Keras would, but Ray Data, OpenVINO and LiteRT those of Pillow. {ONNX_RUNTIME}.
"""
HEAD = """
| | images/s | spread | warm | ready | first result | memory | rounds |
|---|---:|---:|---:|---:|---:|---:|---:|
"""

Turns = Mapping[str, Sequence[Figures]]


def section(field: Field, images: int, turns: Turns, absent: Mapping[str, str]) -> str:
    """A table of all, their ratios, and where the workers' time went."""
    lines = [f"## {field.network}, {images:,} photographs\n{HEAD.rstrip()}"]
    lines += [line(name, images, figures) for name, figures in turns.items()]
    if ratios := ratios_of(field, images, turns):
        lines += ["", *ratio_table(ratios)]
    lines += [""] + [
        f"Of the workers' time with {TITLES[runtime]}: {shares(turns[batchsight(runtime)])}."
        for runtime in field.runtimes
        if batchsight(runtime) in turns
    ]
    for reason in dict.fromkeys(absent.values()):
        names = [name for name, why in absent.items() if why == reason and name not in turns]
        if names:
            lines += ["", f"Not measured, since {reason}: {'; '.join(names)}."]
    return "\n".join([*lines, ""])


def line(name: str, images: int, figures: Sequence[Figures]) -> str:
    """One contestant."""
    speed = Row(name=name, unit="", values=[images / each.seconds for each in figures])
    return (
        f"| {name} | {speed.median:,.1f} | ± {speed.spread:.0%} "
        f"| {images / median(figures, lambda each: each.working):,.1f} "
        f"| {median(figures, lambda each: each.ready):.2f} s "
        f"| {median(figures, lambda each: each.first):.2f} s "
        f"| {median(figures, lambda each: each.megabytes):,.0f} MB | {len(figures)} |"
    )


def ratios_of(field: Field, images: int, turns: Turns) -> list[Ratio]:
    """Batchsight beside the others: how many times as fast, both from process start to end."""
    chosen = field.chosen
    ours = turns.get(batchsight(chosen))
    if not ours:
        return []
    mine = median(ours, lambda each: each.seconds)
    ratios = []

    def beside(title: str, seconds: float, target: str) -> None:
        name = f"{batchsight(chosen)} ÷ {title}"
        ratios.append(Ratio(name=name, value=seconds / mine, target=target))

    programs = [turns[title] for title in PIPELINES.values() if title in turns]
    if programs:
        best = min(median(each, lambda turn: turn.seconds) for each in programs)
        beside("best plain program", best, TO_PLAIN.get(field.network, ""))
        started = mine + median(ours, lambda each: each.ready)
        name = f"{batchsight(chosen)}, its worker's start included ÷ best plain program"
        ratios.append(Ratio(name=name, value=best / started, target=""))
    if bare := turns.get(loop(chosen)):
        beside(loop(chosen), median(bare, lambda each: each.seconds), "≥ 0.93")
        beside(f"{loop(chosen)}, warm", median(bare, lambda each: each.working), "")
    for runtime in field.runtimes:
        if (theirs := turns.get(ray(runtime))) and (same := turns.get(batchsight(runtime))):
            value = median(theirs, lambda each: each.seconds) / median(
                same, lambda each: each.seconds
            )
            name = f"{batchsight(runtime)} ÷ {ray(runtime)}"
            ratios.append(Ratio(name=name, value=value, target="≥ 1.1"))
    many = images >= MANY
    ready = median(ours, lambda each: each.ready)
    submitted = median(ours, lambda each: 100 * each.phases["submit"] / each.working)
    return [
        *ratios,
        Ratio(name="worker ready, s", value=ready, target="≤ 1.0" if chosen == "onnx" else ""),
        Ratio(
            name="child, MB",
            value=median(ours, lambda each: each.megabytes),
            target=CHILD.get(field.network, ""),
        ),
        Ratio(
            name="first result, s",
            value=median(ours, lambda each: each.first),
            target="≤ 5" if many else "",
        ),
        Ratio(
            name="submitting, % of the workers' time",
            value=submitted,
            target="≤ 15" if many else "",
        ),
    ]


def shares(figures: Sequence[Figures]) -> str:
    """The phases of the work in percent, the largest first."""
    names = {name for each in figures for name in each.phases}.difference(NOT_WORK)
    found = {
        name: statistics.median(100 * each.phases.get(name, 0.0) / each.working for each in figures)
        for name in names
    }
    largest = sorted(found.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {share:.0f} %" for name, share in largest if share >= 0.5)


def median(figures: Sequence[Figures], value: Callable[[Figures], float]) -> float:
    """Of all turns."""
    return statistics.median(map(value, figures))
