"""Redis answers, and loses nothing."""

from producer.doctor.facts import Facts
from producer.doctor.finding import Finding, fault, ok, skipped

NOT_REDIS = "Redis cannot be used."
HIGHEST_MEMORY_SHARE = 0.6


def check_redis(facts: Facts) -> Finding:
    """Redis answers, and takes messages."""
    if facts.unreachable:
        return fault(
            "redis",
            f"No Redis answers at {facts.broker} ({facts.unreachable}).",
            "Start it, or point BATCHSIGHT_REDIS_URL to the one that runs.",
        )
    if facts.refusal:
        remedy = facts.refusal.remedy
        return fault(
            "redis",
            f"Redis at {facts.broker} {facts.refusal.says}.",
            f"{remedy[0].upper()}{remedy[1:]}.",
        )
    return ok("redis", f"Redis at {facts.broker} answers and takes messages.")


def check_password(facts: Facts) -> Finding:
    """Redis lets this user in."""
    if facts.refused:
        return fault(
            "password",
            f"Redis at {facts.broker} refuses the user or password ({facts.refused}).",
            "Set BATCHSIGHT_REDIS_PASSWORD, or the password in BATCHSIGHT_REDIS_URL, to what Redis "
            "expects.",
        )
    if facts.unreachable:
        return skipped("password", NOT_REDIS)
    return ok("password", "Redis accepts the user and password.")


def check_persistence(facts: Facts) -> Finding:
    """What is queued survives a restart of Redis."""
    if facts.redis is None:
        return skipped("persistence", NOT_REDIS)
    if facts.redis.aof:
        return ok("persistence", "Redis keeps an append-only file.")
    if facts.redis.aof is None or facts.redis.save is None:
        return skipped("persistence", "Redis does not tell this user whether it persists.")
    if facts.redis.save:
        return ok("persistence", "Redis saves snapshots.")
    return fault(
        "persistence",
        "Redis keeps nothing on disk, so that a restart loses all that is queued.",
        "Start Redis with `appendonly yes`.",
    )


def check_eviction(facts: Facts) -> Finding:
    """Redis throws no message away."""
    if facts.redis is None:
        return skipped("eviction", NOT_REDIS)
    if facts.redis.policy is None:
        return skipped("eviction", "Redis does not tell this user its eviction policy.")
    if facts.redis.policy != "noeviction":
        return fault(
            "eviction",
            f"Redis throws queued messages away when memory is short ({facts.redis.policy}).",
            "Start Redis with `maxmemory-policy noeviction`.",
        )
    return ok("eviction", "Redis evicts nothing.")


def check_memory(facts: Facts) -> Finding:
    """Redis is far from its memory limit, at which messages are lost."""
    if facts.redis is None:
        return skipped("memory", NOT_REDIS)
    used, limit = facts.redis.used_bytes, facts.redis.limit_bytes
    if used is None or limit is None:
        return skipped("memory", "Redis does not tell this user how much memory it uses.")
    if limit == 0:
        return ok("memory", f"Redis uses {used / 1e6:.1f} MB and has no limit of its own.")
    share = f"{used / limit:.0%} of its {limit / 1e6:.0f} MB"
    if used > HIGHEST_MEMORY_SHARE * limit:
        return fault(
            "memory",
            f"Redis uses {share}, and loses messages when it is full.",
            "Find what fills it with `redis-cli --bigkeys`, or raise `maxmemory`.",
        )
    return ok("memory", f"Redis uses {share}.")
