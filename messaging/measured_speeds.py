"""How fast workers found a model version to be, kept in Redis.

The trainer's own measurement, on its machine, is but a first guess for theirs.
"""

import redis

PREFIX = "batchsight:speed:"
KEPT_SECONDS = 30 * 24 * 3600
NOTEWORTHY = 0.2
"""By so much a speed must have changed to be noted again."""


class MeasuredSpeeds:
    """Images per second of one child in whole batches, decoding left out, by a model's digest.

    Both methods raise `redis.RedisError`.
    """

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self._noted: dict[str, float] = {}

    def note(self, sha256: str, images_per_second: float) -> None:
        """Keep the latest, unless this process has just noted much the same."""
        noted = self._noted.get(sha256)
        if noted is None or abs(images_per_second - noted) > NOTEWORTHY * noted:
            self._client.set(PREFIX + sha256, f"{images_per_second:.4g}", ex=KEPT_SECONDS)
            self._noted[sha256] = images_per_second

    def of(self, sha256: str) -> float | None:
        """What was noted last; none if that is no number, or long ago."""
        try:
            return float(self._client.get(PREFIX + sha256) or "") or None
        except ValueError:
            return None
