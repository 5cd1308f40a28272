"""`verify` trusts an exported model only when a process without Keras agrees with it."""

import contextlib
import contextvars
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys

import keras
import keras_tuner
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from kerasreg import hypermodels, serving
from kerasreg.serving._verify_process import read_tensors, write_tensors

PROPERTY = settings(max_examples=100, deadline=None, derandomize=True)

finite = npst.arrays(
    "float64", npst.array_shapes(max_dims=2, max_side=4), elements=st.floats(-1e6, 1e6, width=32)
)


def samples(count=12):
    return np.random.default_rng(0).normal(size=(count, 3)).astype("float32")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A network with kerasreg's own components in it, and where it was exported."""
    hp = keras_tuner.HyperParameters()
    hp.values = {
        "depth": 2,
        "penalty": "l2",
        "penalty_strength": 0.1,
        "dropout": "constant",
        "dropout_rate": 0.5,
    }
    hypermodel = hypermodels.DenseHyperModel(
        features=3,
        classes=2,
        epochs=1,
        samples=8,
        mean=[0.1, 0.2, 0.3],
        variance=[1.0, 2.0, 3.0],
        widths=(4, 8),
        seed=1,
    )
    model = hypermodel.build(hp)
    return model, serving.export(model, tmp_path_factory.mktemp("exported"))


@pytest.fixture
def copy(exported, tmp_path):
    """A copy of the exported model that a test may damage."""
    _, path = exported
    return shutil.copytree(path, tmp_path / "copy")


# Agreement.


def test_an_exported_model_agrees_with_its_model(exported):
    model, path = exported
    verification = serving.verify(path, model, samples())
    assert verification.passed
    assert verification.samples == 12
    assert verification.tolerance == 1e-6
    assert 0.0 <= verification.relative_difference <= 1e-6


def test_an_exported_model_does_not_agree_with_other_weights(exported):
    model, path = exported
    other = keras.models.clone_model(model)
    weights = model.get_weights()
    weights[-1] = weights[-1] + np.array([0.01, 0.0], "float32")
    other.set_weights(weights)
    verification = serving.verify(path, other, samples(), tolerance=1e-5)
    assert not verification.passed
    assert verification.tolerance == 1e-5
    # The bias of a softmax moved by 0.01: about 0.0025 of a probability.
    assert 1e-4 < verification.relative_difference < 1e-1


def test_one_of_several_outputs_that_differs_is_enough(tmp_path):
    inputs = keras.Input((3,), name="x")
    layers = {name: keras.layers.Dense(1) for name in ("first", "second", "third")}
    model = keras.Model(inputs, {name: layer(inputs) for name, layer in layers.items()})
    path = serving.export(model, tmp_path, samples=samples())
    layers["second"].bias.assign([1.0])
    assert not serving.verify(path, model, samples()).passed


def test_it_passes_up_to_the_tolerance_and_not_above():
    at = serving.Verification(samples=1, relative_difference=0.5, tolerance=0.5)
    assert at.passed
    assert not dataclasses.replace(at, relative_difference=np.nextafter(0.5, 1.0)).passed
    assert not dataclasses.replace(at, relative_difference=float("nan")).passed
    assert not dataclasses.replace(at, relative_difference=float("inf")).passed


# Errors.


def test_a_directory_without_a_saved_model_is_refused(exported, tmp_path):
    model, path = exported
    for wrong in (tmp_path, tmp_path / "missing", os.path.dirname(path)):
        with pytest.raises(ValueError, match="`path`"):
            serving.verify(wrong, model, samples())


def test_no_samples_are_refused(exported):
    model, path = exported
    with pytest.raises(ValueError, match="`samples`"):
        serving.verify(path, model, samples(0))


