"""Serving a base directory until a signal ends it."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from kerasreg._keras.patching import patched
from kerasreg._validation import check_count, check_positive
from kerasreg.serving._export import list_versions

_ENDING = (signal.SIGINT, signal.SIGTERM)
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_BACKLOG = 2048  # Connections that may wait to be taken: as many as uvicorn lets wait.


def serve(
    base_dir: str | os.PathLike[str],
    name: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8501,
    max_body: int = 16 * 2**20,
    max_batch: int = 4096,
    look_every: float = 1.0,
    write: Callable[[str], None] = print,
) -> None:
    """Answers over HTTP, with TensorFlow Serving's REST interface, until a signal ends it.

    For development and tests: it is one process, without authentication, and listens on this
    machine alone unless told otherwise. In production serve the same directory with TensorFlow
    Serving; the command for it is printed.

    The newest version is served, and a newer one from the moment that it is published; what is
    being answered is answered by the one before. Requests that come in while the model is busy
    are answered as one batch.

    - `POST /v1/models/NAME[/versions/N]:predict`: by row (`instances`) or column (`inputs`), for
      any signature (`signature_name`). What has no form in JSON there, such as half precision, and
      rows of outputs without a row for each example are refused, with the same messages.
    - `GET /v1/models/NAME[/versions/N]` and `/metadata`: the version, and the signatures.
    - `GET /healthz`; `GET /metrics` for Prometheus.

    SIGTERM and SIGINT end it when the requests that it has are answered.

    Args:
        base_dir: a directory of versions, as `export` makes them.
        name: of the model, of letters, digits, `_`, `.` and `-`; by default the directory's.
        host: an IP address of this machine.
        port: from 0, any that is free, to 65535.
        max_body: bytes of a request, a whole number >= 1.
        max_batch: examples of a request, a whole number >= 1.
        look_every: seconds between looks for a newer version, a number > 0.
        write: is given the lines that say where it listens.

    Raises:
        ValueError: if an argument is none of these, or there is no version that can be loaded.
        ImportError: if the web server is not installed, with the command that installs it.
        OSError: if the port is taken.
    """
    base_dir = os.fspath(base_dir)
    if not list_versions(base_dir):
        inside = os.path.join(base_dir, "model")
        hint = f"; did you mean {inside!r}?" if list_versions(inside) else ""
        raise ValueError(
            "`base_dir` must be a directory of versions, such as models/digits with "
            f"models/digits/1 in it. Received: base_dir={base_dir!r}{hint}"
        )
    name = os.path.basename(os.path.abspath(base_dir)) if name is None else name
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"`name` must be of letters, digits, '_', '.' and '-'. Received: name={name!r}"
        )
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"`host` must be an IP address. Received: host={host!r}") from None
    if check_count("port", port, minimum=0) > 65535:
        raise ValueError(f"`port` must be from 0 to 65535. Received: port={port}")
    for argument, value in (("max_body", max_body), ("max_batch", max_batch)):
        check_count(argument, value)
    check_positive("look_every", look_every)
    try:
        import uvicorn

        from kerasreg.serving.server._app import application
    except ImportError as error:
        raise ImportError(
            f"The server needs {error.name}: pip install 'kerasreg[serve]'"
        ) from error
    from kerasreg.serving.server._versions import Versions

    loaded = Versions(base_dir)
    loaded.look()
    if loaded.current is None:
        raise ValueError(
            f"`base_dir` must have a version that can be loaded: {base_dir!r} has none"
        )
    app = application(loaded, name, max_body=max_body, max_batch=max_batch, look_every=look_every)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=30)
    with _listening(host, port, address) as listening:
        shown = f"[{host}]" if address.version == 6 else host
        at = f"http://{shown}:{listening.getsockname()[1]}/v1/models/{name}"
        write(f"{name}, version {loaded.current.number}: {at}:predict")
        write(f"for development; in production: {production(base_dir, name)}")
        with _until_a_signal(server := uvicorn.Server(config)):
            server.run(sockets=[listening])


@contextlib.contextmanager
def _until_a_signal(server: Any) -> Iterator[None]:
    """Lets signals end a server, which then returns: its own way sends them on when it has."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {one: signal.signal(one, server.handle_exit) for one in _ENDING}
    try:
        with patched(server, capture_signals=contextlib.nullcontext):
            yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _listening(host: str, port: int, address: Any) -> socket.socket:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    # With the protocol named: of a socket with another one asyncio does not know that small
    # packets are to be sent at once, and an answer waits 40 ms for the client's receipt.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        # Who reads where it listens may ask at once, and waits until the server takes requests.
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno != errno.EADDRINUSE:
            raise
        told = OSError(f"`port` must be free, or 0 for any that is. Received: port={port}, in use")
        told.errno = error.errno
        raise told from error
    return listening


def production(base_dir: str, name: str) -> str:
    """The command that serves the same directory with TensorFlow Serving."""
    return (
        f"docker run -p 8501:8501 -v {os.path.abspath(base_dir)}:/models/{name} "
        f"-e MODEL_NAME={name} tensorflow/serving"
    )
