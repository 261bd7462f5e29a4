"""Everybody reads and writes the same storage, and it has room."""

from producer.doctor.facts import Facts
from producer.doctor.finding import Finding, fault, ok, skipped

LOWEST_FREE_SHARE = 0.05
LOWEST_FREE_BYTES = 10**9


def check_shared(facts: Facts) -> Finding:
    """Workers see the folder that this process sees."""
    if facts.storage.id is None:
        return skipped("shared", f"The storage root {facts.storage.root} cannot be used.")
    if not facts.presences:
        return skipped("shared", "No worker has told of its storage.")
    for presence in facts.presences:
        if presence.storage_id is None:
            because = f" ({presence.problem.rstrip('.')})" if presence.problem else ""
            return fault(
                "shared",
                f"{presence.worker} cannot use its storage root {presence.storage}{because}.",
                "Give that worker a BATCHSIGHT_STORAGE which it may read and write.",
            )
        if presence.storage_id != facts.storage.id:
            return fault(
                "shared",
                f"{presence.worker} sees another folder at {presence.storage} than this machine "
                f"at {facts.storage.root}.",
                "Mount the same folder on both, and point BATCHSIGHT_STORAGE to it.",
            )
    return ok("shared", "All workers see the same storage.")


def check_writable(facts: Facts) -> Finding:
    """This process may write to storage."""
    if facts.storage.problem:
        return fault(
            "writable",
            f"Shared storage at {facts.storage.root} cannot be used ({facts.storage.problem}).",
            "Make it writable for this user, or point BATCHSIGHT_STORAGE to a folder that is.",
        )
    return ok("writable", f"Shared storage at {facts.storage.root} can be written.")


def check_space(facts: Facts) -> Finding:
    """Storage has room for results."""
    free, total = facts.storage.free_bytes, facts.storage.total_bytes
    if not total:
        return skipped("space", f"The storage root {facts.storage.root} cannot be used.")
    share = f"{free / 1e9:.1f} GB ({free / total:.0%}) free"
    if free < LOWEST_FREE_BYTES or free < LOWEST_FREE_SHARE * total:
        return fault(
            "space",
            f"Shared storage at {facts.storage.root} is nearly full: {share}.",
            "Remove finished jobs with `producer prune --older-than 30d`, or enlarge it.",
        )
    return ok("space", f"Shared storage has {share}.")
