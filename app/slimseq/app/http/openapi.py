"""The OpenAPI document: FastAPI's own, with problems under the media type that they are really sent with."""

from typing import Any

from fastapi import FastAPI

from slimseq.app.http.problems import MEDIA_TYPE


def install_openapi(app: FastAPI) -> None:
    """Makes `/openapi.json` say `application/problem+json` for every error."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        document = original()
        for operations in document["paths"].values():
            for operation in operations.values():
                for status, response in operation["responses"].items():
                    content = response.get("content", {})
                    if int(status) >= 400 and "application/json" in content:
                        content[MEDIA_TYPE] = content.pop("application/json")
        return document

    app.openapi = openapi  # type: ignore[method-assign]
