"""`python -m monitor`: serve metrics for Prometheus at /metrics until stopped."""

import signal

import click
from prometheus_client import CollectorRegistry, start_http_server

from console.command_line import HELP, one_sentence
from console.errors import BatchsightError
from console.settings import from_environment
from messaging.broker import connect
from messaging.settings import broker_settings
from monitor.metrics import System
from monitor.settings import MonitorSettings
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.settings import storage_settings


@click.command(context_settings=HELP)
def main() -> None:
    """Serve metrics for Prometheus until SIGTERM or Ctrl-C.

    BATCHSIGHT_METRICS_ADDRESS and BATCHSIGHT_METRICS_PORT say where.
    """
    settings = from_environment(MonitorSettings)
    broker, storage = broker_settings(), storage_settings()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    system = System(connect(broker), JobStore(storage.root), ModelStore(storage.root))
    registry = CollectorRegistry()
    registry.register(system)
    try:
        start_http_server(settings.metrics_port, settings.metrics_address, registry)
    except OSError as error:
        where = f"{settings.metrics_address}:{settings.metrics_port}"
        raise BatchsightError(f"{where} cannot be served on ({error.strerror}).") from None
    print(f"Metrics at http://{settings.metrics_address}:{settings.metrics_port}/metrics")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    with one_sentence():
        main(prog_name="python -m monitor", standalone_mode=False)
