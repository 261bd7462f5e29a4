"""What may be chosen of a job, as Python programs say it."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from console.wanted_values import explain
from producer.errors import BadOption
from storage.jobs.job import BatchSize, FailureRate, Top, Window


class Options(BaseModel, frozen=True):
    model: str | None
    batch_size: BatchSize | None
    limit: Annotated[int, Field(ge=1)] | None
    job_id: str | None
    max_in_flight: Window | None
    max_failure_rate: FailureRate | None
    reuse: bool
    top: Top
    probabilities: bool
    follow_links: bool
    strict: bool

    @classmethod
    def of(cls, **given: Any) -> "Options":
        """Options as they are given to a function; raises `BadOption` naming the first bad one."""
        try:
            return cls(**given)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            given_as = f"{fault['loc'][0]}={fault['input']!r}"
            why = explain(fault, cls.model_fields)
            raise BadOption(f"{given_as} cannot be used: {why}.") from None
