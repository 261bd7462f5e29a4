"""Where the desk is served, from `BATCHSIGHT_*` in the environment."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class DeskSettings(BaseSettings):
    """The desk's own settings. Unset or empty variables take the defaults below."""

    model_config = SettingsConfigDict(env_prefix="BATCHSIGHT_", env_ignore_empty=True, frozen=True)

    desk_address: str = Field(
        default="127.0.0.1", description="Address that the desk is served on."
    )
    desk_port: int = Field(
        default=5556, ge=1, le=65535, description="Port that the desk is served on."
    )
