"""The HTTP interface as OpenAPI 3.1 tells it."""

from typing import Any, Final

from streammeta import __version__
from streammeta.codec import JSON, MSGPACK
from streammeta.serving.asking import AT
from streammeta.serving.wire import MAX_ASKS

Schema = dict[str, Any]

PREDICT: Final = "/api/v1/predict"

_READS: Final = {
    "/metrics": ("Prometheus metrics", "text/plain"),
    "/livez": ("Whether the loop turns; 503 when it has not for 60 s", "text/plain"),
    "/readyz": ("Whether new events are learned from; else 503", "text/plain"),
    "/api/v1/status": ("What a person wants to know now, and what is wrong", JSON),
    "/api/v1/learners": ("Curves of this learner and of its challengers, over its own events", JSON),
    "/api/v1/history": ("The curves of the whole life, over events and over time, and its marks", JSON),
    "/api/v1/stream": (
        "Status and the last seconds, each second, as server-sent events",
        "text/event-stream",
    ),
    "/api/v1/tasks": ("The first tasks of an order", JSON),
    "/api/v1/tasks/{task}": ("One task; 404 when it is not known", JSON),
    "/api/v1/config": ("The settings in force, secrets masked", JSON),
    "/openapi.json": ("This document", JSON),
}
_PARAMETERS: Final[dict[str, list[Schema]]] = {
    "/api/v1/tasks": [
        {
            "name": "sort",
            "in": "query",
            "schema": {"enum": ["loss", "events", "seen", "staleness", "drift", "quarantine", "task"]},
        },
        {"name": "order", "in": "query", "schema": {"enum": ["descending", "ascending"]}},
        {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 1000}},
        {"name": "search", "in": "query", "schema": {"type": "string"}},
    ],
    "/api/v1/tasks/{task}": [{"name": "task", "in": "path", "required": True, "schema": {"type": "string"}}],
}

_TENSOR: Final[Schema] = {
    "description": "JSON: nested lists. MessagePack: {dtype, shape, data}, little-endian, C order.",
    "type": "array",
    "items": {"anyOf": [{"type": ["number", "boolean"]}, {"$ref": "#/components/schemas/Tensor"}]},
    "minItems": 1,
}
_SET: Final[Schema] = {
    "type": "object",
    "required": ["x", "y"],
    "properties": {name: {"$ref": "#/components/schemas/Tensor"} for name in "xy"},
}
_ASK: Final[Schema] = {
    "type": "object",
    "required": ["task", "x"],
    "properties": {
        "task": {"type": "string", "minLength": 1, "description": "At most 256 bytes of UTF-8"},
        "x": {"$ref": "#/components/schemas/Tensor"},
        "support": {"$ref": "#/components/schemas/Set"},
        "at": {
            "enum": [*AT],
            "default": "auto",
            "description": (
                "meta: at w; memory: at the task's memory; adapted: to the support set, else to the newest "
                "examples of the task's buffer; auto: adapted where there is one of these, else memory where "
                "the task is known, else meta"
            ),
        },
    },
}
_ANSWER: Final[Schema] = {
    "type": "object",
    "required": ["task", "y", "at", "known", "events", "task_events", "age_seconds"],
    "properties": {
        "task": {"type": "string"},
        "y": {"$ref": "#/components/schemas/Tensor"},
        "at": {"enum": [name for name in AT if name != "auto"]},
        "known": {"type": "boolean"},
        "events": {"type": "integer", "description": "Events that the commit which answered has learned"},
        "task_events": {"type": "integer"},
        "age_seconds": {"type": "number", "description": "How long ago it was committed"},
    },
}
_PROBLEM: Final[Schema] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "reason"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "reason": {"type": "string", "description": "For programs: no_memory, no_support, shape_mismatch, …"},
        "field": {"type": "string", "description": "x, support.y, at, …"},
        "index": {"type": "integer", "description": "Which one of a list, from 0"},
    },
}
_REFUSALS: Final = {
    "400": "No JSON or MessagePack",
    "413": "More than kafka.max_event_bytes",
    "415": "Another content type",
    "422": "Something asked for cannot be had, or is not sound; the whole list is refused",
    "503": "Too many wait, or nothing was committed yet",
}


def document_of(*, predicts: bool) -> Schema:
    """The document; `predicts`: predictions are given."""
    paths = {path: {"get": _read(path, *told)} for path, told in _READS.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "streammeta", "version": __version__},
        "paths": paths | ({PREDICT: {"post": _predict(), "get": _about()}} if predicts else {}),
        "components": {
            "schemas": {
                "Tensor": _TENSOR,
                "Set": _SET,
                "Ask": _ASK,
                "Answer": _ANSWER,
                "Problem": _PROBLEM,
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _read(path: str, summary: str, content_type: str) -> Schema:
    found = {
        "summary": summary,
        "responses": {"200": {"description": summary, "content": {content_type: {}}}},
    }
    return found | ({"parameters": _PARAMETERS[path]} if path in _PARAMETERS else {})


def _predict() -> Schema:
    return {
        "summary": "Predictions of the last commit; nothing that is asked changes what is learned",
        "requestBody": {"required": True, "content": _either("Ask")},
        "responses": {
            "200": {"description": "The answers, in the order asked", "content": _either("Answer")},
            **{
                status: {
                    "description": why,
                    "content": {
                        "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                    },
                }
                for status, why in _REFUSALS.items()
            },
        },
    }


def _about() -> Schema:
    task = {"name": "task", "in": "query", "required": True, "schema": {"type": "string"}}
    return _read(PREDICT, "What can be asked of a task", JSON) | {"parameters": [task]}


def _either(name: str) -> Schema:
    """One, or a list, in either encoding."""
    one = {"$ref": f"#/components/schemas/{name}"}
    schema = {"oneOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_ASKS}]}
    return {JSON: {"schema": schema}, MSGPACK: {"schema": schema}}
