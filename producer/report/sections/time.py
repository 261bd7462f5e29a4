"""Where the time of a job went."""

from producer.report import charts
from producer.report.formatting import percent
from producer.report.html import Markup
from producer.report.html_tables import table
from producer.results.timeline import PHASES, Timeline


def time_section(timeline: Timeline | None) -> Markup:
    if timeline is None or not timeline.phases:
        return Markup()
    rows = [
        [
            phase.name,
            f"{phase.seconds:,.3f}",
            percent(phase.seconds / timeline.wall_seconds),
            charts.bar(phase.seconds / timeline.wall_seconds),
            PHASES.get(phase.name, ""),
        ]
        for phase in timeline.phases
    ]
    processes = f"{timeline.processes} worker process{'es' if timeline.processes > 1 else ''}"
    said = (
        f"{timeline.wall_seconds:,.3f} seconds, {processes} at a time; "
        "what these did side by side counts by the share of one."
    )
    return table(said, ["phase", "seconds", "share", "", "what"], rows, class_="phases")
