"""What may be chosen of a job, as Python programs say it."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

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
            name, why = fault["loc"][0], fault["msg"].replace("Input should", "it should")
            raise BadOption(f"{name}={fault['input']!r} cannot be used: {why}.") from None
