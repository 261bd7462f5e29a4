"""The `trainer` command. Each command is thin; what it does lies in the modules it imports.

Imports are inside the commands: `trainer --help` must not wait for NumPy, Celery or TensorFlow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from string import hexdigits
from typing import TYPE_CHECKING, Any

import click

from console.command_line import INTERRUPTED, OneSentence, as_json
from console.output import print_json, say
from trainer.terminal import say_logs

if TYPE_CHECKING:
    from imaging.preprocessing import Preprocessing
    from imaging.scalings import Scaling
    from storage.models.contract import Layout, Output
    from storage.models.store import ModelVersion
    from trainer.pipeline import Pipeline
    from trainer.queue.train_queue import TrainQueue
    from trainer.training.progress import TrainingSummary
    from trainer.training.train import TrainingRequest

LAYOUTS = ("nhwc", "nchw", "nhw", "flat")
OUTPUTS = ("probabilities", "log-probabilities", "logits", "sigmoid", "tanh")

EXIT_CODES = """
\b
Exit codes:
  0    all good
  1    failed
  2    wrong usage
  130  interrupted; a queued training goes on
"""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What commands work with when their caller brings it: Click's `obj`."""

    pipeline: "Pipeline"
    queue: "TrainQueue"


@click.group(cls=OneSentence, epilog=EXIT_CODES, context_settings={"max_content_width": 100})
@click.version_option(package_name="batchsight", message="batchsight %(version)s")
def main() -> None:
    """Train networks on data sets and publish them as model versions.

    Configured by the environment: BATCHSIGHT_STORAGE names the shared folder and
    BATCHSIGHT_REDIS_URL the broker, which only `train --queue` needs.
    """


