"""A model over HTTP, with the REST interface of TensorFlow Serving."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import prometheus_client
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from kerasreg._keras.tensorflow_internals import datatype_name
from kerasreg.serving.server import _rest
from kerasreg.serving.server._batching import Batcher, TooManyRequests
from kerasreg.serving.server._versions import Version, Versions

_LOG = logging.getLogger("kerasreg.serving")
_MODEL = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(/versions/(?P<version>\d{1,18}))?"
    r"(?P<rest>/metadata|:[a-z]+)?"
)


class _Failed(Exception):
    """A status and a message for the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class _Metrics:
    """What Prometheus asks for."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        of = {"registry": self.registry}
        self.requests = prometheus_client.Counter(
            "kerasreg_requests", "Requests, by kind and status.", ["kind", "status"], **of
        )
        self.seconds = prometheus_client.Histogram(
            "kerasreg_request_seconds",
            "Time of a prediction, from its body to its answer.",
            buckets=[1e-3 * 2**power for power in range(14)],
            **of,
        )
        self.examples = prometheus_client.Counter(
            "kerasreg_examples", "Examples that were answered.", **of
        )
        self.version = prometheus_client.Gauge(
            "kerasreg_model_version", "The version that is served.", **of
        )


def application(
    versions: Versions,
    name: str,
    *,
    max_body: int = 16 * 2**20,
    max_batch: int = 4096,
    together: int = 256,
    queue: int = 1024,
    look_every: float = 1.0,
) -> Starlette:
    """The ASGI application of a model.

    Args:
        versions: its versions; one must be loaded.
        name: under which it is asked for.
        max_body: bytes of a request, a whole number >= 1.
        max_batch: examples of a request, a whole number >= 1.
        together: examples of requests that are answered together, a whole number >= 1.
        queue: how many requests may wait, a whole number >= 1.
        look_every: seconds between looks for a newer version, a number > 0.
    """
    metrics = _Metrics()
    batcher = Batcher(together, queue)

    def changed() -> None:
        if versions.current is not None:
            metrics.version.set(versions.current.number)

    def loaded(match: re.Match[str]) -> Version:
        current, wanted = versions.current, match["version"]
        if match["name"] != name:
            raise _Failed(404, f"Servable not found for request: Latest({match['name'][:100]})")
        if current is None:
            raise _Failed(503, "no version is loaded")
        if wanted is not None and int(wanted) != current.number:
            raise _Failed(404, f"Servable not found for request: Specific({name}, {int(wanted)})")
        return current

    async def body_of(request: Request) -> bytes:
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > max_body:
            raise _Failed(413, f"a body may have at most {max_body} bytes")
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > max_body:
                raise _Failed(413, f"a body may have at most {max_body} bytes")
            parts.append(part)
        return b"".join(parts)

    async def predict(request: Request, version: Version) -> bytes:
        begun = time.perf_counter()
        body = await body_of(request)
        parsed = _rest.parse_body(body)
        asked = _rest.signature_of(parsed)
        signature = version.signatures.get(asked)
        if signature is None:
            raise _Failed(400, f"Serving signature key {asked[:100]!r} not found.")
        by_row, features = _rest.parse_predict(
            parsed, signature.inputs, max_batch, booleans=b"true" in body or b"false" in body
        )
        try:
            found = await batcher(signature, features)
        except TooManyRequests:
            raise _Failed(503, "too many requests wait") from None
        except Exception as error:
            # The model's own: of these features, or of a bug in it.
            _LOG.warning("a prediction failed: %s", error)
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise _Failed(400, f"the model cannot answer this: {lines[0][:500]}") from None
        answer = _rest.encode(found, by_row)
        metrics.examples.inc(len(next(iter(features.values()))) if features else 0)
        metrics.seconds.observe(time.perf_counter() - begun)
        return answer

    async def model(request: Request) -> Response:
        kind, status, wanted = "other", 200, "GET"
        try:
            match = _MODEL.fullmatch(request.url.path)
            if match is None:
                raise _Failed(404, "Malformed request: " + request.method)
            rest = match["rest"] or ""
            kind = {":predict": "predict", "/metadata": "metadata", "": "status"}.get(rest, kind)
            version = loaded(match)
            wanted = "POST" if rest.startswith(":") else "GET"
            if request.method != wanted and not (wanted == "GET" and request.method == "HEAD"):
                raise _Failed(405, f"this address takes {wanted}")
            if rest == ":predict":
                content = await predict(request, version)
            elif rest == "/metadata":
                content = metadata(name, version)
            elif rest == "":
                content = model_status(version)
            else:
                raise _Failed(404, f"only :predict is served; got {rest!r}")
        except _Failed as failed:
            status, content = failed.status, _rest.error(failed.message)
        except _rest.BadRequest as bad:
            status, content = 400, _rest.error(str(bad))
        except ClientDisconnect:
            status, content = 499, b""
        metrics.requests.labels(kind, str(status)).inc()
        allow = {"allow": wanted} if status == 405 else {}
        return Response(content, status, allow, "application/json")

    async def health(request: Request) -> Response:
        ready = versions.current is not None
        return Response(json.dumps({"ready": ready}), 200 if ready else 503, {}, "application/json")

    async def prometheus(request: Request) -> Response:
        content = prometheus_client.generate_latest(metrics.registry)
        return Response(content, 200, {}, prometheus_client.CONTENT_TYPE_LATEST)

    async def unknown(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 500)
        message = {404: "not found", 405: "method not allowed"}.get(status, "internal error")
        if status == 500:
            _LOG.error("a request failed", exc_info=error)
        headers = dict(getattr(error, "headers", None) or {})
        return Response(_rest.error(message), status, headers, "application/json")

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        changed()
        watching = asyncio.create_task(versions.watch(look_every, changed))
        yield
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        batcher.close()

    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    routes = [
        Route("/v1/models/{rest:path}", model, methods=methods),
        Route("/healthz", health),
        Route("/metrics", prometheus),
        # Where TensorFlow Serving has it.
        Route("/monitoring/prometheus/metrics", prometheus),
    ]
    handlers: Any = {404: unknown, 405: unknown, 500: unknown}
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)


def model_status(version: Version) -> bytes:
    """The state of a model, as TensorFlow Serving tells it."""
    state = {"error_code": "OK", "error_message": ""}
    entry = {"version": str(version.number), "state": "AVAILABLE", "status": state}
    return json.dumps({"model_version_status": [entry]}).encode()


def metadata(name: str, version: Version) -> bytes:
    """The signatures of a model, as TensorFlow Serving tells them."""
    signatures = {
        key: {
            "inputs": _tensors(signature.tensors),
            "outputs": _tensors(signature.outputs),
            "method_name": "tensorflow/serving/predict",
        }
        for key, signature in version.signatures.items()
    }
    spec = {"name": name, "signature_name": "", "version": str(version.number)}
    found = {"signature_def": {"signature_def": signatures}}
    return json.dumps({"model_spec": spec, "metadata": found}).encode()


def _tensors(specs: Any) -> dict[str, Any]:
    return {
        name: {
            "dtype": datatype_name(spec.dtype),
            "tensor_shape": {
                "dim": [
                    {"size": str(-1 if size is None else size), "name": ""} for size in spec.shape
                ],
                "unknown_rank": False,
            },
            "name": spec.name or name,
        }
        for name, spec in specs.items()
    }
