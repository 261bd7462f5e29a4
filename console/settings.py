"""How programs read what they are configured by: `BATCHSIGHT_*` in the environment."""

from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from console.errors import BadSettings

Settings = TypeVar("Settings", bound=BaseSettings)


def from_environment(kind: type[Settings]) -> Settings:
    """Settings as the environment has them; raises `BadSettings` naming the variable."""
    try:
        return kind()
    except ValidationError as error:
        problems = "; ".join(
            _variable(fault["loc"]) + fault["msg"].removeprefix("Value error, ")
            for fault in error.errors(include_input=False)  # a value may be a secret
        )
        raise BadSettings(f"The environment cannot be used: {problems}.") from None


def _variable(location: tuple[int | str, ...]) -> str:
    """`BATCHSIGHT_REDIS_URL: ` for a field; nothing when the fault lies between several fields."""
    return f"BATCHSIGHT_{str(location[0]).upper()}: " if location else ""
