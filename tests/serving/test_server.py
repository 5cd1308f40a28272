"""`kerasreg serve`, as a process that real clients ask."""

import base64
import concurrent.futures
import contextlib
import functools
import http.client
import io
import ipaddress
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import httpx
import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.commands import check_refused, command, command_inside, started

from kerasreg import serving
from kerasreg.layers import ScheduledDropout
from kerasreg.serving import server
from kerasreg.serving.server._serve import _listening

LABELS = ["a", "b", "c"]


def classifier():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(8, "relu"), ScheduledDropout(0.5, seed=1)]
    inputs = keras.Input((4,), name="x")
    return keras.Sequential([inputs, *layers, keras.layers.Dense(3, "softmax")])


def adding(number):
    inputs = keras.Input((1,), name="x")
    return keras.Sequential([inputs, keras.layers.Rescaling(1.0, offset=number)])


export = functools.partial(serving.export, tolerance=None)


class Client:
    """Asks a server that has said where it listens."""

    def __init__(self, said):
        self.said, self.hint = said
        self.address = re.search(r"http://\S+(?=:predict)", self.said)[0]
        self.host, self.port = re.search(r"http://([^/]+):(\d+)/", self.address).groups()
        self.client = httpx.Client(base_url=f"http://{self.host}:{self.port}", timeout=60)
        self.path = self.address.split(f":{self.port}")[1]

    def predict(self, body, path=None):
        return self.client.post(f"{path or self.path}:predict", json=body)


def serve_inside(folder, *flags, use, ending=signal.SIGTERM):
    """Serves a folder within this process, while a thread uses it, until a signal ends it.

    Returns what the command left, and what `use`, which is given a client, returned.
    """
    out, over = io.StringIO(), threading.Event()

    def client():
        try:
            while out.getvalue().count("\n") < 2:
                assert not over.wait(0.01), "it does not serve"
            one = Client(out.getvalue().splitlines())
            with one.client:
                # Once it answers, it takes signals.
                assert one.client.get("/healthz").json() == {"ready": True}
                return use(one)
        finally:
            os.kill(os.getpid(), ending)

    # A signal that comes too early, because something failed, is not to end the tests.
    kept = signal.signal(ending, lambda *_: None)
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            used = pool.submit(client)
            done = command_inside("serve", str(folder), "--port=0", *flags, cwd=folder, out=out)
            over.set()
            return done, used.result(timeout=60)
    finally:
        signal.signal(ending, kept)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A server of a classifier, in a process of its own, and the classifier."""
    model, folder = classifier(), tmp_path_factory.mktemp("base") / "flowers"
    export(model, folder, labels=LABELS, passes=8)
    process = started("serve", str(folder), "--port=0", "--max_batch=1000", "--max_body=200000")
    try:
        said = [process.stdout.readline(), process.stdout.readline()]
        assert "http://" in said[0], process.stderr.read()
        one = Client(said)
        one.process = process
        yield one, model, folder
        one.client.close()
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out) == (0, "")
    # What was asked wrongly may be told, in a line.
    assert errors.startswith("kerasreg: version 1 is served\n")
    assert not re.search(r"Traceback|ERROR", errors), errors


def examples(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 4)).astype("float32")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_small_answers_are_sent_at_once(host):
    """asyncio sends small packets at once on sockets of which it knows that they are TCP's."""
    try:
        listening = _listening(host, 0, ipaddress.ip_address(host))
    except OSError:
        pytest.skip("this machine has no such address")
    with listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_who_asks_before_it_takes_requests_waits_and_is_not_refused():
    with (
        _listening("127.0.0.1", 0, ipaddress.ip_address("127.0.0.1")) as listening,
        socket.create_connection(listening.getsockname(), timeout=10) as asking,
        listening.accept()[0] as taken,
    ):
        assert taken.getpeername() == asking.getsockname()


def test_it_says_where_it_listens_and_what_is_for_production(running):
    one, _, folder = running
    assert re.match(r"flowers, version 1: http://127\.0\.0\.1:\d+/v1/models/flowers:pr", one.said)
    assert f"-v {folder}:/models/flowers -e MODEL_NAME=flowers tensorflow/serving" in one.hint


