"""Measure, print and write to `benchmarks/results.md`.

mlp, cnn, resnet
            images per second beside the bare machine and its peers
many        mlp with ten times the images
small       10,000 test images, submitted by a fresh process
latency     one image, submitted by a client that is already running
memory      the producer's and Redis' while a job grows
growth      images per second over job and batch sizes
files       PNG files beside decoding alone
reuse       --reuse with all images new, 1 % of them, none (resnet, cnn, mlp)
workers     memory over ten thousand batches, start, change of model
training    the preset `fast` of mlp beside the tutorial's training
transfer    fifty pictures of a class, learned from a version or from nothing
photos      JPEG photographs through large networks, with each runtime; takes
            hours, and is only measured when it is named
foreign     twelve models from elsewhere beside what their authors get; only
            when it is named

What these two have measured is kept in --storage: the same command goes on
after it was cut off, and other networks, models and sizes are added.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import parts
from benchmarks.bench_system import bench_system
from benchmarks.foreign.comparison import compare as compare_foreign
from benchmarks.foreign.recipes import RECIPES
from benchmarks.photographs.comparison import compare as compare_photographs
from benchmarks.photographs.networks import NETWORKS
from benchmarks.report import update
from benchmarks.throughput import PEERS

RESULTS = Path(__file__).parent / "results.md"
PHOTOS, FOREIGN = "photos", "foreign"
PARTS: dict[str, Callable[[parts.Setting], str]] = {
    "mlp": parts.mlp,
    "many": parts.many,
    "cnn": parts.cnn,
    "resnet": parts.resnet,
    "small": parts.small,
    "latency": parts.latency,
    "memory": parts.memory,
    "growth": parts.growth,
    "files": parts.files,
    "reuse": parts.reuse,
    "workers": parts.workers,
    "training": parts.training,
    "transfer": parts.transfer,
}


def measure(chosen: list[str], root: Path, options: argparse.Namespace) -> None:
    """Run parts on one system."""
    networks = ["mlp"]
    if {"cnn", "reuse"} & set(chosen):
        networks.append("cnn")
    if {"resnet", "reuse"} & set(chosen):
        networks.append("resnet")
    with bench_system(root, networks) as system:
        setting = parts.Setting(
            system=system,
            images=options.images or 1_000_000,
            rounds=options.rounds,
            peers=options.peers,
            photographs=options.photographs,
        )
        for name in chosen:
            print(f"{name} ...", flush=True)
            show(name, PARTS[name](setting))


def show(name: str, section: str) -> None:
    """Write a part's section, and print it."""
    update(RESULTS, name, section, [*PARTS, PHOTOS, FOREIGN])
    print(section, flush=True)


def main() -> None:
    """Run some parts or all."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="default: all")
    parser.add_argument(
        "--images", type=int, help="images of mlp's job (1,000,000), photographs of foreign (320)"
    )
    parser.add_argument(
        "--models",
        nargs="+",
        choices=RECIPES,
        default=list(RECIPES),
        metavar="MODEL",
        help=f"of foreign: {', '.join(RECIPES)}",
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--storage", type=Path, help="kept and used again; default: temporary")
    parser.add_argument(
        "--peers",
        type=Path,
        help=f"python of an environment with {PEERS.name}/requirements.txt: Ray and others",
    )
    parser.add_argument(
        "--networks",
        nargs="+",
        choices=NETWORKS,
        default=list(NETWORKS),
        metavar="NETWORK",
        help=f"of photos: {', '.join(NETWORKS)}",
    )
    parser.add_argument("--sizes", nargs="+", type=int, default=[], help="photographs of a folder")
    parser.add_argument(
        "--photographs", action="store_true", help="a line of them in the curve of growth"
    )
    options = parser.parse_args()
    chosen = options.parts or list(PARTS)
    if unknown := set(chosen) - {*PARTS, PHOTOS, FOREIGN}:
        known = ", ".join([*PARTS, PHOTOS, FOREIGN])
        parser.error(f"no such part: {', '.join(sorted(unknown))}; choose of {known}")
    with tempfile.TemporaryDirectory(prefix="batchsight-bench-") as temporary:
        root = (options.storage or Path(temporary, "storage")).resolve()
        if PHOTOS in chosen:
            print(f"{PHOTOS} ...", flush=True)
            compare_photographs(
                root / PHOTOS,
                networks=options.networks,
                sizes=options.sizes,
                rounds=options.rounds,
                python=options.peers,
                show=partial(show, PHOTOS),
            )
        if FOREIGN in chosen:
            for section in compare_foreign(root / FOREIGN, options.models, options.images or 320):
                show(FOREIGN, section)
        if parts_of_one_system := [name for name in chosen if name in PARTS]:
            measure(parts_of_one_system, root, options)
    print(f"Written to {RESULTS}.")


if __name__ == "__main__":
    main()
