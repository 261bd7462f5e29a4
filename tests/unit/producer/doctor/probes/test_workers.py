"""What the doctor reads from the answers of workers."""

from producer.doctor.probes.workers import longest_late_task


def test_only_tasks_acknowledged_late_count_against_the_visibility_timeout() -> None:
    tasks = ["worker.predict [time_limit=300 acks_late=True]", "trainer.train [time_limit=9000]"]
    assert longest_late_task(tasks) == 300
    assert longest_late_task(["worker.sweep [acks_late=True]"]) is None