@pytest.mark.parametrize("count", [1, 7, 1000])
def test_rows_and_columns_are_answered_as_by_keras(running, count):
    one, model, _ = running
    x = examples(count)
    expected = np.array(model(x))
    for body, key in (
        ({"instances": x.tolist()}, "predictions"),
        ({"instances": [{"x": row} for row in x.tolist()]}, "predictions"),
        ({"inputs": x.tolist()}, "outputs"),
        ({"inputs": {"x": x.tolist()}, "signature_name": "serve"}, "outputs"),
    ):
        answer = one.predict(body)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        found = np.reshape(answer.json()[key], (count, 3))
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_every_signature_is_answered(running, as_example):
    one, model, _ = running
    x = examples(5)
    scores = np.array(model(x))
    body = {"instances": x.tolist(), "signature_name": "classify"}
    found = one.predict(body).json()["predictions"]
    assert [row["label"] for row in found] == [LABELS[index] for index in scores.argmax(1)]
    np.testing.assert_allclose([row["scores"] for row in found], scores, atol=1e-6)
    body["signature_name"] = "predict_mc"
    first, again = (one.predict(body).json()["predictions"] for _ in range(2))
    assert first == again
    assert min(row["outputs_variance"][0] for row in first) > 0
    rows = [as_example(x=row) for row in x]
    coded = [{"b64": base64.b64encode(row).decode()} for row in rows]
    found = one.predict({"instances": coded, "signature_name": "serve_examples"}).json()
    np.testing.assert_allclose(found["predictions"], scores, atol=1e-6)


