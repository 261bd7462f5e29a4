"""The Celery app of each program: one broker, four queues, JSON only.

The settings follow from how the Redis transport behaves; each surprise is named beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from celery import Celery
from celery.signals import heartbeat_sent, worker_shutting_down
from kombu import Exchange, Queue  # type: ignore[attr-defined]

from console.command_line import one_sentence
from messaging.health import send_heartbeat
from messaging.messages import MESSAGES
from messaging.settings import PREDICT_QUEUE, BrokerSettings, broker_settings, unacked_key
from messaging.transport.redis_transport import LISTENS


def make_app(
    name: str,
    *,
    queues: Sequence[str] = (),
    include: Sequence[str] = (),
    settings: BrokerSettings | None = None,
    configure: Callable[[], Mapping[str, Any]] = dict,
) -> Celery:
    """The Celery app of a program that consumes `queues` and whose tasks lie in `include`.

    The environment is read when the app is first used: for the broker, unless there are `settings`,
    and by `configure`, which gives what else it is configured by. What is wrong there ends the
    program with a sentence.
    """
    app = Celery(
        name,
        include=include,
        fixups=(),  # the one for Django imports a worker into every producer
    )

    def configuration() -> dict[str, Any]:
        with one_sentence():
            broker = settings or broker_settings()
            return {
                "broker_url": broker.url,
                "broker_transport_options": transport_options(name, broker, listens=bool(queues)),
                **configure(),
            }

    app.conf.update(
        broker_transport="messaging.transport.redis_transport:Transport",
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        event_serializer="json",
        task_ignore_result=True,
        task_queues=[Queue(queue, Exchange(queue), routing_key=queue) for queue in MESSAGES],
        task_default_queue=PREDICT_QUEUE,
        task_create_missing_queues=False,
        task_routes={m.task: {"queue": m.queues[0]} for m in MESSAGES.values()},
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # TensorFlow takes longer to import than the 4 s after which a child counts as dead.
        worker_proc_alive_timeout=120,
        worker_hijack_root_logger=True,
        worker_redirect_stdouts_level="INFO",
        # What Flower shows.
        worker_send_task_events=True,
        task_send_sent_event=True,
        task_track_started=True,
        resultrepr_maxsize=400,
    )
    app.steps["consumer"].add("messaging.transport.backoff_step:BackoffStep")
    app.add_defaults(configuration)
    if queues:
        consume(app, queues)
    return app


def transport_options(name: str, settings: BrokerSettings, *, listens: bool) -> dict[str, Any]:
    """How the Redis transport of the app `name` behaves."""
    return {
        "visibility_timeout": settings.visibility_timeout_seconds,
        "unacked_key": unacked_key(name),
        "unacked_index_key": f"{unacked_key(name)}.index",
        "unacked_mutex_key": f"{unacked_key(name)}.mutex",
        # Messages of a killed worker come back within seconds of the timeout, not minutes.
        "unacked_restore_interval": 5,
        "socket_timeout": 30,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
        LISTENS: listens,
    }


def consume(app: Celery, queues: Sequence[str]) -> None:
    """Make the app a worker's: every program may send to all queues, but consumes its own."""
    from messaging.shutdown import end_in_time

    def select(**_: object) -> None:
        app.amqp.queues.select(queues)

    app.on_after_configure.connect(select, weak=False)
    worker_shutting_down.connect(end_in_time)
    # Sent by the event loop of a worker's main process, every two seconds while Redis is connected.
    heartbeat_sent.connect(send_heartbeat)
