"""Where shared storage is, from `BATCHSIGHT_*` in the environment."""

from functools import cache
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from console.settings import from_environment
from imaging.limits import MAX_BYTES, MAX_PIXELS


class StorageSettings(BaseSettings):
    """Shared storage as one process sees it. Unset variables take the defaults below."""

    model_config = SettingsConfigDict(env_prefix="BATCHSIGHT_", frozen=True)

    storage: Path = Field(
        default=Path(".batchsight"), description="Root folder that all programs share."
    )
    max_image_pixels: int = Field(
        default=MAX_PIXELS, ge=1, description="Images with more pixels become error records."
    )
    max_image_bytes: int = Field(
        default=MAX_BYTES, ge=1, description="Image files larger than this become error records."
    )
    lease_seconds: float = Field(
        default=15.0,
        ge=1.0,
        description="A batch without a heartbeat for this long may be given to another worker.",
    )

    @property
    def root(self) -> Path:
        """The storage root as an absolute path."""
        return self.storage.expanduser().resolve()


@cache
def storage_settings() -> StorageSettings:
    """Read the environment once per process."""
    return from_environment(StorageSettings)