def test_state_and_signatures_are_told(running):
    one, _, _ = running
    for path in (one.path, f"{one.path}/versions/1"):
        (state,) = one.client.get(path).json()["model_version_status"]
        assert (state["version"], state["state"]) == ("1", "AVAILABLE")
        assert state["status"] == {"error_code": "OK", "error_message": ""}
    found = one.client.get(f"{one.path}/metadata").json()
    assert found["model_spec"] == {"name": "flowers", "signature_name": "", "version": "1"}
    signatures = found["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["inputs"]["x"]["dtype"] == "DT_FLOAT"
    sizes = signatures["serving_default"]["inputs"]["x"]["tensor_shape"]["dim"]
    assert [dim["size"] for dim in sizes] == ["-1", "4"]
    assert signatures["classify"]["outputs"]["label"]["dtype"] == "DT_STRING"
    assert one.client.get("/healthz").json() == {"ready": True}


def test_the_metadata_are_those_of_tensorflow_serving(running):
    messages = pytest.importorskip("tensorflow_serving.apis.get_model_metadata_pb2")
    from google.protobuf import json_format

    one, _, _ = running
    found = one.client.get(f"{one.path}/metadata").json()
    parsed = json_format.ParseDict(
        found["metadata"]["signature_def"], messages.SignatureDefMap(), ignore_unknown_fields=False
    )
    spec = parsed.signature_def["serving_default"].inputs["x"]
    assert spec.dtype == tf.float32.as_datatype_enum
    assert tf.TensorShape(spec.tensor_shape).as_list() == [None, 4]


def test_the_state_is_that_of_tensorflow_serving(running):
    messages = pytest.importorskip("tensorflow_serving.apis.get_model_status_pb2")
    from google.protobuf import json_format

    one, _, _ = running
    parsed = json_format.ParseDict(
        one.client.get(one.path).json(), messages.GetModelStatusResponse()
    )
    assert parsed.model_version_status[0].state == messages.ModelVersionStatus.AVAILABLE


def test_other_clients_can_ask(running):
    one, model, _ = running
    x = examples(2)
    body = json.dumps({"instances": x.tolist()})
    texts = []
    if shutil.which("curl"):
        command = ["curl", "-s", "-d", "@-", f"{one.address}:predict"]
        done = subprocess.run(command, input=body, capture_output=True, text=True, check=True)
        texts.append(done.stdout)
    connection = http.client.HTTPConnection(one.host, int(one.port))
    connection.request("POST", f"{one.path}:predict", body)
    texts.append(connection.getresponse().read().decode())
    connection.close()
    request = urllib.request.Request(f"{one.address}:predict", body.encode())
    with urllib.request.urlopen(request) as answer:
        texts.append(answer.read().decode())
    for text in texts:
        np.testing.assert_allclose(json.loads(text)["predictions"], model(x), atol=1e-6)


def test_prometheus_is_told_what_was_asked(running):
    one, _, _ = running

    def counted():
        text = one.client.get("/metrics").text
        assert "kerasreg_model_version 1.0" in text
        found = re.search(r'requests_total\{kind="predict",status="200"\} ([\d.]+)', text)
        return float(found[1]), float(re.search(r"kerasreg_examples_total ([\d.]+)", text)[1])

    one.predict({"instances": examples(1).tolist()})
    before = counted()
    one.predict({"instances": examples(3).tolist()})
    after = counted()
    assert (after[0] - before[0], after[1] - before[1]) == (1, 3)
    assert one.client.get("/monitoring/prometheus/metrics").status_code == 200


def test_requests_at_the_same_time_have_their_own_answers(running):
    one, model, _ = running
    x = examples(64, seed=3)
    expected = np.array(model(x))
    ends = np.cumsum(np.random.default_rng(0).integers(1, 4, 100))
    parts = [slice(a, b) for a, b in itertools.pairwise(ends) if b <= 64]

    def ask(part):
        return one.predict({"instances": x[part].tolist()}).json()["predictions"]

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for _ in range(5):
            for part, found in zip(parts, pool.map(ask, parts), strict=True):
                np.testing.assert_allclose(found, expected[part], atol=1e-6)


# Bad requests.


def bad_requests():
    """Name: the method, path, body, and the statuses that are right."""
    random.seed(0)
    good = {"instances": [[1.0, 2.0, 3.0, 4.0]]}
    text = json.dumps(good).encode()
    found = {}
    for end in range(0, len(text), 2):
        found[f"cut off at {end}"] = ("POST", ":predict", text[:end], {400})
    for shape in [(1,), (4,), (1, 3), (1, 5), (2, 4, 1), (1, 4, 0), (1, 1, 1, 1), (3, 0)]:
        body = {"instances": np.zeros(shape).tolist()}
        found[f"shape {shape}"] = ("POST", ":predict", json.dumps(body).encode(), {400})
    wrong = ["1", None, True, {}, [], {"b64": "AA=="}, {"b64": 1}, "NaN", [1], {"x": 1}]
    for value in wrong:
        for key in ("instances", "inputs"):
            for row in ([value, 1, 1, 1], value):
                body = json.dumps({key: [row]}).encode()
                found[f"{key} {row}"] = ("POST", ":predict", body, {400})
    for value in [
        0,
        1.5,
        None,
        True,
        [],
        ["x"],
        {},
        "",
        "nope",
        "__saved_model_init_op",
        "a" * 9999,
    ]:
        if value != "":
            body = json.dumps({**good, "signature_name": value}).encode()
            found[f"signature {str(value)[:20]}"] = ("POST", ":predict", body, {400})
    for depth in (10, 500, 50_000, 99_000):
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            size = min(depth, 199_000 // len(opening + closing) - 20)
            whole = opening * size + (b"1" if opening != b"[" else b"") + closing * size
            body = b'{"instances": ' + whole + b"}"
            found[f"{depth} of {opening}"] = ("POST", ":predict", body, {400})
            found[f"{depth} of {opening} open"] = ("POST", ":predict", opening * size, {400})
    for number in (b"1e", b"01", b"0x1", b"1" * 5000, b"--1", b"+1", b".5", b"nan", b"inf"):
        body = b'{"instances": [[' + number + b", 1, 1, 1]]}"
        found[f"number {number[:10]}"] = ("POST", ":predict", body, {400})
    for path in (
        "/../../../../etc/passwd:predict",
        "/%2e%2e/%2e%2e/etc/passwd:predict",
        "/..%2f..%2fetc%2fpasswd:predict",
        "/versions/0:predict",
        "/versions/2:predict",
        "/versions/-1:predict",
        "/versions/1e3:predict",
        "/versions/" + "9" * 18 + ":predict",
        "/versions/" + "9" * 5000 + ":predict",
        "/versions/:predict",
        "/versions/1/assets.extra:predict",
        "x:predict",
        ":classify",
        ":regress",
        ":PREDICT",
        ":",
        "::predict",
        ":predict/",
        "/labels/stable:predict",
        "/metadata:predict",
        "%00:predict",
        "/" + "a" * 8000 + ":predict",
    ):
        found[f"path {path[:40]}"] = ("POST", path, text, {400, 404})
    for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"):
        found[f"{method} of predict"] = (method, ":predict", text, {400})
        if method != "GET":
            found[f"{method} of state"] = (method, "", b"", {400})
            found[f"{method} of metadata"] = (method, "/metadata", b"", {400})
    found["too many examples"] = (
        "POST",
        ":predict",
        json.dumps({"instances": [[1, 2, 3, 4]] * 1001}).encode(),
        {400},
    )
    found["too large"] = ("POST", ":predict", b" " * 200_001, {413})
    alphabet = b'{}[]",:0123456789.eE+-instancesux \n\\'
    for number in range(100):
        body = bytes(random.choice(alphabet) for _ in range(random.randint(1, 80)))
        found[f"noise {number}"] = ("POST", ":predict", body, {400})
    for number in range(40):
        changed = bytearray(text)
        for _ in range(3):
            changed[random.randrange(len(changed))] = random.randrange(256)
        # It may still be a request.
        found[f"changed {number}"] = ("POST", ":predict", bytes(changed), {200, 400})
    return found


def test_bad_requests_get_a_status_and_an_error_and_the_server_goes_on(running):
    one, _, _ = running
    asked = bad_requests()
    assert len(asked) >= 200
    wrong = []
    for name, (method, path, body, statuses) in asked.items():
        answer = one.client.request(method, f"{one.path}{path}", content=body)
        if answer.status_code not in statuses:
            wrong.append((name, answer.status_code, answer.text[:100]))
        elif answer.status_code != 200 and method != "HEAD":
            assert set(answer.json()) == {"error"}, name
            # No path, no line of a program, and not all that was sent.
            assert not re.search(r"Traceback|File \"|/site-packages/|root:", answer.text), name
            assert len(answer.text) < 1000, name
    assert wrong == []
    assert one.process.poll() is None
    assert one.predict({"instances": [[1, 2, 3, 4]]}).status_code == 200


GOOD = b'{"instances": [[1, 2, 3, 4]]}'
MODELS = "/v1/models"
CLASSIFY = "Expected classification signature method_name to be tensorflow/serving/classify. "
REGRESS = "Expected regression signature method_name to be tensorflow/serving/regress. "
PREDICT = "Was: tensorflow/serving/predict"
# What TensorFlow Serving answers: the method, the address, the body, the status, and the message.
ADDRESSES = {
    "a model": ("POST", "/flowers:predict", GOOD, 200, None),
    "a version": ("POST", "/flowers/versions/1:predict", GOOD, 200, None),
    "another model": (
        "POST",
        "/x:predict",
        GOOD,
        404,
        "Servable not found for request: Latest(x)",
    ),
    "another version": (
        "POST",
        "/flowers/versions/7:predict",
        GOOD,
        404,
        "Servable not found for request: Specific(flowers, 7)",
    ),
    "a label": (
        "POST",
        "/flowers/labels/stable:predict",
        GOOD,
        400,
        "Unrecognized servable version label: stable",
    ),
    "a version that is no number there": (
        "POST",
        "/flowers/versions/9223372036854775808:predict",
        GOOD,
        400,
        "Failed to convert version: 9223372036854775808 to numeric.",
    ),
    "an encoded name": ("POST", "/flower%73:predict", GOOD, 200, None),
    "another case": ("POST", "/flowers:PREDICT", GOOD, 400, "Malformed request: POST {path}"),
    "no method": ("POST", "/flowers", GOOD, 400, "Malformed request: POST {path}"),
    "GET of predict": ("GET", "/flowers:predict", b"", 400, "Malformed request: GET {path}"),
    "PUT": ("PUT", "/flowers:predict", GOOD, 400, "Malformed request: PUT {path}"),
    "the text before the model": (
        "POST",
        "/x:predict",
        b"{",
        400,
        "JSON Parse error: Missing a name for object member. at offset: 1",
    ),
    "another signature": (
        "POST",
        "/flowers:predict",
        b'{"signature_name": "other", "instances": 3}',
        400,
        'Serving signature name: "other" not found in signature def',
    ),
    "no signature": ("POST", "/flowers:predict", GOOD[:-1] + b', "signature_name": ""}', 200, None),
    "classify": ("POST", "/flowers:classify", b'{"examples": [{"x": 1}]}', 400, CLASSIFY + PREDICT),
    "regress": ("POST", "/flowers:regress", b'{"examples": [{"x": 1}]}', 400, REGRESS + PREDICT),
    "classify without examples": (
        "POST",
        "/flowers:classify",
        b'{"x": 1}',
        400,
        "JSON Value: {\n    \"x\": 1\n} When method is classify, key 'examples' is expected and "
        "was not found",
    ),
    "classify of none": (
        "POST",
        "/flowers:classify",
        b'{"examples": []}',
        400,
        "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array",
    ),
    "the state of a version": ("GET", "/flowers/versions/1", b"", 200, None),
    "the state by a label": ("GET", "/flowers/labels/stable", b"", 200, None),
    "the state of another version": (
        "GET",
        "/flowers/versions/7",
        b"",
        404,
        "Could not find version 7 of model flowers",
    ),
    "the state of another model": (
        "GET",
        "/x",
        b"",
        404,
        "Could not find any versions of model x",
    ),
    "the state of no model": ("GET", "", b"", 400, "Missing model name in request."),
    "signatures of a version": ("GET", "/flowers/versions/1/metadata", b"", 200, None),
    "signatures of another version": (
        "GET",
        "/flowers/versions/7/metadata",
        b"",
        404,
        "Servable not found for request: Specific(flowers, 7)",
    ),
    "signatures by a label": (
        "GET",
        "/flowers/labels/a%20b/metadata",
        b"",
        400,
        "Unrecognized servable version label: a b",
    ),
    "something else": ("GET", "/flowers/assets", b"", 400, "Malformed request: GET {path}"),
}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"), ADDRESSES.values(), ids=ADDRESSES
)
def test_addresses_are_those_of_tensorflow_serving(running, method, path, body, status, message):
    one, _, _ = running
    answer = one.client.request(method, f"{MODELS}{path}", content=body)
    assert answer.status_code == status, answer.text
    if message is not None:
        assert answer.json() == {"error": message.replace("{path}", f"{MODELS}{path}")}


def test_a_body_of_a_hundred_megabytes_is_not_read(running):
    one, _, _ = running

    def memory():
        text = pathlib.Path(f"/proc/{one.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", text)[1]) / 1024

    def endless():
        for _ in range(100):
            yield b" " * 2**20

    before = memory()
    for content in (b" " * (100 * 2**20), endless()):
        with contextlib.suppress(httpx.WriteError, httpx.ReadError):  # It may hang up.
            answer = one.client.post(f"{one.path}:predict", content=content)
            assert answer.status_code == 413
            assert "error" in answer.json()
    assert memory() - before < 50
    assert one.predict({"instances": [[1, 2, 3, 4]]}).status_code == 200


