"""Where the metrics for Prometheus are served, from `BATCHSIGHT_*` in the environment."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class MonitorSettings(BaseSettings):
    """The monitor's own settings. Unset or empty variables take the defaults below."""

    model_config = SettingsConfigDict(env_prefix="BATCHSIGHT_", env_ignore_empty=True, frozen=True)

    metrics_address: str = Field(
        default="127.0.0.1", description="Address that the metrics are served on."
    )
    metrics_port: int = Field(
        default=9108, ge=1, le=65535, description="Port that the metrics are served on."
    )
