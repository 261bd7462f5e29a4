"""All contestants in turn, round after round, for each network and number of photographs."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.photographs.contestants import Field, loops, ours, peers, plain
from benchmarks.photographs.folders import photograph_folder
from benchmarks.photographs.measurement import Measurement, Measurements
from benchmarks.photographs.networks import NETWORKS, publish
from benchmarks.photographs.section import NOTE, section

FILE = "photographs.jsonl"


def compare(
    root: Path,
    *,
    networks: Sequence[str],
    sizes: Sequence[int],
    rounds: int,
    python: Path | None,
    show: Callable[[str], None],
) -> None:
    """Measure what has not been measured on this storage, and show the section anew each time.

    Networks and sizes that were measured before stay in it.
    """
    root.mkdir(parents=True, exist_ok=True)
    kept = Measurements(root / FILE)
    if count := kept.count():
        print(
            f"  {count} turns of earlier runs count: remove {kept.path} to begin anew", flush=True
        )
    sections: dict[tuple[str, int], str] = {}
    for network in NETWORKS:
        known = kept.sizes(network)
        wanted = list(sizes or NETWORKS[network].sizes) if network in networks else []
        for images in sorted({*known, *wanted}):
            field = prepare(root, network, images, python)
            absent = measure(field, images, kept, rounds if images in wanted else 0)
            sections[network, images] = section(field, images, kept.of(network, images), absent)
            show("\n".join(sections.values()) + NOTE)


def prepare(root: Path, network: str, images: int, python: Path | None) -> Field:
    """The version and the photographs on a storage of the network's own."""
    storage = root / network
    publish(network, storage)
    made = photograph_folder(root, images)
    folder = storage / made.name
    if not folder.exists():
        shutil.copytree(made, folder.with_suffix(".new"), copy_function=os.link, dirs_exist_ok=True)
        folder.with_suffix(".new").rename(folder)
    return Field(network=network, root=storage, folder=folder, peers=python)


def measure(field: Field, images: int, kept: Measurements, rounds: int) -> dict[str, str]:
    """Let all take their turns that they have not had; returns who cannot, and why."""
    guests = dict(peers(field))
    absent = {name: reason for name, reason in guests.items() if isinstance(reason, str)}
    contestants = {
        **dict(plain(field)),
        **dict(loops(field)),
        **dict(ours(field)),
        **{name: guest for name, guest in guests.items() if not isinstance(guest, str)},
    }
    for number in range(rounds):
        for name, contestant in contestants.items():
            if name in absent or len(kept.of(field.network, images).get(name, ())) > number:
                continue
            try:
                figures = contestant()
            except RuntimeError as error:
                if name not in guests:
                    raise
                absent[name] = f"it failed ({str(error).splitlines()[-1]})"
                continue
            kept.add(
                Measurement(network=field.network, images=images, contestant=name, figures=figures)
            )
            print(
                f"  {field.network}, {images:,}, round {number + 1}: {name}: "
                f"{images / figures.seconds:,.1f} images/s",
                flush=True,
            )
    return absent
