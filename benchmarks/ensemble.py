"""The time of an ensemble of 32 members beside that of one member, as a SavedModel and served.

Usage: python benchmarks/ensemble.py [--widths=64,256,512] [--rounds=200] [--members=32]
           [--json=FILE]

Of an MLP 64-width-width-10. For each width one process exports one member and the ensemble. In each
round both answer one row, and 256 rows, in turn: as a SavedModel in that process, and over HTTP,
by two `kerasreg serve`, each asked on a connection that is kept. Printed: the median of the
milliseconds of each, and the median of the ratios of a round with quartiles.

Floor: 32 members have 32 times the weights to read, and 32 times the products. Where these take
longer than the rest of an answer, the ratio goes to 32 divided by what batched products save.
"""

import argparse
import http.client
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from _processes import in_process
from _results import recording, slug

ROWS = (1, 256)


def main(results):
    parser = argparse.ArgumentParser()
    parser.add_argument("--widths", default="64,256,512")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--members", type=int, default=32)
    parser.add_argument("--measure", type=int)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measured(given.measure, given.rounds, given.members)))
        return
    for width in map(int, given.widths.split(",")):
        options = [f"--rounds={given.rounds}", f"--members={given.members}"]
        for row in in_process(__file__, f"--measure={width}", *options):
            one, many, low, middle, high = row["numbers"]
            results.add(
                f"width_{width}.{slug(row['how'])}.{row['rows']}_rows",
                middle,
                f"time of an ensemble of {given.members} of width {width}, {row['how']}, "
                f"{row['rows']} rows, in ratio to one member",
                low,
                high,
                f"quartiles of {given.rounds}",
                headline=width == 256,
            )
            print(
                f"width {width:4} {row['how']:10} {row['rows']:4} rows: "
                f"{one:.2f} ms, {many:.2f} ms, ratio {middle:.2f} ({low:.2f} to {high:.2f})",
                flush=True,
            )


def measured(width, rounds, count):
    """Times of both, in turn."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import numpy as np
    import tensorflow as tf

    from kerasreg import models, serving

    keras.utils.set_random_seed(0)

    def model():
        hidden = [keras.layers.Dense(width, "relu") for _ in range(2)]
        return keras.Sequential(
            [keras.Input((64,)), *hidden, keras.layers.Dense(10, "softmax")], name="mlp"
        )

    each = [model() for _ in range(count)]
    x = np.random.default_rng(0).normal(size=(max(ROWS), 64)).astype("float32").round(4)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        both = {"one": each[0], "many": models.ensemble(each)}
        paths = {name: serving.export(of, os.path.join(folder, name)) for name, of in both.items()}
        loaded = {name: tf.saved_model.load(path) for name, path in paths.items()}
        for size in ROWS:
            features = tf.constant(x[:size])
            calls = {
                name: lambda of=of, features=features: of.signatures["serve"](inputs=features)
                for name, of in loaded.items()
            }
            rows.append({"how": "SavedModel", "rows": size, "numbers": in_turn(calls, rounds)})
        del loaded
        servers, connections = {}, {}
        try:
            for name in paths:
                servers[name], connections[name] = serve(os.path.join(folder, name))
            for size in ROWS:
                body = json.dumps({"instances": x[:size].tolist()})
                calls = {
                    name: lambda name=name, body=body: ask(connections[name], name, body)
                    for name in paths
                }
                rows.append({"how": "served", "rows": size, "numbers": in_turn(calls, rounds)})
        finally:
            for server in servers.values():
                server.terminate()
                server.wait(30)
    return rows


def serve(folder):
    """A server of a model, and a connection to it once it answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    command = [sys.executable, "-m", "kerasreg", "serve", folder, f"--port={port}"]
    nowhere = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=nowhere, stderr=nowhere)
    name, end = pathlib.Path(folder).name, time.monotonic() + 120
    while time.monotonic() < end and server.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("GET", f"/v1/models/{name}")
            if connection.getresponse().read() and connection.sock is not None:
                return server, connection
        except OSError:
            time.sleep(0.2)
    server.kill()
    sys.exit(f"The server of {folder} does not answer")


def ask(connection, name, body):
    """One answer of a server."""
    headers = {"content-type": "application/json"}
    for last in (False, True):
        try:
            connection.request("POST", f"/v1/models/{name}:predict", body, headers)
            answer = connection.getresponse()
            content = answer.read()
            break
        except (OSError, http.client.HTTPException):
            # The server ends a connection on which nobody asks while the other one starts.
            connection.close()
            if last:
                raise
    if answer.status != 200:
        sys.exit(content.decode())


def in_turn(calls, rounds):
    """The median milliseconds of both, and quartiles of the ratio in a round."""
    times = {name: [] for name in calls}
    for turn in range(rounds + 20):
        for name in list(calls)[:: 1 if turn % 2 else -1]:
            begun = time.perf_counter()
            calls[name]()
            if turn >= 20:  # The first calls make what later ones use again.
                times[name].append(1e3 * (time.perf_counter() - begun))
    ratios = [many / one for one, many in zip(times["one"], times["many"], strict=True)]
    middles = [statistics.median(times[name]) for name in ("one", "many")]
    return [*middles, *statistics.quantiles(ratios, n=4)]


if __name__ == "__main__":
    with recording() as results:
        main(results)
