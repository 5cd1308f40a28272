"""A model over HTTP, with the REST interface of TensorFlow Serving."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from urllib.parse import unquote

import prometheus_client
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from kerasreg._first_line import first_line
from kerasreg._keras.tensorflow_internals import datatype_name
from kerasreg.serving.server import _rest
from kerasreg.serving.server._batching import Batcher, TooManyRequests
from kerasreg.serving.server._versions import Version, Versions

_LOG = logging.getLogger("kerasreg.serving")
# As there; names and labels are decoded afterwards.
_VERSION = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_POST = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<rest>classify|regress|predict)", re.IGNORECASE
)
_GET = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?:/(?P<rest>metadata))?", re.IGNORECASE
)
_OTHER_METHODS = {"classify": "classification", "regress": "regression"}


class _Failed(Exception):
    """A status and a message for the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class _Asked(NamedTuple):
    """What an address asks for."""

    name: str
    version: int | None
    label: str | None
    rest: str


def _asked(request: Request) -> _Asked:
    """What is asked for, or a `_Failed`."""
    path = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1")
    expected = {"POST": _POST, "GET": _GET}.get(request.method)
    match = expected.fullmatch(path) if expected else None
    rest = (match["rest"] or "") if match else ""
    # There it is compared as it is written, after all.
    if match is None or (request.method == "POST" and rest != rest.lower()):
        raise _Failed(400, f"Malformed request: {request.method} {path[:200]}")
    version = match["version"]
    if version is not None and int(version[:30]) >= 2**63:
        raise _Failed(400, f"Failed to convert version: {version[:30]} to numeric.")
    label = None if match["label"] is None else unquote(match["label"])
    name = unquote(match["name"] or "")
    return _Asked(name, None if version is None else int(version), label, rest.lower())


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

    def loaded(asked: _Asked) -> Version:
        current = versions.current
        if asked.label is not None and asked.name == name:
            raise _Failed(400, f"Unrecognized servable version label: {asked.label[:100]}")
        if current is None or asked.name != name or asked.version not in (None, current.number):
            version = asked.version
            shown = asked.name[:100] if version is None else f"{asked.name[:100]}, {version}"
            kind = "Latest" if version is None else "Specific"
            raise _Failed(404, f"Servable not found for request: {kind}({shown})")
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

    async def predict(request: Request, asked: _Asked) -> bytes:
        begun = time.perf_counter()
        body = _rest.read_body(await body_of(request))
        key = _rest.signature_of(body)
        signature = loaded(asked).signatures.get(key)
        if signature is None:
            raise _Failed(400, f'Serving signature name: "{key[:100]}" not found in signature def')
        by_row, features = _rest.read_predict(body, signature.inputs, max_batch)
        try:
            found = await batcher(signature, features)
        except TooManyRequests:
            raise _Failed(503, "too many requests wait") from None
        except Exception as error:
            # The model's own: of these features, or of a bug in it.
            _LOG.warning("a prediction failed: %s", error)
            raise _Failed(400, f"the model cannot answer this: {first_line(error)[:500]}") from None
        answer = _rest.encode(found, by_row)
        metrics.examples.inc(max(map(len, features.values())))
        metrics.seconds.observe(time.perf_counter() - begun)
        return answer

    async def classify(request: Request, asked: _Asked) -> bytes:
        """Says that no signature is for it: `export` writes none for these methods."""
        body = _rest.read_body(await body_of(request))
        key = _rest.signature_of(body)
        _rest.check_examples(body)
        if key not in loaded(asked).signatures:
            raise _Failed(400, f"No signature was found with the name: {key[:100]}")
        raise _Failed(
            400,
            f"Expected {_OTHER_METHODS[asked.rest]} signature method_name to be "
            f"tensorflow/serving/{asked.rest}. Was: tensorflow/serving/predict",
        )

    async def model(request: Request) -> Response:
        kind, status = "other", 200
        try:
            asked = _asked(request)
            kind = {"predict": "predict", "metadata": "metadata", "": "status"}.get(
                asked.rest, kind
            )
            if asked.rest == "predict":
                content = await predict(request, asked)
            elif asked.rest in _OTHER_METHODS:
                content = await classify(request, asked)
            elif not asked.name:
                raise _Failed(400, "Missing model name in request.")
            elif asked.rest == "metadata":
                content = metadata(name, loaded(asked))
            elif asked.name != name or versions.current is None:
                raise _Failed(404, f"Could not find any versions of model {asked.name[:100]}")
            elif asked.version not in (None, versions.current.number):
                raise _Failed(404, f"Could not find version {asked.version} of model {name}")
            else:
                content = model_status(versions.current)
        except _Failed as failed:
            status, content = failed.status, _rest.error(failed.message)
        except _rest.BadRequest as bad:
            status, content = bad.status, _rest.error(str(bad))
        except ClientDisconnect:
            status, content = 499, b""
        metrics.requests.labels(kind, str(status)).inc()
        return Response(content, status, {}, "application/json")

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
        Route("/v1/{rest:path}", model, methods=methods),
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
