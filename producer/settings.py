"""How a producer cuts jobs into batches, from `BATCHSIGHT_*` in the environment."""

from functools import cache
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from console.settings import from_environment
from messaging.settings import BrokerSettings, broker_settings
from storage.models.runtime_choice import Runtime
from storage.settings import StorageSettings, storage_settings


class ProducerSettings(BaseSettings):
    """The producer's own settings. Unset variables take the defaults below."""

    model_config = SettingsConfigDict(env_prefix="BATCHSIGHT_", frozen=True)

    array_batch_size: int = Field(
        default=50_000, ge=1, le=1_000_000, description="Images per batch of an array, at most."
    )
    file_batch_size: int = Field(
        default=2_000, ge=1, le=1_000_000, description="Image files per batch, at most."
    )
    runtime: Runtime | Literal["auto"] = Field(
        default="auto",
        description="What computes new jobs: `auto`, the faster one, `onnx` or `tensorflow`.",
    )
    max_in_flight: int = Field(
        default=64, ge=1, le=100_000, description="Batches of a job in the queue at once."
    )


@cache
def producer_settings() -> ProducerSettings:
    """Read the environment once per process."""
    return from_environment(ProducerSettings)


def read_settings() -> tuple[StorageSettings, BrokerSettings, ProducerSettings]:
    """All that a producer is configured by; raises `BadSettings` naming the variable."""
    return storage_settings(), broker_settings(), producer_settings()