def test_what_is_no_http_leaves_the_server_alive(running):
    one, _, _ = running
    for content in (b"\x00" * 100, b"GET", b"POST / HTTP/9.9\r\n\r\n", b"\r\n" * 50, b"A" * 70000):
        connection = socket.create_connection((one.host, int(one.port)))
        with connection, contextlib.suppress(OSError):
            connection.sendall(content)
    # And one that sends half a request and goes.
    with socket.create_connection((one.host, int(one.port))) as connection:
        head = f"POST {one.path}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
        connection.sendall(head.encode() + b'{"inst')
    assert one.predict({"instances": [[1, 2, 3, 4]]}).status_code == 200


# New versions, and the end.


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_a_new_version_is_served_without_an_error_and_a_broken_one_is_not(tmp_path):
    folder = tmp_path / "adding"
    export(adding(1), folder)

    def use(one):
        def number():
            answer = one.predict({"instances": [[0.0]]})
            assert answer.status_code == 200, answer.text
            return answer.json()["predictions"][0][0]

        assert number() == 1
        export(adding(2), folder)
        assert wait_for(lambda: number() == 2)
        assert one.client.get(f"{one.path}/versions/1").status_code == 404
        (state,) = one.client.get(one.path).json()["model_version_status"]
        assert state["version"] == "2"
        # One that cannot be loaded, as another program may have written it.
        (folder / "3").mkdir()
        (folder / "3" / "saved_model.pb").write_bytes(b"no model")
        time.sleep(0.5)
        assert number() == 2
        export(adding(4), folder)
        assert wait_for(lambda: number() == 4)

    done, _ = serve_inside(folder, "--look_every=0.05", use=use)
    assert done.code == 0
    said = done.err.splitlines()
    assert said[:2] == ["kerasreg: version 1 is served", "kerasreg: version 2 is served"]
    assert said[2].startswith("kerasreg: version 3 cannot be loaded: ")
    assert said[3:] == ["kerasreg: version 4 is served"]


