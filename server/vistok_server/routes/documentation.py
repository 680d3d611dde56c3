"""What OpenAPI says of calls that read their requests by themselves."""

from typing import Any

from pydantic import BaseModel

from vistok_protocol import media_types
from vistok_protocol.schemas import Problem

PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "What went wrong",
        "model": Problem,
        "content": {media_types.PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}
BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
SECURITY_SCHEME = "HTTPBearer"

_NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "A tokenizer's name",
    "schema": {"type": "string"},
}
_HEADERS: list[dict[str, Any]] = [
    {"name": media_types.PRIORITY, "in": "header", "schema": {"type": "string", "enum": ["normal", "bulk"]}},
    {"name": media_types.TIMEOUT, "in": "header", "schema": {"type": "integer", "minimum": 1}},
]


def documented(
    query: type[BaseModel] | None = None,
    body: dict[str, Any] | None = None,
    answers: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Describe a call's parameters, and by their media types its body and its answers."""
    extra: dict[str, Any] = {
        "parameters": [_NAME, *(_parameters(query) if query else []), *_HEADERS],
        "security": [{SECURITY_SCHEME: []}],
        "responses": {"200": {"content": {media_type: _content(media_type) for media_type in answers}}},
    }
    if body is not None:
        extra["requestBody"] = {"required": True, "content": body}
    return extra


def _parameters(query: type[BaseModel]) -> list[dict[str, Any]]:
    schema = query.model_json_schema()
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": field.get("description", ""),
            "schema": {key: value for key, value in field.items() if key != "description"},
        }
        for name, field in schema["properties"].items()
    ]


def _content(media_type: str) -> dict[str, Any]:
    return {"schema": {"type": "object"}} if media_type == media_types.JSON else BINARY
