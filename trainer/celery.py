"""The trainer's Celery app: `celery -A trainer worker`, and `celery -A trainer beat`."""

from console.errors import BadSettings
from messaging.app import make_app
from messaging.settings import TRAIN_QUEUE
from trainer.queue.schedule import SCHEDULE_FILE, beat_schedule
from trainer.settings import read_settings

try:
    storage, broker, settings = read_settings()
    entries = beat_schedule(broker, settings)
except BadSettings as error:
    raise SystemExit(f"error: {error}") from None

app = make_app(
    "trainer", queues=[TRAIN_QUEUE], include=["trainer.tasks", "messaging.beat_heartbeats"]
)
app.conf.update(
    worker_concurrency=1,
    # Each training has a fresh process: nothing of TensorFlow's is left from the one before.
    worker_max_tasks_per_child=1,
    # A training that waits for its turn stays in the queue. Fetched ahead, it would come back
    # after the visibility timeout and be run twice.
    worker_disable_prefetch=True,
    beat_schedule=entries,
    beat_scheduler="trainer.queue.schedule:Scheduler",
    beat_schedule_filename=str(storage.root / SCHEDULE_FILE),
    beat_sync_every=1,
    beat_max_loop_interval=5,
)
