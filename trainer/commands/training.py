"""Commands that train, and tell when the next training is due."""

from typing import TYPE_CHECKING, Any

import click

from console.command_line import INTERRUPTED, as_json
from console.output import print_json, say
from trainer.commands.given import open_pipeline, open_queue

if TYPE_CHECKING:
    from trainer.training.progress import TrainingSummary
    from trainer.training.train import TrainingRequest


@click.command()
@click.option("--dataset", required=True, metavar="NAME[@N]", help="Fetched when known by name.")
@click.option(
    "--network",
    help="mlp, cnn, resnet, mobilenet or efficientnet. Default: mlp, and for images of 96 pixels "
    "or more mobilenet.",
)
@click.option(
    "--from",
    "parent",
    metavar="NAME[@N]",
    help="A version to start from: its network, with a new head for the classes of the data set.",
)
@click.option(
    "--weights",
    metavar="WHICH",
    help="What mobilenet and efficientnet start from: imagenet (default), none, or a file.",
)
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
def train(
    *,
    queue: bool,
    json_: bool,
    network: str | None,
    parent: str | None,
    weights: str | None,
    **options: Any,
) -> None:
    """Train a network and publish it as a new version.

    It becomes the champion unless it is significantly worse on the test images, or much larger, or
    much slower and no better: see `trainer promote`. A training that was killed goes on after its
    last whole epoch when it is started again.
    """
    from storage.datasets.store import parse_reference
    from storage.files import check_name
    from trainer.training.train import IMAGENET, RANDOM, TrainingRequest

    parse_reference(options["dataset"])
    if parent:
        if network or weights:
            told = "--network" if network else "--weights"
            raise click.UsageError(f"--from brings its own network: leave out {told}.")
        parent = str(open_pipeline().models.resolve(parent))
    elif network is None:
        network, why = open_pipeline().usual_network(options["dataset"])
        if why:
            say(f"Network: {why} --network takes another.")
    if queue and weights not in (None, IMAGENET, RANDOM):
        raise click.UsageError("--weights FILE is for a training here: leave out --queue.")
    images = open_pipeline().training_images(options["dataset"])
    request = TrainingRequest.with_defaults(
        **options, network=network, parent=parent, weights=weights, images=images
    )
    check_name(request.name, "model name")
    if (
        images is not None
        and options["epochs"] is None
        and (note := request.note_on_epochs(images))
    ):
        say(note)
    summary = train_queued(request) if queue else train_here(request)
    if json_:
        print_json(summary.model_dump(mode="json"))
    else:
        say(summary, result=True)


def train_here(request: "TrainingRequest", fencing_token: int | None = None) -> "TrainingSummary":
    """Train in this process."""
    from trainer.terminal import EpochBar

    with EpochBar() as bar:
        outcome = open_pipeline().run(
            request, on_epoch=bar.report, on_step=bar.step, fencing_token=fencing_token
        )
    return outcome.summary


def train_queued(request: "TrainingRequest") -> "TrainingSummary":
    """Send the training to a trainer worker and follow it."""
    from uuid import uuid4

    from trainer.queue.following import follow
    from trainer.terminal import EpochBar, log_phase

    queue = open_queue()
    message = request.to_message(run=f"train-{uuid4().hex[:12]}")
    queue.send(message)
    say(f"Training {message.run}: {request.network} on {request.dataset}, queued.")
    try:
        with EpochBar() as bar:
            return follow(message.run, queue, bar.report, say, on_step=bar.step, on_phase=log_phase)
    except KeyboardInterrupt:
        say(f"Training {message.run} goes on: `trainer models` lists it when it is done.")
        return click.get_current_context().exit(INTERRUPTED)


@click.command()
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
        say(train_here(request, fencing_token=0), result=True)


@click.command()
@as_json
def schedule(*, json_: bool) -> None:
    """Tell when a training is due by schedule.

    And when one was sent last, and what came of it. BATCHSIGHT_RETRAIN_SCHEDULE has five crontab
    fields, in UTC: `0 3 * * *` is every night at three. One that was missed while no beat ran is
    caught up, once.
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
