"""`python -m desk`: serve the pages until stopped."""

import asyncio
import signal

import click

from console.command_line import HELP, one_sentence
from console.errors import BatchsightError
from console.logins import read_logins
from console.settings import from_environment
from desk.doorkeeper import Doorkeeper, is_loopback
from desk.server import make_server
from desk.settings import DeskSettings
from desk.shelves import Shelves
from storage.settings import storage_settings


@click.command(context_settings=HELP)
@click.option("--port", type=click.IntRange(1, 65535), help="Instead of BATCHSIGHT_DESK_PORT.")
def main(port: int | None) -> None:
    """Show jobs, models and data sets to a browser until SIGTERM or Ctrl-C.

    BATCHSIGHT_DESK_ADDRESS and BATCHSIGHT_DESK_PORT say where. User and password are Flower's.
    """
    settings = from_environment(DeskSettings)
    logins = [login for login in read_logins().split(",") if login]
    if not logins and not is_loopback(settings.desk_address):
        raise BatchsightError(
            f"The desk would show everything to whoever reaches {settings.desk_address}: "
            "set FLOWER_BASIC_AUTH=user:password, or FLOWER_PASSWORD_FILE."
        )
    shelves = Shelves(storage_settings())
    doorkeeper = Doorkeeper(settings.desk_address, logins)
    asyncio.run(serve(shelves, doorkeeper, settings.desk_address, port or settings.desk_port))


async def serve(shelves: Shelves, doorkeeper: Doorkeeper, address: str, port: int) -> None:
    """Answer until a signal comes."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    server = make_server(shelves, doorkeeper)
    try:
        server.listen(port, address)
    except OSError as error:
        where = f"{address}:{port}"
        raise BatchsightError(f"{where} cannot be served on ({error.strerror}).") from None
    print(f"Desk at http://{address}:{port}", flush=True)
    await stopped.wait()
    server.stop()
    await server.close_all_connections()


if __name__ == "__main__":
    with one_sentence():
        main(prog_name="python -m desk", standalone_mode=False)
