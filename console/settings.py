"""How programs read what they are configured by: `BATCHSIGHT_*` in the environment."""

import os
from difflib import get_close_matches
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings

from console.errors import BadSettings
from console.output import say
from console.variables import VARIABLES
from console.wanted_values import explain

PREFIX = "BATCHSIGHT_"

Settings = TypeVar("Settings", bound=BaseSettings)


def from_environment(kind: type[Settings]) -> Settings:
    """Settings as the environment has them; raises `BadSettings` naming variable and value."""
    warn_of_unknown()
    try:
        return kind()
    except ValidationError as error:
        problems = dict.fromkeys(_problem(kind, fault) for fault in error.errors())
        raise BadSettings(f"{'; '.join(problems)}.") from None


def _problem(kind: type[BaseSettings], fault: ErrorDetails) -> str:
    why = explain(fault, kind.model_fields)
    if not fault["loc"]:
        return why  # it lies between several variables, and names them
    field = kind.model_fields[str(fault["loc"][0])]
    value = f"={fault['input']}" if field.repr else ""  # it may be a secret
    return f"{PREFIX}{str(fault['loc'][0]).upper()}{value} cannot be used: {why}"


def warn_of_unknown() -> None:
    """Name the variables that nothing reads, with the ones that may be meant.

    They are taken out of the environment: programs started from here do not name them once more.
    """
    for name in sorted(name for name in os.environ if name.startswith(PREFIX)):
        if name not in VARIABLES:
            del os.environ[name]
            known = [variable.removeprefix(PREFIX) for variable in VARIABLES]
            meant = get_close_matches(name.removeprefix(PREFIX), known, n=1)
            told = f" Is {PREFIX}{meant[0]} meant?" if meant else ""
            say(f"warning: {name} is set, which nothing reads.{told}")
