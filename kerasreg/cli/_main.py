"""The `kerasreg` command: which of its commands is run, and how the process ends."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence

from absl import app, flags

from kerasreg._version import __version__
from kerasreg.cli._command import HELP, FailedError, InterruptionError, UsageError
from kerasreg.cli._export import EXPORT
from kerasreg.cli._lr_find import LR_FIND
from kerasreg.cli._predict import PREDICT
from kerasreg.cli._report import REPORT
from kerasreg.cli._search import SEARCH
from kerasreg.cli._serve import SERVE

# Nothing that imports Keras or TensorFlow at module level, here and in the commands: `--help`
# and a mistyped flag are answered at once, and TensorFlow's log level is set before it is loaded.

_COMMANDS = {command.name: command for command in (SEARCH, REPORT, LR_FIND, EXPORT, PREDICT, SERVE)}
_CODES: dict[type[Exception], int] = {UsageError: 2, FailedError: 1, InterruptionError: 130}


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the `kerasreg` command; ends the process.

    Exit codes: 0 done, 1 the search or the export failed, 2 bad input, 130
    interrupted.
    """
    arguments = list(sys.argv if argv is None else argv)
    app.run(functools.partial(run, end=_end), argv=arguments, flags_parser=_leave_flags)


def _end(code: int) -> int:
    """Ends a process that failed, at once if TensorFlow is there.

    Threads of TensorFlow that an error has left behind crash an orderly end now and then.
    """
    if "tensorflow" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _leave_flags(arguments: list[str]) -> list[str]:
    # absl's own flags are parsed (there are none), ours are the command's.
    flags.FLAGS(arguments[:1])
    return arguments


def run(argv: Sequence[str], end: Callable[[int], int] = int) -> int:
    """Runs the command of a command line; returns its exit code.

    Args:
        argv: the command line.
        end: is given the exit code of a command that failed while all that it used is still there,
            and returns the code.
    """
    try:
        code = _dispatch(list(argv[1:]))
        sys.stdout.flush()  # Here, where who reads no more is met.
        return code
    except BrokenPipeError:
        # As of `kerasreg search --help | head`. What is left goes nowhere, also at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return end(1)
    except (UsageError, FailedError, InterruptionError) as error:
        print(f"kerasreg: {' '.join(str(error).split())}", file=sys.stderr)
        return end(_CODES[type(error)])
    except KeyboardInterrupt:
        print("kerasreg: interrupted", file=sys.stderr)
        return 130


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in (*HELP, "help"):
        print(_help())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"kerasreg {__version__}")
        return 0
    if arguments[0] not in _COMMANDS:
        listed = ", ".join(_COMMANDS)
        raise UsageError(f"unknown command {arguments[0]!r}; commands: {listed} (see --help)")
    _COMMANDS[arguments[0]](arguments[1:])
    return 0


def _help() -> str:
    lines = [
        "kerasreg: regularization for Keras that can be scheduled, searched and served",
        "",
        "Usage: kerasreg COMMAND [--flag=value ...]",
        "",
        "Commands:",
    ]
    for command in _COMMANDS.values():
        first, *others = command.summary
        lines += [f"  {command.name:<9}{first}", *(" " * 11 + other for other in others)]
    lines += [
        "",
        "Begin with: kerasreg search --data=houses.csv --target=price --time=2m",
        "kerasreg COMMAND --help lists a command's flags; kerasreg --version tells the version.",
        "Exit codes: 0 done, 1 the search or the export failed, 2 bad input, 130 interrupted.",
    ]
    return "\n".join(lines)