def test_its_flags_are_those_of_the_server(tmp_path):
    folder = tmp_path / "adding"
    export(adding(1), folder)

    def use(one):
        bodies = {"many": {"instances": [[0.0]] * 3}, "long": {"instances": [[0.0]], "x": "y" * 99}}
        found = {name: one.predict(body).status_code for name, body in bodies.items()}
        return found, one.predict({"instances": [[0.0]] * 2}).json()

    flags = ["--name=other", "--host=127.0.0.2", "--max_batch=2", "--max_body=80"]
    done, (refused, answer) = serve_inside(folder, *flags, use=use)
    assert done.out.startswith("other, version 1: http://127.0.0.2:")
    assert refused == {"many": 400, "long": 413}
    assert answer == {"predictions": [[1.0], [1.0]]}


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_when_what_was_asked_is_answered(tmp_path, ending):
    class Slow(keras.layers.Layer):
        def call(self, inputs):
            # Some seconds of work, which no program can leave out.
            x = inputs + 0.0 * tf.random.uniform((1,))

            def step(index, x):
                return index + 1, tf.linalg.matmul(tf.fill((600, 600), 1 / 600), x)

            large = tf.broadcast_to(tf.reduce_sum(x), (600, 600))
            _, large = tf.while_loop(lambda i, _: i < 150, step, (0, large))
            return x + 0.0 * large[0, :1]

    model = keras.Sequential([keras.Input((1,), name="x"), Slow()])
    export(model, tmp_path / "slow")

    with concurrent.futures.ThreadPoolExecutor(1) as pool:

        def use(one):
            body = {"instances": [[5.0]]}
            asked = pool.submit(httpx.post, f"{one.address}:predict", json=body, timeout=60)
            time.sleep(0.3)
            return asked

        done, asked = serve_inside(tmp_path / "slow", use=use, ending=ending)
        answer = asked.result(timeout=60)
    assert (answer.status_code, answer.json()) == (200, {"predictions": [[5.0]]})
    assert (done.code, done.err) == (0, "kerasreg: version 1 is served\n")


