"""The API in OpenAPI's terms, for programs that make clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from expkit.serving.about import CSV, FILES, JSON

_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_FAILURES = {
    "400": "not understood",
    "403": "from another site's page",
    "408": "the body came too slowly",
    "413": "too large",
    "415": "a Content-Type that the model does not take",
    "421": "a Host that is not this server's",
    "500": "the model failed",
    "503": "busy; try again",
    "504": "no answer in time",
}


def openapi(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document.

    Args:
        description: of the model, see `about`.
    """
    predict = {
        "summary": "Answers of the model",
        "parameters": [
            {
                "name": "show",
                "in": "query",
                "schema": {"enum": ["input"]},
                "description": "each image as the network sees it",
            }
        ],
        "requestBody": {"required": True, "content": _contents(description)},
        "responses": {
            "200": _response("answers", {"$ref": "#/components/schemas/Answers"}),
            "422": _response(
                "no item could be answered", {"anyOf": [{"$ref": "#/components/schemas/Answers"}, _ERROR]}
            ),
            **{status: _response(text, _ERROR) for status, text in _FAILURES.items()},
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{description['name']}, served by expkit", "version": description["expkit"]},
        "paths": {
            "/health": {
                "get": {"summary": "Whether it answers", "responses": {"200": _response("it does", {"type": "object"})}}
            },
            "/api/model": {
                "get": {
                    "summary": "What the model is and takes",
                    "responses": {"200": _response("", {"type": "object"})},
                }
            },
            "/api/predict": {"post": predict},
        },
        "components": {"schemas": {"Answers": _answers(description["target"])}},
    }


def _response(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": text or "a description", "content": {JSON: {"schema": schema}}}


def _contents(description: Mapping[str, Any]) -> dict[str, Any]:
    given = description["input"]
    file = {"schema": {"type": "string", "format": "binary"}}
    files = {"schema": {"type": "object", "additionalProperties": file["schema"]}}
    if given["kind"] == "table":
        names = [column["name"] for column in given["columns"]]
        row = {
            "anyOf": [
                {"type": "object", "required": names, "properties": {name: {"type": "number"} for name in names}},
                {"type": "array", "items": {"type": "number"}, "minItems": len(names), "maxItems": len(names)},
            ]
        }
        return {CSV: file, FILES: files, JSON: {"schema": _list_of("rows", row)}}
    image = {"anyOf": [{"type": "string", "contentEncoding": "base64"}, {"type": "array"}]}
    return {"image/*": file, FILES: files, JSON: {"schema": _list_of("images", image)}}


def _list_of(key: str, item: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [key], "properties": {key: {"type": "array", "items": item}}}


def _answers(target: Mapping[str, Any]) -> dict[str, Any]:
    number = {"type": "number"}
    if target["kind"] == "classes":
        label = {"enum": target["labels"]}
        table = {"type": "object", "properties": dict.fromkeys(target["labels"], number)}
        one = {"label": label, "probability": number, "probabilities": table}
    else:
        one = {
            "values": {"type": "object", "properties": dict.fromkeys(target["names"], number)},
            "unit": {"type": "string"},
        }
    answers = {"type": "array", "items": {"type": "object", "properties": one}}
    seen = {"type": "array", "items": {"type": "string"}}
    item = {"name": {"type": "string"}, "answers": answers, "error": {"type": "string"}, "seen": seen}
    items = {"type": "array", "items": {"type": "object", "required": ["name"], "properties": item}}
    model = {"type": "object", "properties": {"name": {"type": "string"}, "run": {"type": "string"}}}
    return {"type": "object", "properties": {"model": model, "items": items, "seconds": number}}
