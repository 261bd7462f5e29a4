"""Commands that list, judge, import and export model versions."""

from typing import TYPE_CHECKING, Any

import click

from console.command_line import as_json
from console.output import print_json, say
from trainer.commands.given import open_pipeline
from trainer.commands.preprocessing import (
    parse_preprocessing,
    parse_scaling,
    parse_size,
    with_preprocessing,
)

if TYPE_CHECKING:
    from storage.models.contract import Layout, Output
    from storage.models.store import ModelVersion

LAYOUTS = ("nhwc", "nchw", "nhw", "flat")
OUTPUTS = ("probabilities", "log-probabilities", "logits", "sigmoid", "tanh")


@click.command()
@click.argument("name", required=False)
@as_json
def models(name: str | None, *, json_: bool) -> None:
    """List the versions of the model NAME, or of all models."""
    from trainer.catalogue import list_models
    from trainer.terminal import show_models

    lines = list(list_models(open_pipeline().models, name, say))
    if json_:
        print_json([line.model_dump(mode="json") for line in lines])
    else:
        show_models(lines)


@click.command()
@click.argument("version", metavar="NAME[@N]")
@as_json
def show(version: str, *, json_: bool) -> None:
    """Show a version, or the champion, with per-class metrics."""
    from storage.models.promotions import read_promotion
    from trainer.catalogue import ModelLine, read_champion
    from trainer.terminal import show_model

    store = open_pipeline().models
    found = store.resolve(version)
    line = ModelLine.of(found, champion=found.number == read_champion(store, found.name, say))
    if json_:
        manifest = found.manifest.model_dump(mode="json")
        promotion = read_promotion(found)
        verdict = promotion.model_dump(mode="json") if promotion else None
        about = {"folder": str(found.folder), "promotion": verdict}
        print_json({**line.model_dump(mode="json"), **manifest, **about})
    else:
        show_model(found, line)


@click.command()
@click.argument("version", metavar="NAME@N")
@click.option("--force", is_flag=True, help="Whatever the gate says; it is kept who did so.")
def promote(version: str, *, force: bool) -> None:
    """Make a version the champion if it passes the gate.

    It is examined beside the champion, on the test images of the data set that it was trained on,
    or tested on when it was imported. The verdict is kept as promotion.json in the version's
    folder.
    """
    from trainer.catalogue import read_champion
    from trainer.errors import NotPromoted

    pipeline = open_pipeline()
    found = exact_version(version)
    found.verify()
    before = read_champion(pipeline.models, found.name, say)
    if before == found.number:
        say(f"{found} is champion already.")
        return
    done = f"{found} is the champion now" + (f", after {found.name}@{before}" if before else "")
    if force:
        promotion = pipeline.force(found)
        judged = (
            "passed" if promotion.passed else "refused" if promotion.dataset else "cannot judge"
        )
        say(f"{done}, by force. The gate {judged} it: {promotion.reason}.")
        return
    outcome = pipeline.promote(found, pipeline.data_set_of(found))
    if not outcome.promoted:
        raise NotPromoted(
            f"{found} is not promoted: {outcome.reason}. --force does it all the same."
        )
    say(f"{done}: {outcome.reason}.")


@click.command()
@click.argument("first", metavar="NAME[@N]")
@click.argument("second", metavar="NAME[@N]")
@click.option("--dataset", metavar="NAME", help="Default: that of the second.")
@click.option(
    "--picture", metavar="FILE.png", help="Default: comparison.png in the folder of the second."
)
@as_json
def compare(
    first: str, second: str, *, dataset: str | None, picture: str | None, json_: bool
) -> None:
    """Examine two versions on the same test images.

    The second is judged as if it came after the first; nothing is promoted. A picture shows the
    recall of each class and how true the scores are.
    """
    from pathlib import Path

    from trainer.datasets.known_datasets import ensure_dataset
    from trainer.terminal import show_comparison
    from trainer.training.plots import draw_comparison

    pipeline = open_pipeline()
    before, after = (pipeline.models.resolve(version) for version in (first, second))
    if dataset:
        images = ensure_dataset(pipeline.datasets, pipeline.downloads, dataset)
    else:
        images = pipeline.data_set_of(after)
    judgement = pipeline.compare(before, after, images)
    assert judgement.champion and judgement.candidate
    target = Path(picture) if picture else after.folder / "comparison.png"
    draw_comparison(target, images, judgement.champion, judgement.candidate)
    if json_:
        print_json({**judgement.promotion.model_dump(mode="json"), "picture": str(target)})
    else:
        show_comparison(judgement)
        say(f"Wrote {target}.")


