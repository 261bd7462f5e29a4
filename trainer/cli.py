"""The `trainer` command: its groups lie in `trainer.commands`, what they do in other modules.

Imports are inside the commands: `trainer --help` must not wait for NumPy, Celery or TensorFlow.
"""

import click

from console.command_line import OneSentence
from trainer.commands.data import data
from trainer.commands.models import (
    compare,
    export_model,
    import_file,
    models,
    promote,
    rollback,
    show,
)
from trainer.commands.training import bootstrap, schedule, train

EXIT_CODES = """
\b
Exit codes:
  0    all good
  1    failed
  2    wrong usage
  130  interrupted; a queued training goes on
"""


@click.group(cls=OneSentence, epilog=EXIT_CODES)
@click.version_option(package_name="batchsight", message="batchsight %(version)s")
def main() -> None:
    """Train networks on data sets and publish them as model versions.

    Configured by the environment: BATCHSIGHT_STORAGE names the shared folder and
    BATCHSIGHT_REDIS_URL the broker, which only `train --queue` needs.
    """


for command in (
    *(data, train, bootstrap, schedule),
    *(models, show, promote, compare, rollback, import_file, export_model),
):
    main.add_command(command)


if __name__ == "__main__":
    main()
