"""What surrounds a message on the wire, as Celery writes it: headers, properties, encoded body.

A worker counts a message as taken before it reads it, and one that it then cannot read keeps its
place for good. So whatever Celery would stumble over is refused here, before it is counted.
"""

import base64
from typing import Annotated, Any, Literal

from kombu.utils.json import loads
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from messaging.errors import BadMessage
from messaging.messages import MESSAGES, brief

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,254}$")]
Time = Annotated[str, Field(pattern=r"^20\d\d-\d\d-\d\dT[0-9:.]{8,15}([+-]\d\d:\d\d|Z)$")]
Scalar = Annotated[str, Field(max_length=10_000)] | bool | int | float | None
Empty = (
    Annotated[list[Scalar], Field(max_length=0)] | Annotated[dict[str, Scalar], Field(max_length=0)]
)
"""Where Celery could be told to do what no message of ours asks for."""


class Part(BaseModel):
    """What all parts share. Unknown fields may come from another version of Celery: only flat."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
    __pydantic_extra__: dict[str, Scalar]


class Headers(Part):
    """Headers of Celery's protocol 2."""

    id: Id
    task: str
    expires: Time | None = None
    retries: Annotated[int, Field(ge=0, le=1_000_000)] | None = 0
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    root_id: Id | None = None
    parent_id: Id | None = None
    origin: str | None = None
    eta: None = None
    timelimit: Annotated[list[None], Field(min_length=2, max_length=2)] | None = None
    shadow: None = None
    group: None = None
    stamped_headers: Empty | None = None
    stamps: Empty | None = None
    compression: None = None


class DeliveryInfo(Part):
    """Where kombu gives a message back."""

    exchange: str
    routing_key: str


class Properties(Part):
    """What kombu itself needs."""

    delivery_tag: Id
    delivery_info: DeliveryInfo
    body_encoding: Literal["base64"]
    priority: Annotated[int, Field(ge=0, le=9)] | None = 0
    reply_to: str | None = None
    correlation_id: str | None = None


class Envelope(Part):
    headers: Headers
    properties: Properties
    body: str
    content_type: Literal["application/json"] = Field(alias="content-type")
    content_encoding: Literal["utf-8"] = Field(alias="content-encoding")


class Body(BaseModel):
    """The decoded body: the arguments of the task, and what Celery is to do after it."""

    model_config = ConfigDict(frozen=True, strict=True)

    args: list[Scalar | list[Scalar]]
    """None of our tasks takes any, and says so."""
    kwargs: dict[str, Scalar]
    embed: dict[str, Empty | None]


def check_envelope(raw: Any, queue: str) -> None:
    """Make sure that Celery can take a message from a queue of ours; raises `BadMessage`."""
    try:
        envelope = Envelope.model_validate(raw)
        task, where = envelope.headers.task, envelope.properties.delivery_info
        if task != MESSAGES[queue].task:
            raise BadMessage(brief(("headers", "task"), f"only {MESSAGES[queue].task} is run here"))
        if where.routing_key != queue or where.exchange not in ("", queue):
            raise BadMessage(brief(("properties", "delivery_info"), "it names another queue"))
        args, kwargs, embed = loads(base64.b64decode(envelope.body, validate=True))
        Body(args=args, kwargs=kwargs, embed=embed)
    except ValidationError as error:
        raise BadMessage("; ".join(brief(e["loc"], e["msg"]) for e in error.errors()[:3])) from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadMessage(brief(("body",), str(error))) from None