@pytest.mark.parametrize("damaged", ["saved_model.pb", "variables"])
def test_a_saved_model_that_does_not_run_is_an_error_that_names_it(exported, copy, damaged):
    model, _ = exported
    if damaged == "variables":
        shutil.rmtree(copy / damaged)
    else:
        content = (copy / damaged).read_bytes()
        (copy / damaged).write_bytes(content[: len(content) // 2])
    with pytest.raises(RuntimeError, match=r"copy.*does not run: .*\w") as caught:
        serving.verify(copy, model, samples())
    assert "\n" not in str(caught.value)


@pytest.fixture
def started(monkeypatch):
    """Outside the process that is shared by the tests: the processes that are started."""
    found, popen = [], subprocess.Popen

    def recording(*args, **kwargs):
        found.append(popen(*args, **kwargs))
        return found[-1]

    monkeypatch.setattr(subprocess, "Popen", recording)
    return found


def test_each_verification_has_a_process_of_its_own_that_ends(exported, started):
    model, path = exported
    with contextlib.chdir(os.path.dirname(path)):
        found = contextvars.Context().run(serving.verify, os.path.basename(path), model, samples())
    assert found.passed
    assert [process.returncode for process in started] == [0]


@pytest.mark.long
def test_inside_a_verifier_all_share_one_that_ends_with_it(exported, copy, started, tmp_path):
    model, path = exported
    (copy / "saved_model.pb").write_bytes(b"no model")
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])

    def several():
        with serving.verifier():
            assert started == []  # Before it is needed.
            assert serving.verify(path, model, samples()).passed
            # What fails is no burden to what follows, and nothing is mixed up.
            with pytest.raises(RuntimeError, match="does not run"):
                serving.verify(copy, model, samples())
            added = serving.export(other, tmp_path / "added", samples=samples()[:, :2])
            assert serving.read_card(added)["verification"]["samples"] == 12
            different = serving.verify(added, keras.models.clone_model(other), samples()[:, :2])
            assert not different.passed
            assert serving.verify(path, model, samples()).passed
            assert [process.poll() for process in started] == [None]
        assert [process.returncode for process in started] == [0]

    contextvars.Context().run(several)


@pytest.mark.long
def test_a_verifier_goes_on_after_an_interruption_and_after_the_end_of_its_process(
    exported, copy, started
):
    model, path = exported
    (copy / "saved_model.pb").write_bytes(b"no model")

    class Interrupted:
        def readline(self):
            raise KeyboardInterrupt

    def several():
        with serving.verifier():
            assert serving.verify(path, model, samples()).passed
            (first,) = started
            # While it is asked for a model that does not run.
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(first, "stdout", Interrupted())
                patch.setattr(first, "kill", lambda: patch.undo() or first.terminate())
                with pytest.raises(KeyboardInterrupt):
                    serving.verify(copy, model, samples())
            # The answer to that is not taken for the next one's.
            assert serving.verify(path, model, samples()).passed
            started[-1].send_signal(signal.SIGTERM)
            with pytest.raises(RuntimeError, match=r"does not run: its process ended with -15: "):
                serving.verify(path, model, samples())
            assert serving.verify(path, model, samples()).passed
        assert [process.poll() for process in started] == [-15, -15, 0]

    contextvars.Context().run(several)


# No Keras.

# Runs the script as `verify` does, and then looks at what was imported.
LOOK = """
import runpy, sys
runpy.run_path(sys.argv[1], run_name="__main__")
forbidden = ("keras", "tf_keras", "kerasreg")
found = [m for m in sys.modules if m.split(".")[0] in forbidden and sys.modules[m] is not None]
assert found == [], found
for name in forbidden:
    try:
        __import__(name)
    except ImportError:
        continue
    raise AssertionError(f"{name} can be imported")
assert "tensorflow" in sys.modules
"""


