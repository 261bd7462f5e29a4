"""Command line of `python -m local`."""

import click

from console.command_line import OneSentence


@click.group(cls=OneSentence)
def cli() -> None:
    """Run batchsight on this machine without Docker.

    Exit codes: 0 good, 1 failed, 2 usage, 130 interrupted.
    """


@cli.command()
@click.option("--concurrency", type=click.IntRange(1), help="Worker processes; default: all cores.")
def up(concurrency: int | None) -> None:
    """Run Redis, worker, trainer, beat and Flower until Ctrl-C."""
    from local.up import run_system

    run_system(concurrency)


@cli.command()
@click.option("--network", type=click.Choice(["mlp", "cnn"]), default="mlp", show_default=True)
def demo(network: str) -> None:
    """Train on MNIST, classify its test images, report, and stop again."""
    from local.demo import run_demo

    run_demo(network)


if __name__ == "__main__":
    cli(prog_name="python -m local")
