"""Settings of the environment: what cannot be used, and what nobody reads."""

import os
from typing import Literal

import pytest
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from console.errors import BadSettings
from console.settings import from_environment


class Oven(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="BATCHSIGHT_")

    degrees: int = Field(default=180, ge=50, le=250)
    minutes: float = Field(default=30, gt=0)
    doors: int | None = Field(default=None, ge=1)
    share: float = Field(default=0.5, ge=0, lt=1.5)
    mode: Literal["fan", "grill"] | Literal["off"] = "off"
    is_hot: bool = False
    code: int = Field(default=1, repr=False)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("DEGREES", "hot", "DEGREES=hot cannot be used: it must be a whole number from 50 to 250."),
        ("DEGREES", "900", "DEGREES=900 cannot be used: it must be a whole number from 50 to 250."),
        ("MINUTES", "-1", "MINUTES=-1 cannot be used: it must be a number, above 0."),
        ("DOORS", "0", "DOORS=0 cannot be used: it must be a whole number, at least 1."),
        (
            "SHARE",
            "2",
            "SHARE=2 cannot be used: it must be a number, at least 0 and below 1.5.",
        ),
        ("MODE", "on", "MODE=on cannot be used: it must be fan, grill or off."),
        ("IS_HOT", "very", "IS_HOT=very cannot be used: it must be true or false."),
        ("CODE", "hunter2", "CODE cannot be used: it must be a whole number."),
    ],
)
def test_a_value_that_cannot_be_used_is_told_with_what_can(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setattr("console.settings.VARIABLES", (f"BATCHSIGHT_{name}",))
    monkeypatch.setenv(f"BATCHSIGHT_{name}", value)
    with pytest.raises(BadSettings) as caught:
        from_environment(Oven)
    assert str(caught.value) == f"BATCHSIGHT_{sentence}"


def test_several_values_are_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.settings.VARIABLES", ("BATCHSIGHT_DOORS", "BATCHSIGHT_MODE"))
    monkeypatch.setenv("BATCHSIGHT_DOORS", "no")
    monkeypatch.setenv("BATCHSIGHT_MODE", "on")
    with pytest.raises(BadSettings, match=r"DOORS=no .* at least 1; BATCHSIGHT_MODE=on .* off\.$"):
        from_environment(Oven)


def test_a_variable_that_nothing_reads_is_named_once_with_the_nearest_that_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("LEASE_SECOND", "XYZ", "LEASE_SECONDS"):
        monkeypatch.setenv(f"BATCHSIGHT_{name}", "15")
    from_environment(Oven)
    from_environment(Oven)
    assert capsys.readouterr().err.splitlines() == [
        "warning: BATCHSIGHT_LEASE_SECOND is set, which nothing reads. "
        "Is BATCHSIGHT_LEASE_SECONDS meant?",
        "warning: BATCHSIGHT_XYZ is set, which nothing reads.",
    ]
    assert os.environ["BATCHSIGHT_LEASE_SECONDS"] == "15"