def test_the_process_runs_the_model_without_keras(exported, tmp_path):
    model, path = exported
    script = os.path.join(os.path.dirname(serving.__file__), "_verify_process.py")
    inputs, outputs = tmp_path / "inputs.npz", tmp_path / "outputs.npz"
    write_tensors(inputs, {"features": samples()})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.run(
        [sys.executable, "-c", LOOK, script],
        input=json.dumps([path, str(inputs), str(outputs)]) + "\n",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr[-4000:]
    assert process.stdout == "null\n"
    (values,) = read_tensors(outputs).values()
    assert values.numpy() == pytest.approx(np.array(model(samples())), abs=1e-5)


def test_verify_uses_a_process_that_imports_no_keras(exported, tmp_path, monkeypatch):
    # In its place is a package that leaves a trace when it is imported.
    trace = tmp_path / "trace"
    for name in ("keras", "tf_keras", "kerasreg"):
        (tmp_path / "path" / name).mkdir(parents=True)
        (tmp_path / "path" / name / "__init__.py").write_text(
            f"open({str(trace)!r}, 'a').write({name!r})\n"
        )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    model, path = exported
    x = samples().astype("float64")
    # Outside the process that is shared by the tests.
    assert contextvars.Context().run(serving.verify, path, model, x).passed
    assert not trace.exists()
    subprocess.run([sys.executable, "-c", "import keras"], check=True)
    assert trace.read_text() == "keras"


# The difference.


@PROPERTY
@given(array=finite)
def test_equal_arrays_do_not_differ(array):
    assert serving.relative_difference(array, array.copy()) == 0.0


@PROPERTY
@given(
    arrays=npst.array_shapes(max_dims=2, max_side=4).flatmap(
        lambda shape: st.tuples(
            *[npst.arrays("float64", shape, elements=st.floats(-1e6, 1e6, width=32))] * 2
        )
    )
)
def test_the_difference_is_relative_to_the_largest_expected_value(arrays):
    found, expected = arrays
    difference = serving.relative_difference(found, expected)
    scale = max(abs(value) for value in expected.flat)
    largest = max(abs(a - b) for a, b in zip(found.flat, expected.flat, strict=True))
    if largest == 0.0:
        assert difference == 0.0
    elif scale == 0.0:
        assert difference == float("inf")
    else:
        assert difference == pytest.approx(largest / scale)


@PROPERTY
@given(array=finite, exponent=st.integers(-30, 30))
def test_the_difference_does_not_depend_on_the_scale(array, exponent):
    found = array + 1.0
    scaled = serving.relative_difference(found * 2.0**exponent, array * 2.0**exponent)
    assert scaled == pytest.approx(serving.relative_difference(found, array))


@PROPERTY
@given(array=finite, bad=st.sampled_from([np.nan, np.inf, -np.inf]), data=st.data())
def test_a_value_that_is_not_finite_is_infinitely_far(array, bad, data):
    index = tuple(data.draw(st.integers(0, size - 1)) for size in array.shape)
    broken = array.copy()
    broken[index] = bad
    assert serving.relative_difference(broken, array) == float("inf")


@pytest.mark.parametrize(
    ("found", "expected"), [((3,), (3, 1)), ((1,), (3,)), ((2, 3), (3, 2)), ((0,), (1,))]
)
def test_other_shapes_are_infinitely_far(found, expected):
    assert serving.relative_difference(np.ones(found), np.ones(expected)) == float("inf")


def test_empty_arrays_are_equal():
    assert serving.relative_difference(np.ones((0, 2)), np.ones((0, 2))) == 0.0


@pytest.mark.parametrize(
    ("found", "expected", "difference"),
    [
        (np.array([3], "int64"), np.array([4], "int64"), 0.25),
        (np.array([1], "uint8"), np.array([4], "uint8"), 0.75),
        (np.array([True, False]), np.array([True, True]), 1.0),
        (np.array([-6e4], "float16"), np.array([6e4], "float16"), 2.0),
    ],
    ids=["int64", "uint8", "bool", "float16"],
)
def test_the_difference_does_not_overflow_in_the_type_of_the_outputs(found, expected, difference):
    assert serving.relative_difference(found, expected) == pytest.approx(difference)
