"""`producer doctor`: tells what is wrong with a system, running or merely configured."""

import sys
from collections.abc import Sequence
from dataclasses import asdict

from console.output import print_json
from console.settings import from_environment
from console.waiting import waiting_for
from producer.doctor.diagnosis import diagnose
from producer.doctor.facts import gather_facts
from producer.doctor.finding import Finding, Outcome
from producer.doctor.settings import DoctorSettings
from producer.settings import read_settings


def run_doctor(*, as_json: bool) -> int:
    """Print what was found; returns the exit code: 1 when there is a fault, else 0."""
    storage, broker, _ = read_settings()
    settings = from_environment(DoctorSettings)
    with waiting_for("Asking Redis, the workers and Flower"):
        findings = diagnose(gather_facts(broker, storage, settings))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        show_findings(findings)
    return int(any(finding.status is Outcome.FAULT for finding in findings))


def show_findings(findings: Sequence[Finding]) -> None:
    """Faults with their remedies first, and what is well in one line."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    styles = {Outcome.FAULT: "bold red", Outcome.WARNING: "yellow", Outcome.SKIPPED: "dim"}
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        if finding.status in styles:
            style = styles[finding.status]
            text = Text(finding.message)
            if finding.remedy:
                text.append(f"\n{finding.remedy}", "bold")
            table.add_row(Text(finding.status, style), Text(finding.check), text)
    well = [finding.check for finding in findings if finding.status is Outcome.OK]
    if well:
        table.add_row(Text("ok", "green"), "", Text(", ".join(well)))
    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(table)
