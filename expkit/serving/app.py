"""The server's routes, and the guard before them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from expkit.errors import first_line
from expkit.predict import Predictor
from expkit.preprocess import ImageInput
from expkit.serving.about import CSV, FILES, JSON
from expkit.serving.answering import answer
from expkit.serving.inputs import Item, RequestError, items_of_json
from expkit.serving.limits import Hosts, Limits, refusal, too_large
from expkit.serving.openapi import openapi
from expkit.serving.page import assets
from expkit.serving.worker import BusyError, Worker

SECURITY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
_DRAINED = 4
"""Times the limit that is read of a body that is too large: who still sends does not hear the answer."""


def make_app(model: Predictor, description: Mapping[str, Any], worker: Worker, hosts: Hosts, limits: Limits) -> ASGIApp:
    """Return the application.

    Args:
        model: answers, in the worker's thread.
        description: of the model, for people and programs.
        worker: runs it.
        hosts: the names under which it may be asked.
        limits: what a request may cost.
    """
    service = _Service(model, description, worker, limits)
    routes = [
        *(Route(path, partial(_static, found), methods=["GET"]) for path, found in _documents(description).items()),
        Route("/api/predict", service.predict, methods=["POST"]),
    ]
    handlers: Any = {HTTPException: _refused, RequestError: _not_understood}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), hosts, limits)


def _documents(description: Mapping[str, Any]) -> dict[str, tuple[bytes, str]]:
    plain = {"/health": {"status": "ok"}, "/api/model": description, "/openapi.json": openapi(description)}
    return assets() | {path: (_as_json(value), JSON) for path, value in plain.items()}


async def _static(found: tuple[bytes, str], request: Request) -> Response:
    return Response(found[0], media_type=found[1])


class _Service:
    def __init__(self, model: Predictor, description: Mapping[str, Any], worker: Worker, limits: Limits) -> None:
        self._model, self._worker, self._limits = model, worker, limits
        self._name = {"name": description["name"], "run": description["run"]}

    async def predict(self, request: Request) -> Response:
        """Answer `POST /api/predict`."""
        began = time.monotonic()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        show = request.query_params.get("show") == "input"
        if kind == FILES:
            given: list[Item] | bytes = await self._files(request)
        elif kind == JSON or self._is_file(kind):
            given = await request.body()
        else:
            raise RequestError(f"the body's Content-Type is {kind[:80]!r}; this model takes {self._takes()}.", 415)
        job = partial(self._job, given, kind, time.monotonic() + self._limits.seconds, show=show)
        items = await self._done(job)
        status = 200 if any("answers" in item for item in items) or not items else 422
        return _json({"model": self._name, "items": items, "seconds": round(time.monotonic() - began, 4)}, status)

    def _is_file(self, kind: str) -> bool:
        if isinstance(self._model.reader, ImageInput):
            return kind.startswith("image/") or kind == "application/octet-stream"
        return kind in (CSV, "application/csv")

    def _takes(self) -> str:
        file = "an image (image/png, image/jpeg, ...)" if isinstance(self._model.reader, ImageInput) else CSV
        return f"{file}, {FILES} or {JSON}"

    async def _files(self, request: Request) -> list[Item]:
        most = self._limits.items
        async with request.form(max_files=most, max_fields=most, max_part_size=self._limits.bytes) as form:
            # Files go by their content alone; a name is only said back.
            return [
                Item((part.filename or field)[:255], await part.read())
                for field, part in form.multi_items()
                if isinstance(part, UploadFile)
            ]

    def _job(self, given: list[Item] | bytes, kind: str, deadline: float, *, show: bool) -> list[dict[str, Any]]:
        """Runs in the worker's thread, where reading a large image keeps nobody else's connection waiting."""
        if isinstance(given, bytes):
            items = items_of_json(given, self._model.reader) if kind == JSON else [Item("body", given)]
        else:
            items = given
        if not items:
            raise RequestError("the request has nothing to answer: no file, no row, no image.", 422)
        if len(items) > self._limits.items:
            raise RequestError(f"{len(items):,} items; a request may have {self._limits.items:,}.", 413)
        return answer(self._model, items, self._limits.items, deadline, show=show)

    async def _done(self, job: Any) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = await self._worker.do(job, self._limits.seconds)
        except BusyError:
            text = f"the model is busy, and {self._limits.waiting} requests wait for it. Try again."
            raise HTTPException(503, text, {"retry-after": "1"}) from None
        except TimeoutError:
            text = f"no answer within {self._limits.seconds:g} s (--timeout). Send less at a time."
            raise HTTPException(504, text) from None
        except RequestError:
            raise
        except Exception as error:
            raise HTTPException(500, f"the model failed: {type(error).__name__}: {first_line(error)[:300]}") from error
        return found


class Guard:
    """Turns requests away that are not for us or too large, and adds headers to all answers.

    Args:
        app: what answers the others.
        hosts: the names under which it may be asked.
        limits: what a request may cost.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts, limits: Limits) -> None:
        self._app, self._hosts, self._limits = app, hosts, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, see the ASGI specification."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        reason = refusal(scope["method"], headers, self._hosts, self._limits)
        bounded = _Body(receive, self._limits)

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in SECURITY.items()]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        if reason is None:
            await self._app(scope, bounded.receive, secured)
            return
        status, text = reason
        if status == 413 and "expect" not in headers:  # who asks first has not sent it
            await bounded.drain()
        await _json({"error": text}, status, {"connection": "close"})(scope, receive, secured)


class _Body:
    """The body of a request, which has to come in time and may not be too large."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive, self._limits = receive, limits
        self._size, self._whole = 0, False
        self._deadline = time.monotonic() + limits.seconds

    async def receive(self) -> Message:
        message = await self._next()
        if self._size > self._limits.bytes:
            await self.drain()
            raise HTTPException(413, too_large(self._limits), {"connection": "close"})
        return message

    async def drain(self) -> None:
        """Read on into nothing, up to a bound."""
        try:
            while not self._whole and self._size < _DRAINED * self._limits.bytes:
                await self._next()
        except HTTPException:
            pass

    async def _next(self) -> Message:
        if self._whole:  # what comes then is that the client has gone
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._deadline - time.monotonic()))
        except asyncio.TimeoutError:
            text = f"the body has not come within {self._limits.seconds:g} s (--timeout)."
            raise HTTPException(408, text, {"connection": "close"}) from None
        self._size += len(message.get("body", b""))
        self._whole = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message


async def _refused(request: Request, error: HTTPException) -> Response:
    reasons = {
        404: f"there is nothing at {request.url.path[:100]}. There are /, /health, /api/model and /api/predict.",
        405: f"{request.method[:20]} is not what {request.url.path[:100]} takes.",
    }
    return _json({"error": reasons.get(error.status_code, error.detail)}, error.status_code, error.headers)


async def _not_understood(request: Request, error: RequestError) -> Response:
    return _json({"error": str(error)}, error.status)


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_as_json(value), status, dict(headers or {}), JSON)


def _as_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
