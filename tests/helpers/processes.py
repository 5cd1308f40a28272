"""Programs that fork processes and kill them, and what starts these programs."""

import json
import os
import signal
import subprocess
import sys
import time
import traceback

import pytest

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the program forks")


def run_python(*arguments, timeout=600, **environment):
    """Runs Python with arguments, and returns what it printed.

    The process imports what this one can. Keyword arguments are environment variables.
    """
    paths = os.pathsep.join(filter(None, sys.path))
    process = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    assert process.returncode == 0, process.stderr[-4000:]
    return process.stdout


def run_program(program, *arguments, timeout=600):
    """Runs a Python program that prints a JSON object in its last line; returns the object.

    A program of its own, because a process that has used TensorFlow must not fork; without a
    GPU, which a fork cannot share.
    """
    printed = run_python(program, *arguments, timeout=timeout, CUDA_VISIBLE_DEVICES="-1")
    return json.loads(printed.splitlines()[-1])


def forked(run):
    """Starts a function in a process of its own; returns the process id."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        run()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def exit_code(process):
    """Waits for a forked process; minus the signal if one has ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def killed_after(seconds, run):
    """Kills a forked function after a while; returns its exit code."""
    process = forked(run)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    return exit_code(process)


def killed_at_each_call(names, run, after, step=1):
    """Kills forked functions before the first call of some functions of `os`, the second, ...

    Args:
        names: of the functions, such as `"replace"`.
        run: is given the number of the call, from 0, and is killed before it.
        after: is given the number, when it was killed.
        step: with 3, only before the first call, the fourth, ...

    Returns:
        What `after` returned for each call that there is.
    """
    found = []
    while True:
        number = len(found) * step

        def dying(number=number):
            calls = 0

            def counted(real):
                def function(*args, **kwargs):
                    nonlocal calls
                    if calls == number:
                        os.kill(os.getpid(), signal.SIGKILL)
                    calls += 1
                    return real(*args, **kwargs)

                return function

            for name in names:
                setattr(os, name, counted(getattr(os, name)))
            run(number)

        code = exit_code(forked(dying))
        if code == 0:  # There is no such call any more.
            return found
        assert code == -signal.SIGKILL, code
        found.append(after(number))
