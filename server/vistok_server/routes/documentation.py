"""What OpenAPI says of calls that read their requests by themselves."""

from typing import Any

from pydantic import BaseModel

from vistok_protocol import media_types
from vistok_protocol.schemas import Problem

BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
SECURITY_SCHEME = "HTTPBearer"

Parameters = tuple[dict[str, Any], ...]
TOKENIZER: Parameters = (
    {
        "name": "name",
        "in": "path",
        "required": True,
        "description": "A tokenizer's name",
        "schema": {"type": "string"},
    },
)
GRID_ID: Parameters = (
    {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "The SHA-256 of the grid's token bytes",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    },
)
_HEADERS: list[dict[str, Any]] = [
    {"name": media_types.PRIORITY, "in": "header", "schema": {"type": "string", "enum": ["normal", "bulk"]}},
    {"name": media_types.TIMEOUT, "in": "header", "schema": {"type": "integer", "minimum": 1}},
]


def described(*models: type[BaseModel]) -> dict[str, Any]:
    """Describe JSON that is one of these models.

    Models within models are written out: a reference would be looked for in the whole document.
    """
    schemas = [_written_out(model.model_json_schema()) for model in models]
    return {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}


def documented(
    query: type[BaseModel] | None = None,
    body: dict[str, Any] | None = None,
    answers: tuple[str, ...] = (),
    *json_answers: type[BaseModel],
    path: Parameters = TOKENIZER,
) -> dict[str, Any]:
    """Describe a call's parameters, and by their media types its body and its answers."""
    contents = {
        media_type: described(*json_answers) if media_type == media_types.JSON else BINARY
        for media_type in answers
    }
    extra: dict[str, Any] = {
        "parameters": [*path, *(_parameters(query) if query else []), *_HEADERS],
        "security": [{SECURITY_SCHEME: []}, {}],  # whether keys are asked for is the operator's choice
        "responses": {"200": {"content": contents}},
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


def _written_out(schema: dict[str, Any]) -> dict[str, Any]:
    definitions = schema.pop("$defs", {})

    def write_out(part: Any) -> Any:
        match part:
            case {"$ref": str(path)}:
                return write_out(definitions[path.removeprefix("#/$defs/")])
            case dict():
                return {key: write_out(value) for key, value in part.items()}
            case list():
                return [write_out(value) for value in part]
        return part

    return {key: write_out(value) for key, value in schema.items()}


Answers = dict[int | str, dict[str, Any]]
PROBLEMS: Answers = {
    "default": {"description": "What went wrong", "content": {media_types.PROBLEM: described(Problem)}}
}
UNCHANGED: Answers = {304: {"description": "What the caller has is still right"}}
IN_PARTS: Answers = {206: {"description": "Parts of a clip, as `Range` asks for them"}}
