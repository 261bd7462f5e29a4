"""Command line of `python -m local`."""

import sys

import click
from pydantic import ValidationError

from local.errors import LocalError
from storage.errors import StorageError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Run batchsight on this machine without Docker.

    Exit codes: 0 good, 1 failed, 2 usage.
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

    sys.exit(run_demo(network))


def main() -> None:
    """Run the command line; every error is one sentence."""
    try:
        cli(prog_name="python -m local")
    except (LocalError, StorageError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except ValidationError as error:
        problem = error.errors()[0]
        name = "_".join(["BATCHSIGHT", *(str(part).upper() for part in problem["loc"])])
        click.echo(f"error: {name}: {problem['msg']}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