def with_preprocessing(interpolation: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options that say how pictures come to a size, as `preprocessing`."""
    options = (
        click.option(
            "--resize",
            metavar="HOW",
            help="How pictures come to its size: stretch (default), crop to the middle, letterbox.",
        ),
        click.option(
            "--shorter-side",
            type=int,
            metavar="N",
            help="To how many pixels crop brings the shorter side first: 256 often for 224.",
        ),
        click.option("--fill", metavar="COLOUR", help="The margin of letterbox. Default: 000000."),
        click.option("--interpolation", metavar="HOW", help=interpolation),
        click.option(
            "--background",
            metavar="COLOUR",
            help="What they are laid over where they are transparent: ffffff is white, none drops "
            "their transparency.",
        ),
        click.option(
            "--scaled-decoding/--full-decoding",
            default=None,
            help="Whether antialias may decode large JPEGs at a fraction of their size: faster.",
        ),
    )

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


# Data sets


@main.group()
def data() -> None:
    """Add data sets, append to them, list them."""


@data.command("add")
@click.argument("name")
@click.argument("source", required=False)
@click.option(
    "--replace", is_flag=True, help="Make this the next version of a data set with other images."
)
@click.option(
    "--test-share",
    type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of each class held out for test, for a folder without train/ and test/.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True)
@click.option(
    "--size", metavar="N|HxW", help="Bring the images of a folder to this size in pixels."
)
@with_preprocessing(
    "How their pixels are computed: antialias (default, as Pillow), bilinear (as Keras), nearest "
    "and more."
)
def add_data(
    name: str,
    source: str | None,
    *,
    replace: bool,
    test_share: float,
    seed: int,
    size: str | None,
    **ways: Any,
) -> None:
    """Import SOURCE as the data set NAME, or as its next version.

    \b
    Known by name, without a SOURCE: mnist, fashion-mnist, cifar-10. Otherwise SOURCE is one of
      folder:DIR   images in one subfolder per class, below train/ and test/ (or val/) or not
      npz:FILE     uint8 images and labels in x_train, y_train, x_test and y_test
      idx:DIR      the four IDX files of MNIST or its likes, gzipped or not
      cifar:DIR    CIFAR-10's python batches, in a folder or as the archive
    """  # noqa: D301 (click wants the real character)
    from trainer.datasets.class_folders import SplitRule
    from trainer.datasets.image_folder import ON_WHITE
    from trainer.datasets.sources import add_dataset
    from trainer.settings import read_settings

    pixels = parse_size(size)
    preprocessing = parse_preprocessing(ON_WHITE, **ways)
    if (pixels or preprocessing) and not (source or "").startswith("folder:"):
        raise click.UsageError("--size and how to come to it are for the images of a folder:DIR.")
    pipeline = open_pipeline()
    settings, _, _ = read_settings()
    dataset = add_dataset(
        pipeline.datasets,
        pipeline.downloads,
        name,
        source,
        rule=SplitRule(test_share=test_share, seed=seed),
        size=pixels,
        preprocessing=preprocessing or ON_WHITE,
        settings=settings,
        replace=replace,
    )
    about = dataset.description
    counts = ", ".join(f"{part.count:,} {split}" for split, part in about.splits.items())
    height, width, channels = about.shape
    say(
        f"Data set {dataset}: {counts} images of {height} x {width} x {channels}, "
        f"{len(about.classes)} classes, from {about.origin}."
    )
    if about.held_out:
        say(f"Nothing trains on {about.held_out:,} of the training images: they are in test, too.")


@data.command("append")
@click.argument("name")
@click.argument("source")
def append_data(name: str, source: str) -> None:
    """Add the labelled images of SOURCE to the training images of NAME, as its next version.

    \b
    SOURCE is one of
      job:JOB      the images of a job that `producer label` has given labels to
      folder:DIR   images in one subfolder per class; they are fitted to the data set's size
      npz:FILE     uint8 images and labels in x_train and y_train
      idx:DIR      train-images and train-labels as IDX files
      cifar:DIR    CIFAR-10's python batches

    An image that is there already gets the new label. Images of the test split are never taken:
    of a SOURCE with test images of its own neither are those.
    """  # noqa: D301 (click wants the real character)
    from storage.jobs.store import JobStore
    from trainer.datasets.appending import append_images
    from trainer.datasets.new_images import NewImages
    from trainer.settings import read_settings

    pipeline = open_pipeline()
    storage, _, _ = read_settings()
    images = NewImages(source, JobStore(pipeline.datasets.root), storage)
    say(append_images(pipeline.datasets, name, images.origin, images.read))


@data.command("list")
@as_json
def list_data(*, json_: bool) -> None:
    """List all data sets."""
    from trainer.catalogue import list_datasets
    from trainer.terminal import show_datasets

    lines = list(list_datasets(open_pipeline().datasets, say))
    if json_:
        print_json([line.model_dump(mode="json") for line in lines])
    else:
        show_datasets(lines)


# Training


@main.command()
@click.option("--dataset", required=True, metavar="NAME[@N]", help="Fetched when known by name.")
@click.option("--network", default="mlp", show_default=True, help="mlp, cnn or resnet.")
@click.option(
    "--preset",
    default="default",
    show_default=True,
    help="default, fast (mlp and cnn) or best (cnn and resnet).",
)
@click.option("--epochs", type=click.IntRange(1, 100_000), help="Default: those of the preset.")
@click.option("--batch-size", type=click.IntRange(1, 100_000), help="Default: that of the preset.")
@click.option(
    "--augment/--no-augment",
    default=None,
    help="Change the images a little in each epoch. Default: as the preset has it.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True)
@click.option("--name", help="Name of the model. Default: that of the data set.")
@click.option("--queue", is_flag=True, help="Let a trainer worker do it, and follow it.")
@as_json
def train(*, queue: bool, json_: bool, **options: Any) -> None:
    """Train a network and publish it as a new version.

    It becomes the champion unless it is significantly worse on the test images, or much larger, or
    much slower and no better: see `trainer promote`. A training that was killed goes on after its
    last whole epoch when it is started again.
    """
    from storage.datasets.store import parse_reference
    from storage.files import check_name
    from trainer.training.train import TrainingRequest

    request = TrainingRequest.with_defaults(**options)
    parse_reference(request.dataset)
    check_name(request.name, "model name")
    summary = train_queued(request) if queue else train_here(request)
    if json_:
        print_json(summary.model_dump(mode="json"))
    else:
        click.echo(str(summary))


def train_here(request: "TrainingRequest", fencing_token: int | None = None) -> "TrainingSummary":
    """Train in this process."""
    return open_pipeline().run(request, on_epoch=say, fencing_token=fencing_token).summary


def train_queued(request: "TrainingRequest") -> "TrainingSummary":
    """Send the training to a trainer worker and follow it."""
    from uuid import uuid4

    from trainer.queue.following import follow

    queue = open_queue()
    message = request.to_message(run=f"train-{uuid4().hex[:12]}")
    queue.send(message)
    say(f"Training {message.run}: {request.network} on {request.dataset}, queued.")
    try:
        return follow(message.run, queue, say, say)
    except KeyboardInterrupt:
        say(f"Training {message.run} goes on: `trainer models` lists it when it is done.")
        return click.get_current_context().exit(INTERRUPTED)


@main.command()
def bootstrap() -> None:
    """Train the first model, unless there is a champion already.

    Data set, network, preset and name are those of scheduled trainings: BATCHSIGHT_RETRAIN_DATASET,
    BATCHSIGHT_RETRAIN_NETWORK, BATCHSIGHT_RETRAIN_PRESET and BATCHSIGHT_RETRAIN_NAME.
    """
    from trainer.settings import read_settings
    from trainer.training.train import TrainingRequest

    _, _, settings = read_settings()
    request = TrainingRequest.with_defaults(
        dataset=settings.retrain_dataset,
        network=settings.retrain_network,
        preset=settings.retrain_preset,
        name=settings.retrain_name,
    )
    champion = open_pipeline().models.champion(request.name)
    if champion:
        say(f"{request.name}@{champion.number} is champion already.")
    else:
        # The lowest fencing token: a scheduled training that was quicker keeps its champion.
        click.echo(str(train_here(request, fencing_token=0)))


@main.command()
@as_json
def schedule(*, json_: bool) -> None:
    """Tell when a training is due by schedule, when one was sent last and what came last.

    BATCHSIGHT_RETRAIN_SCHEDULE has five crontab fields, in UTC: `0 3 * * *` is every night at
    three. One that was missed while no beat ran is caught up, once.
    """
    from datetime import UTC, datetime

    from trainer.queue.schedule import SCHEDULE_FILE, Memory, describe_schedule
    from trainer.settings import read_settings
    from trainer.terminal import show_schedule

    storage, _, settings = read_settings()
    memory = Memory.read(storage.root / SCHEDULE_FILE)
    line = describe_schedule(settings, memory, open_pipeline().models, datetime.now(UTC))
    if json_:
        print_json(line.model_dump(mode="json"))
    else:
        show_schedule(line)


# Models


@main.command()
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


@main.command()
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


@main.command()
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


@main.command()
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
    """Examine two versions on the same test images, the second as if it came after the first.

    Nothing is promoted. A picture shows the recall of each class and how true the scores are.
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


@main.command("import")
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
@click.option("--size", metavar="N|HxW", help="Of the images, where the model takes any.")
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
        click.echo(str(summary))


@main.command()
@click.argument("name")
def rollback(name: str) -> None:
    """Return to the champion before the present one."""
    champion = open_pipeline().models.rollback(name)
    say(f"{name}@{champion.number} is the champion again.")


@main.command("export")
@click.argument("version", metavar="NAME[@N]")
@click.argument("file", metavar="FILE.keras|FILE.h5")
def export_model(version: str, file: str) -> None:
    """Write a version to a file, .h5 for older Keras programs.

    The model takes raw uint8 pixels (N, H, W, C) and gives class probabilities.
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


def parse_size(size: str | None) -> tuple[int, int] | None:
    """Height and width from `96` or `96x128`."""
    if size is None:
        return None
    numbers = size.lower().split("x")
    if len(numbers) > 2 or not all(n.isascii() and n.isdigit() and int(n) > 0 for n in numbers):
        raise click.UsageError(f"--size {size!r} is no size: write 96, or 96x128 for H x W.")
    return int(numbers[0]), int(numbers[-1])


def parse_scaling(scale: str | None, channels: str | None) -> "Scaling | None":
    """A scaling by its name or numbers; in BGR if that is the order."""
    from imaging.scalings import NAMES, NONE, parse

    if scale is None and channels is None:
        return None
    try:
        scaling = parse(scale) if scale else NONE
    except ValueError as error:
        raise click.UsageError(
            f"--scale {error}: write {', '.join(NAMES)}, or MEAN/DEVIATION."
        ) from None
    return scaling.model_copy(update={"bgr": channels == "bgr"}) if channels else scaling


def parse_colour(colour: str | None, option: str = "--background") -> tuple[int, ...] | None:
    """Red, green and blue, 0 to 255, from `ffffff`; none from `none`."""
    if colour is None or colour.lower() == "none":
        return None
    digits = colour.removeprefix("#")
    if len(digits) != 6 or not set(digits) <= set(hexdigits):
        raise click.UsageError(
            f"{option} {colour!r} is no colour: write ffffff for white, 000000 for black, or none."
        )
    return tuple(bytes.fromhex(digits))


def parse_preprocessing(usual: "Preprocessing", **given: Any) -> "Preprocessing | None":
    """How pictures become pixels, as usual but for what is given; none if nothing is."""
    from pydantic import ValidationError

    from imaging.preprocessing import Preprocessing

    for field in ("fill", "background"):
        given[field] = parse_colour(given[field], f"--{field}")
    chosen = {field: value for field, value in given.items() if value is not None}
    if not chosen:
        return None
    try:
        return Preprocessing.model_validate(usual.model_dump() | chosen)
    except ValidationError as error:
        fault = error.errors()[0]
        option = f"--{str(fault['loc'][0]).replace('_', '-')} {fault['input']!r}"
        known = fault["ctx"].get("expected", "").replace("'", "")
        raise click.UsageError(
            f"{option} is none of {known}." if known else f"{option}: {fault['msg']}."
        ) from None


def open_pipeline() -> "Pipeline":
    """The pipeline as the environment configures it, or a caller's; what it logs is shown."""
    from trainer.pipeline import Pipeline
    from trainer.settings import read_settings

    say_logs()
    given = click.get_current_context().find_object(Given)
    if given:
        return given.pipeline
    storage, _, settings = read_settings()
    return Pipeline.of(storage, settings)


def open_queue() -> "TrainQueue":
    """The queue as the environment configures it, or a caller's."""
    from trainer.queue.train_queue import RedisTrainQueue
    from trainer.settings import read_settings

    given = click.get_current_context().find_object(Given)
    if given:
        return given.queue
    _, broker, _ = read_settings()
    return RedisTrainQueue(broker)


if __name__ == "__main__":
    main()
