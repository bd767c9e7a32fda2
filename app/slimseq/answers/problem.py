"""The body of an answer that is an error."""

from pydantic import BaseModel, ConfigDict, Field, JsonValue

# An example for the documentation of the API.
PROBLEM: dict[str, JsonValue] = {
    "type": "/problems/unknown-variant",
    "title": "Unknown variant",
    "status": 404,
    "detail": "translation has no variant 'tiny'; it has original, compact, distilled, pruned, quantized",
    "request_id": "8f38a6232c5e47afb4be2d451103dd3e",
}


class Problem(BaseModel):
    """An error as RFC 9457 defines it."""

    model_config = ConfigDict(json_schema_extra={"examples": [PROBLEM]})

    type: str = Field(description="Stable URI reference of the problem's type.", examples=["/problems/unknown-variant"])
    title: str = Field(description="Short name of the problem's type.")
    status: int = Field(description="HTTP status.")
    detail: str = Field(description="What went wrong in this request, where, and what to do.")
    request_id: str = Field(description="Id of the request, as in the `X-Request-ID` header and in the log.")
