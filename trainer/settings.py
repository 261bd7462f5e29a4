"""How a trainer fetches data and when it trains by itself, from `BATCHSIGHT_*`."""

from functools import cache
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from console.settings import from_environment
from evaluation.calibration import TOLERATED_ERROR
from messaging.settings import BrokerSettings, broker_settings
from storage.files import NAME_RULE, is_name
from storage.models.promotions import Thresholds
from storage.settings import StorageSettings, storage_settings


class TrainerSettings(BaseSettings):
    """The trainer's own settings. Unset or empty variables take the defaults below."""

    model_config = SettingsConfigDict(env_prefix="BATCHSIGHT_", env_ignore_empty=True, frozen=True)

    downloads: Path | None = Field(
        default=None,
        description="Folder for fetched files; `downloads` on shared storage if unset.",
    )
    download_timeout_seconds: float = Field(
        default=5.0, gt=0, le=600, description="A host that says nothing for this long is given up."
    )
    retrain_schedule: str = Field(
        default="", description="When to train: five crontab fields, UTC; empty is never."
    )
    retrain_dataset: str = Field(default="mnist", description="What to train on by schedule.")
    retrain_network: str = Field(default="mlp", description="Which network to train by schedule.")
    retrain_preset: str = Field(default="default", description="How to train it by schedule.")
    retrain_name: str | None = Field(
        default=None,
        description="Name of the model trained by schedule; that of the data set if unset.",
    )
    gate_alpha: float = Field(
        default=0.05, gt=0, lt=1, description="What is likelier than this counts as chance."
    )
    gate_recall: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="Share of every class that a new version must recognise.",
    )
    gate_recall_loss: float = Field(
        default=0.02, ge=0, le=1, description="How much less of a class than the champion."
    )
    gate_calibration: float = Field(
        default=TOLERATED_ERROR,
        ge=0,
        le=1,
        description="How far scores may be off, 0 to 1, or as far as before.",
    )
    gate_latency: float = Field(
        default=3.0,
        ge=1,
        description="How many times the champion's CPU time for an image, unless better.",
    )
    gate_latency_ms: float | None = Field(
        default=None,
        gt=0,
        description="Instead of that: how many milliseconds of CPU time for an image.",
    )
    gate_memory: float = Field(
        default=3.0,
        ge=1,
        description="How many times the champion's memory a new version may take.",
    )
    gate_seconds: float = Field(
        default=300.0,
        gt=0,
        le=86_400,
        description="How long the examination of a version may take.",
    )
    gate_megabytes: float = Field(
        default=3000.0, gt=0, description="How much memory the examination of a version may take."
    )

    @field_validator("retrain_dataset", "retrain_name")
    @classmethod
    def _is_name(cls, name: str | None) -> str | None:
        if name is not None and not is_name(name):
            raise ValueError(f"write {NAME_RULE}")
        return name

    @property
    def thresholds(self) -> Thresholds:
        """What new versions are judged by."""
        names = Thresholds.model_fields
        return Thresholds(**{name: getattr(self, f"gate_{name}") for name in names})


@cache
def trainer_settings() -> TrainerSettings:
    """Read the environment once per process."""
    return from_environment(TrainerSettings)


def read_settings() -> tuple[StorageSettings, BrokerSettings, TrainerSettings]:
    """All that a trainer is configured by; raises `BadSettings` naming the variable."""
    return storage_settings(), broker_settings(), trainer_settings()
