"""Where the time of a search goes: timers around the functions that do each part of it.

A part has the time of its own, without that of the parts within: to trace a program while lanes
are made is tracing. Only the thread that searches is timed. What others do beside it (programs
that compile) costs what the search waits for them.
"""

import contextlib
import functools
import importlib
import threading
import time

# For each part, the functions that do it.
PARTS = {
    "build": [
        "kerasreg.tuners._vectorized:VectorizedTuner.build_model",
        "kerasreg.tuners._templates:Templates.learn",
    ],
    "derive": ["kerasreg.tuners._templates:Templates.derive"],
    "prepare": ["kerasreg.tuners._scheduler:Scheduler._begin"],
    "oracle": [
        "keras_tuner:Oracle.create_trial",
        "keras_tuner:Oracle.update_trial",
        "keras_tuner:Oracle.end_trial",
    ],
    "files": [
        "kerasreg.tuners._crash_safe:StateFiles.save",
        "kerasreg.tuners._crash_safe:StateFiles.save_oracle",
        "kerasreg.tuners._crash_safe:StateFiles.save_trial",
        "kerasreg.tuners._crash_safe:StateFiles._write_trials",
        "kerasreg.tuners._best_epochs:write",
    ],
    "load": [
        "kerasreg.lanes._stack:ModelStack.__init__",
        "kerasreg.lanes._stack:ModelStack.load",
    ],
    "trace": [
        "kerasreg.lanes._epochs:Epochs.precompile",
        "kerasreg.lanes._epochs:Epochs._program_for",
        "kerasreg.lanes._tensorflow:TensorFlowProgram._trace",
        "kerasreg.lanes._tensorflow:TensorFlowProgram._steps",
    ],
    "compile": ["kerasreg.lanes._epochs:Epochs.wait"],
    "train": ["kerasreg.lanes._training:Training._run"],
    "validate": ["kerasreg.lanes._training:Training._validate"],
    "results": [
        "kerasreg.tuners._lane_group:LaneGroup._on_epoch_end",
        "kerasreg.tuners._lane_group:LaneGroup._refill",
        "kerasreg.lanes._training:logs_of_lanes",
        "kerasreg.lanes._callbacks:Callbacks.record",
    ],
    "garbage": ["keras.backend:clear_session"],
}


class Parts:
    """The seconds of each part, of what runs within `timed()`.

    Args:
        clock: gives the time in seconds.

    Attributes:
        seconds: by part.
    """

    def __init__(self, clock=time.perf_counter):
        self._clock = clock
        self.seconds = dict.fromkeys([*PARTS, "rest"], 0.0)
        self._now = ["rest"]
        self._since = 0.0
        self._thread = None

    @contextlib.contextmanager
    def timed(self):
        """Times what runs within; what no part does is the rest."""
        self._thread, self._since = threading.get_ident(), self._clock()
        with contextlib.ExitStack() as stack:
            for part, functions in PARTS.items():
                for name in functions:
                    stack.enter_context(self._replaced(part, *_owner_of(name)))
            stack.enter_context(self._compiled_first())
            yield
            self._lap()

    @contextlib.contextmanager
    def part(self, name):
        """Counts what runs within as one of the parts."""
        if threading.get_ident() != self._thread:
            yield
            return
        self._lap()
        # A validation is run as a training is.
        self._now.append("validate" if (self._now[-1], name) == ("validate", "train") else name)
        try:
            yield
        finally:
            self._lap()
            self._now.pop()

    def _lap(self):
        now = self._clock()
        self.seconds[self._now[-1]] += now - self._since
        self._since = now

    @contextlib.contextmanager
    def _replaced(self, part, owner, name):
        function = getattr(owner, name)

        @functools.wraps(function)
        def timed(*args, **kwargs):
            with self.part(part):
                return function(*args, **kwargs)

        setattr(owner, name, timed)
        try:
            yield
        finally:
            setattr(owner, name, function)

    @contextlib.contextmanager
    def _compiled_first(self):
        """Compiles what was not compiled ahead before it is run, so that each has its time."""
        import keras

        if keras.backend.backend() != "tensorflow":
            yield
            return
        from kerasreg.lanes._tensorflow import TensorFlowProgram

        run, known = TensorFlowProgram.run, set()

        def compiled(program, given):
            key = id(program), given.kind, given.order.shape
            if given.compiled and key not in known:
                known.add(key)
                compiles = program.precompile(given)
                with self.part("compile"):
                    compiles()
            return run(program, given)

        TensorFlowProgram.run = compiled
        try:
            yield
        finally:
            TensorFlowProgram.run = run


def _owner_of(path):
    """The object that has a function, and the name of the function there."""
    module, _, names = path.partition(":")
    *owners, name = names.split(".")
    return functools.reduce(getattr, owners, importlib.import_module(module)), name
