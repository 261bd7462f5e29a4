"""What only the doctor is configured by."""

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from messaging.settings import problems_of
from producer.errors import BadSettings


class DoctorSettings(BaseSettings):
    """What only the doctor needs to know. Unset variables take the defaults below."""

    model_config = SettingsConfigDict(env_prefix="BATCHSIGHT_", frozen=True)

    flower_url: str = Field(
        default="http://127.0.0.1:5555", pattern="^https?://", description="Where Flower is."
    )


def doctor_settings() -> DoctorSettings:
    """Read the environment; raises `BadSettings`."""
    try:
        return DoctorSettings()
    except ValidationError as error:
        raise BadSettings(f"{problems_of(error)}: write it as http://host:5555.") from None