# What cannot be served.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "serve needs a folder of versions"),
        (["{folder}", "more"], "unexpected argument 'more'"),
        (["{folder}/nowhere"], "`base_dir` must be a directory of versions"),
        (["{folder}", "--port=70000"], "--port"),
        (["{folder}", "--name=a/b"], "`name` must be of letters"),
        (["{folder}", "--host=example.org"], "`host` must be an IP address"),
        (["{folder}", "--max_body=0"], "--max_body"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(running, arguments, message):
    _, _, folder = running
    given = [argument.format(folder=folder) for argument in arguments]
    done = command_inside("serve", *given, cwd=folder)
    assert done.code == 2
    (line,) = done.err.strip().splitlines()
    assert line.startswith("kerasreg: ") or "flag" in line
    assert message in line
    assert done.out == ""


@pytest.mark.long
def test_so_it_is_in_a_process_of_its_own(tmp_path):
    done = command("serve", str(tmp_path / "nowhere"), cwd=tmp_path)
    check_refused(done, "`base_dir` must be a directory of versions")


def test_a_port_that_is_taken_is_told(running):
    one, _, folder = running
    done = command_inside("serve", str(folder), f"--port={one.port}", cwd=folder)
    assert done.code == 1
    told = f"kerasreg: `port` must be free, or 0 for any that is. Received: port={one.port}, in use"
    assert done.err.strip().splitlines()[-1] == told


def test_the_folder_of_a_search_is_answered_with_that_of_its_model(running, tmp_path):
    _, _, folder = running
    (tmp_path / "search").mkdir()
    shutil.copytree(folder, tmp_path / "search" / "model")
    with pytest.raises(ValueError, match=r"did you mean '.*search/model'"):
        server.serve(tmp_path / "search")


def test_a_folder_whose_versions_are_all_broken_is_refused(tmp_path):
    (tmp_path / "1").mkdir()
    with pytest.raises(ValueError, match="`base_dir` must have a version that can be loaded"):
        server.serve(tmp_path)
