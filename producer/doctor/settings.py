"""What only the doctor is configured by, from `BATCHSIGHT_*` in the environment."""

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class DoctorSettings(BaseSettings):
    """What only the doctor needs to know. Unset variables take the defaults below."""

    model_config = SettingsConfigDict(env_prefix="BATCHSIGHT_", frozen=True)

    flower_url: str = Field(default="http://127.0.0.1:5555", description="Where Flower is.")

    @field_validator("flower_url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError("write it as http://host:5555")
        return url
