"""Strangers cannot watch the workers."""

from producer.doctor.facts import Facts
from producer.doctor.finding import Finding, fault, listed, ok, skipped
from producer.doctor.probes.flower import Door


def check_flower(facts: Facts) -> Finding:
    flower = facts.flower
    if flower.door is Door.CLOSED:
        return skipped("flower", f"No Flower answers at {flower.url}.")
    if flower.open_at:
        return fault(
            "flower",
            f"Flower is open to everyone without a password at {listed(list(flower.open_at))}.",
            "Start it with `--basic_auth=user:password`, or with `--address=127.0.0.1`.",
        )
    if flower.door is Door.OPEN:
        return ok("flower", "Flower has no password, but answers on loopback only.")
    return ok("flower", "Flower asks for a password.")
