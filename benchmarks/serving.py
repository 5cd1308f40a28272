"""Requests a second, latency and memory of `kerasreg serve` beside KServe's server.

Usage: python benchmarks/serving.py --kserve=PYTHON [--seconds=60] [--slices=6] [--rows=1]
           [--json=FILE]

PYTHON is that of an environment with `kserve` and TensorFlow (`make bench-serving` makes it). One
model (an MLP 64-256-10), exported once, is served by both, each in a process, on this machine
alone. Four connections that are kept ask for a prediction of `--rows` examples and ask again when
they have it, for `--seconds` at each server, in slices that take turns; then one connection does,
for a third as long. Every answer is compared with Keras'. Printed: p50 and p99 of each server as
the median over its slices with quartiles, and their ratio; errors; and how the memory of the server
grows, as the slope of its resident size over the second half of its time, with the standard error
of the fit.

Floor: a web server of the same kind (uvicorn) that reads the request and answers with the same
bytes each time.
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
import threading
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from _results import recording

from kerasreg import serving

NAME = "mlp"
PATH = f"/v1/models/{NAME}:predict"
CONNECTIONS = 4
FLOOR = """
import sys, uvicorn
answer = sys.argv[2].encode()
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
"""


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


class Server:
    """A process that answers, and what was seen of it."""

    def __init__(self, name, port, command):
        self.name, self.port = name, port
        nowhere = subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdout=nowhere, stderr=nowhere)
        self.seconds, self.memory, self.errors = [], [], 0

    def wait(self, body):
        """Until it answers."""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.request("POST", PATH, body, {"content-type": "application/json"})
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.2)
        raise SystemExit(f"{self.name} does not answer")

    def megabytes(self):
        """Its resident memory."""
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def ask(server, bodies, expected, end, times):
    """Asks until the end; times of answers, and errors."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"content-type": "application/json"}
    index = 0
    while time.perf_counter() < end:
        index = (index + 1) % len(bodies)
        begun = time.perf_counter()
        try:
            connection.request("POST", PATH, bodies[index], headers)
            answer = connection.getresponse()
            content = answer.read()
        except OSError:
            server.errors += 1
            connection.close()
            continue
        times.append(time.perf_counter() - begun)
        if answer.status != 200:
            server.errors += 1
        elif expected is not None:
            found = np.array(json.loads(content)["predictions"])
            if not np.allclose(found, expected[index], rtol=1e-4, atol=1e-5):
                server.errors += 1


def load(server, bodies, expected, connections, seconds):
    """The times of one slice; the server's memory each second of it."""
    times = [[] for _ in range(connections)]
    end = time.perf_counter() + seconds
    threads = [
        threading.Thread(target=ask, args=(server, bodies, expected, end, each)) for each in times
    ]
    for thread in threads:
        thread.start()
    while time.perf_counter() < end:
        server.seconds.append(time.monotonic())
        server.memory.append(server.megabytes())
        time.sleep(min(1.0, max(0.0, end - time.perf_counter())))
    for thread in threads:
        thread.join()
    return np.concatenate(times)


def slope(server):
    """Megabytes an hour, and the standard error of the fit."""
    half = len(server.seconds) // 2
    x = np.array(server.seconds[half:]) / 3600
    y = np.array(server.memory[half:])
    x = x - x.mean()
    found = (x * (y - y.mean())).sum() / (x**2).sum()
    left = y - y.mean() - found * x
    return found, np.sqrt((left**2).sum() / max(1, len(x) - 2) / (x**2).sum())


def spread(values, digits=2):
    first, middle, last = statistics.quantiles(values, n=4)
    return f"{middle:.{digits}f} ({first:.{digits}f} to {last:.{digits}f})"


def main(results):
    parser = argparse.ArgumentParser()
    parser.add_argument("--kserve", required=True, help="a Python that has kserve and tensorflow")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--slices", type=int, default=6)
    parser.add_argument("--rows", type=int, default=1)
    given = parser.parse_args()

    program = "import importlib.metadata as m; print(m.version('kserve'))"
    asked = subprocess.run(
        [given.kserve, "-c", program], capture_output=True, text=True, check=True
    )
    results.versions["kserve"] = asked.stdout.strip()
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(256, "relu"), keras.layers.Dense(10, "softmax")]
    model = keras.Sequential([keras.Input((64,)), *layers])
    x = np.random.default_rng(0).normal(size=(50, given.rows, 64)).astype("float32").round(4)
    bodies = [json.dumps({"instances": rows.tolist()}) for rows in x]
    expected = [np.array(model(rows)) for rows in x]
    fixed = json.dumps({"predictions": expected[0].tolist()})

    here = pathlib.Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        path = serving.export(model, os.path.join(folder, NAME))
        run = [sys.executable, "-m", "kerasreg", "serve", os.path.dirname(path)]
        commands = {
            "kerasreg": lambda port: [*run, f"--port={port}"],
            "KServe": lambda port: [given.kserve, here / "kserve_server.py", path, NAME, port],
            "floor": lambda port: [sys.executable, "-c", FLOOR, port, fixed],
        }
        servers = []
        for name, command in commands.items():
            port = free_port()
            servers.append(Server(name, port, command(str(port))))
        try:
            for server in servers:
                server.wait(bodies[0])
                load(server, bodies, None, CONNECTIONS, 2)
                server.seconds, server.memory, server.errors = [], [], 0
            measure(servers, bodies, expected, given, results)
        finally:
            for server in servers:
                server.process.terminate()
                server.process.wait(30)


def measure(servers, bodies, expected, given, results):
    for connections, whole in ((CONNECTIONS, given.seconds), (1, given.seconds / 3)):
        print(f"\n{connections} connections, {given.rows} examples a request")
        found = {server.name: [] for server in servers}
        for turn in range(given.slices):
            for server in servers[:: 1 if turn % 2 else -1]:
                answers = None if server.name == "floor" else expected
                times = load(server, bodies, answers, connections, whole / given.slices)
                found[server.name].append(times)
        for server in servers:
            slices = found[server.name]
            points = {q: [1e3 * np.percentile(times, q) for times in slices] for q in (50, 99)}
            rate = sum(map(len, slices)) / whole
            print(
                f"{server.name:9} p50 ms {spread(points[50])}, p99 ms {spread(points[99])}, "
                f"{rate:.0f} requests/s, {server.errors} errors in {sum(map(len, slices))}"
            )
        for q in (50, 99):
            ratios = [
                np.percentile(one, q) / np.percentile(other, q)
                for one, other in zip(found["kerasreg"], found["KServe"], strict=True)
            ]
            print(f"p{q} of kerasreg in ratio to KServe's: {spread(ratios)}")
            results.of(
                f"connections_{connections}.p{q}_to_kserve",
                ratios,
                f"p{q} of the latency of `kerasreg serve`, {connections} connections, in ratio to "
                "KServe's",
                headline=True,
            )
    print()
    for server in servers[:2]:
        growth, error = slope(server)
        results.add(
            f"memory_growth.{server.name.lower()}",
            growth,
            f"growth of the memory of {server.name}, MB an hour",
            growth - error,
            growth + error,
            "standard error",
        )
        print(
            f"{server.name:9} memory {server.memory[0]:.0f} MB at first, "
            f"{server.memory[-1]:.0f} at last; slope {growth:.1f} ± {error:.1f} MB an hour"
        )


if __name__ == "__main__":
    with recording() as results:
        main(results)
