"""What all tests share: quiet TensorFlow, a clean Keras before each test, parts of a suite."""

import gc
import inspect
import os
import time
import zlib

# Before TensorFlow is loaded, also in the processes that tests start.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# Each process of tests has a core. Threads of OpenMP and of BLAS that wait for one take one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest

# Programs that run where other packages are; pytest looks into every module for docstrings.
collect_ignore_glob = ["references/*"]


def _process():
    """What this process shares. The one that gives tests to others runs none, and loads nothing."""
    from helpers import shared_process

    return shared_process


def pytest_addoption(parser):
    parser.addoption("--part", default="1/1", help="K/N: the K-th of N parts of the tests")
    parser.addoption("--minutes", type=float, help="no test begins later than so many minutes")
    parser.addoption(
        "--optimize-graphs", action="store_true", help="with TensorFlow's optimizer of graphs"
    )


_BEGUN = time.monotonic()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    minutes = item.config.getoption("minutes")
    if minutes is not None and time.monotonic() - _BEGUN > 60 * minutes:
        pytest.skip("no time was left for it")


def pytest_configure(config):
    gives_tests_to_others = config.getoption("dist", "no") != "no"
    if hasattr(config, "workerinput") or not gives_tests_to_others:
        _process().prepare(config.getoption("optimize_graphs"))
        # As a plugin, it is there for the examples in docstrings too.
        config.pluginmanager.register(_process(), "shared process")


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector, name, obj):
    items = yield
    for mark in obj.pytestmark if inspect.isfunction(obj) and hasattr(obj, "pytestmark") else ():
        if mark.name == "short":
            ids = {item.callspec.id for item in items}
            assert ids > set(mark.args), f"{name} has no {set(mark.args) - ids}, or no other"
            for item in items:
                if item.callspec.id not in mark.args:
                    item.add_marker("long")
    return items


def pytest_collection_modifyitems(config, items):
    part, parts = map(int, config.getoption("part").split("/"))
    chosen, others = [], []
    for item in items:
        # By name, so that a test is in the same part wherever it stands. Its values of parameters
        # go to different parts: some tests have hundreds, which would be one part's alone.
        is_chosen = zlib.crc32(item.nodeid.encode()) % parts == part - 1
        (chosen if is_chosen else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = chosen


def pytest_collection_finish(session):
    _process().keep_what_is_imported()


@pytest.fixture(autouse=True)
def clean_keras(request):
    """Each test begins with float32, no names taken and the same global seed."""
    process = _process()
    process.begin_test()
    # What is traced, and how often, depends on no other test where it is counted.
    if request.node.get_closest_marker("shares_programs") is None:
        process.forget_programs()
    yield
    process.end_test()


@pytest.fixture
def no_programs():
    """A test that counts what is traced, of a file whose other tests share programs."""
    _process().forget_programs()


@pytest.fixture(scope="module", autouse=True)
def no_garbage_is_left():
    """Memory holds what tests use: a collection takes as long as it is large."""
    _process().forget_programs()
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def run_python():
    """Runs Python with arguments in a process of its own; see `helpers.processes`."""
    from helpers import processes

    return processes.run_python
