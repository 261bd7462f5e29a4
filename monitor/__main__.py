"""`python -m monitor`: serve metrics for Prometheus at /metrics until stopped."""

import signal
import sys

from prometheus_client import CollectorRegistry, start_http_server
from pydantic import ValidationError

from messaging.broker import connect
from messaging.settings import broker_settings, problems_of
from monitor.metrics import System
from monitor.settings import MonitorSettings
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.settings import storage_settings


def main() -> int:
    """Run until SIGTERM or Ctrl-C; returns the exit code."""
    try:
        settings, broker, storage = MonitorSettings(), broker_settings(), storage_settings()
    except ValidationError as error:
        print(f"error: {problems_of(error)}.", file=sys.stderr)
        return 1
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    system = System(connect(broker), JobStore(storage.root), ModelStore(storage.root))
    registry = CollectorRegistry()
    registry.register(system)
    try:
        start_http_server(settings.metrics_port, settings.metrics_address, registry)
    except OSError as error:
        where = f"{settings.metrics_address}:{settings.metrics_port}"
        print(f"error: {where} cannot be served on ({error.strerror}).", file=sys.stderr)
        return 1
    print(f"Metrics at http://{settings.metrics_address}:{settings.metrics_port}/metrics")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0


if __name__ == "__main__":
    sys.exit(main())