@click.command("import")
@click.argument("file", metavar="FILE")
@click.option("--name", required=True, help="Name of the model.")
@click.option(
    "--labels",
    metavar="FILE",
    help="Names of the classes, one a line, in the order of the outputs. Default: those in the "
    "file, or those of --check or --dataset, sorted.",
)
@click.option("--check", metavar="FOLDER", help="Class folders of images to find out what fits.")
@click.option("--dataset", metavar="NAME", help="Test it on this data set, and promote it if good.")
@click.option(
    "--scale",
    metavar="HOW",
    help="What pixels it was trained on: none (0 to 255), 0..1, -1..1, imagenet, caffe, or "
    "MEAN/DEVIATION in pixels, one number or one a channel.",
)
@click.option("--channels", type=click.Choice(["rgb", "bgr"]), help="In which order. Default: rgb.")
@click.option(
    "--size", metavar="N|HxW", help="Height and width of the images, where the model takes any."
)
@click.option("--layout", type=click.Choice(LAYOUTS), help="Default: by the shape of its input.")
@click.option("--output", type=click.Choice(OUTPUTS), help="Default: by its end and its answers.")
@with_preprocessing(
    "How their pixels are computed: bilinear (default, as Keras), antialias (as Pillow and "
    "torchvision), nearest and more."
)
@as_json
def import_file(
    file: str,
    *,
    name: str,
    labels: str | None,
    check: str | None,
    dataset: str | None,
    scale: str | None,
    channels: str | None,
    size: str | None,
    layout: "Layout | None",
    output: "Output | None",
    json_: bool,
    **ways: Any,
) -> None:
    """Publish a model that was trained elsewhere as a new version.

    FILE is a .keras or .h5 file of Keras 3 or 2, the folder of a SavedModel, or an .onnx file. What
    it wants besides raw pixels is put around it: it must give one number per class, or one for two
    classes. --check tries the usual ways on images whose classes are known. Without --dataset its
    accuracy stays unknown, and only `trainer promote --force` makes it champion.
    """
    from pathlib import Path

    from imaging.preprocessing import AS_KERAS
    from storage.files import check_name
    from trainer.importing.class_names_file import read_labels
    from trainer.importing.model_import import ImportRequest

    check_name(name, "model name")
    request = ImportRequest(
        path=Path(file),
        name=name,
        labels=read_labels(Path(labels)) if labels else (),
        preprocessing=parse_preprocessing(AS_KERAS, **ways),
        scaling=parse_scaling(scale, channels),
        size=parse_size(size),
        layout=layout,
        output=output,
        check=Path(check) if check else None,
    )
    summary = open_pipeline().bring_in(request, dataset)
    for note in summary.notes:
        say(note)
    if json_:
        print_json(summary.model_dump(mode="json"))
    else:
        say(summary, result=True)


@click.command()
@click.argument("name")
def rollback(name: str) -> None:
    """Return to the champion before the present one."""
    champion = open_pipeline().models.rollback(name)
    say(f"{name}@{champion.number} is the champion again.")


@click.command("export")
@click.argument("version", metavar="NAME[@N]")
@click.argument("file", metavar="FILE.keras|FILE.h5|FILE.onnx")
def export_model(version: str, file: str) -> None:
    """Write a version to a file.

    .h5 is for older Keras programs, .onnx for ONNX Runtime. The model takes raw uint8 pixels (N, H,
    W, C) and gives class probabilities.
    """
    from pathlib import Path

    from trainer.export import export

    found = open_pipeline().models.resolve(version)
    export(found, Path(file))
    say(f"{found} is in {file}.")


def exact_version(reference: str) -> "ModelVersion":
    """The version a reference with a number means."""
    if "@" not in reference:
        raise click.UsageError(f"Say which version of {reference}: {reference}@3, for example.")
    return open_pipeline().models.resolve(reference)
