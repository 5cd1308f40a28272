"""`kerasreg serve`: a development server for exported models."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Set

from kerasreg.cli._command import Command, UsageError, bad_input, failing, loading, write
from kerasreg.cli._options import option


@dataclasses.dataclass(frozen=True)
class ServeOptions:
    """Keyword arguments of `kerasreg.serving.server.serve`."""

    name: str | None = option(None, "Name of the model; else the folder's.")
    host: str = option("127.0.0.1", "IP address to listen on; the default is this machine alone.")
    port: int = option(8501, "Port; 0 takes any that is free.", minimum=0, maximum=65535)
    max_body: int = option(16 * 2**20, "Largest request, in bytes.", minimum=1)
    max_batch: int = option(4096, "Most examples in a request.", minimum=1)
    look_every: float = option(1.0, "Seconds between looks for a newer version.", minimum=0.01)


def _run(options: ServeOptions, given: Set[str], folder: str | None) -> None:
    if folder is None:
        raise UsageError("serve needs a folder of versions: kerasreg serve models/digits")
    with bad_input(), loading():
        from kerasreg.serving import server
    # Absl has put its own handler there.
    logging.basicConfig(format="kerasreg: %(message)s", stream=sys.stderr, force=True)
    logging.getLogger("kerasreg.serving").setLevel(logging.INFO)
    with bad_input(), failing(OSError, ImportError):
        server.serve(folder, write=write, **dataclasses.asdict(options))


SERVE = Command(
    name="serve",
    summary=["answer for an exported model over HTTP, for development"],
    purpose="a development server with TensorFlow Serving's REST interface",
    examples=[
        "kerasreg serve kerasreg_search/model             # what kerasreg search has exported",
        "kerasreg serve models/digits --port=9000",
    ],
    options=ServeOptions,
    run=_run,
    takes="FOLDER",
)
