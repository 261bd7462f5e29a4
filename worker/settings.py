"""How many batches a worker runs at once, from `BATCHSIGHT_*` in the environment."""

from functools import cache

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from console.settings import from_environment


class WorkerSettings(BaseSettings):
    """The worker's own settings. Unset or empty variables take the defaults below."""

    model_config = SettingsConfigDict(env_prefix="BATCHSIGHT_", env_ignore_empty=True, frozen=True)

    concurrency: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Batches at once; if unset, one per core that CPU quota and memory allow.",
    )
    reuse_limit: int = Field(
        default=10_000_000,
        ge=0,
        description="Images that a process knows of a model for reuse, the latest; 24 bytes each.",
    )


@cache
def worker_settings() -> WorkerSettings:
    """Read the environment once per process."""
    return from_environment(WorkerSettings)
