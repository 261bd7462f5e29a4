"""`trainer data`: add data sets, append to them, list them."""

from typing import Any

import click

from console.command_line import Share, as_json
from console.counts import counted
from console.output import print_json, say
from console.waiting import waiting_for
from trainer.commands.given import open_pipeline
from trainer.commands.preprocessing import parse_preprocessing, parse_size, with_preprocessing


@click.group()
def data() -> None:
    """Add data sets, append to them, list them."""


@data.command("add")
@click.argument("name")
@click.argument("source", required=False)
@click.option(
    "--replace", is_flag=True, help="Make this the next version of a data set with other images."
)
@click.option("--strict", is_flag=True, help="Refuse a folder with images that cannot be read.")
@click.option(
    "--test-share",
    type=Share(open_=True),
    default=0.2,
    show_default=True,
    help="Share of each class held out for test, for a folder without train/ and test/.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True)
@click.option(
    "--size", metavar="N|HxW", help="Bring the images of a folder to this height and width."
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
    strict: bool,
    test_share: float,
    seed: int,
    size: str | None,
    **ways: Any,
) -> None:
    """Import SOURCE as the data set NAME, or as its next version.

    \b
    Known by name, without a SOURCE: mnist, fashion-mnist, cifar-10. Otherwise
    SOURCE is one of
      folder:DIR   images in one subfolder per class, which may lie below
                   train/ and test/ (or val/)
      list:FILE    a .csv, .tsv or .jsonl with path, label and perhaps split
      npz:FILE     uint8 images and labels in x_train, y_train, x_test and y_test
      idx:DIR      the four IDX files of MNIST or its likes, gzipped or not
      cifar:DIR    CIFAR-10's python batches, in a folder or as the archive
    A DIR alone is a folder:DIR, a FILE alone what its suffix says.

    Sizes are height x width everywhere.
    """  # noqa: D301 (click wants the real character)
    from trainer.datasets.class_folders import SplitRule
    from trainer.datasets.image_folder import ON_WHITE
    from trainer.datasets.sources import add_dataset, with_kind
    from trainer.settings import read_settings

    source = source and with_kind(source)
    pixels = parse_size(size)
    preprocessing = parse_preprocessing(ON_WHITE, **ways)
    if (pixels or preprocessing) and not (source or "").startswith(("folder:", "list:")):
        raise click.UsageError(
            "--size and how to come to it are for image files, of a folder or a list."
        )
    pipeline = open_pipeline()
    settings, _, _ = read_settings()
    with waiting_for(f"Reading {source or name}"):
        dataset = add_dataset(
            pipeline.datasets,
            pipeline.downloads,
            name,
            source,
            rule=SplitRule(test_share=test_share, seed=seed),
            size=pixels,
            preprocessing=preprocessing or ON_WHITE,
            settings=settings,
            strict=strict,
            replace=replace,
        )
    about = dataset.description
    counts = ", ".join(f"{part.count:,} {split}" for split, part in about.splits.items())
    height, width, channels = about.shape
    say(
        f"Data set {dataset}: {counts} images of {height} x {width} x {channels}, "
        f"{counted(len(about.classes), 'class', 'classes')}, from {about.origin}."
    )
    if about.held_out:
        say(f"Nothing trains on {about.held_out:,} of the training images: they are in test, too.")


@data.command("append")
@click.argument("name")
@click.argument("source")
@click.option("--strict", is_flag=True, help="Refuse a folder with images that cannot be read.")
def append_data(name: str, source: str, *, strict: bool) -> None:
    """Add labelled images of SOURCE to the data set NAME.

    They become training images of its next version.

    \b
    SOURCE is one of
      job:JOB      the images of a job that `producer label` has given labels to
      folder:DIR   images in one subfolder per class, fitted to its size
      list:FILE    a .csv, .tsv or .jsonl with path and label; fitted as well
      npz:FILE     uint8 images and labels in x_train and y_train
      idx:DIR      train-images and train-labels as IDX files
      cifar:DIR    CIFAR-10's python batches
    A DIR alone is a folder:DIR, a FILE alone what its suffix says.

    An image that is there already gets the new label. Images of the test split are never taken:
    of a SOURCE with test images of its own neither are those.
    """  # noqa: D301 (click wants the real character)
    from storage.jobs.store import JobStore
    from trainer.datasets.appending import append_images
    from trainer.datasets.new_images import NewImages
    from trainer.settings import read_settings

    pipeline = open_pipeline()
    storage, _, _ = read_settings()
    images = NewImages(source, JobStore(pipeline.datasets.root), storage, strict=strict)
    with waiting_for(f"Reading {source}"):
        appended = append_images(pipeline.datasets, name, images.origin, images.read)
    say(appended)


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
