"""The `kerasreg` command."""

from __future__ import annotations

import contextlib
import logging as stdlib_logging
import os
import signal
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from absl import app, flags, logging

from kerasreg._version import __version__
from kerasreg.cli._flags import EXPORT, LR_FIND, SEARCH, SERVE

# Nothing that imports Keras or TensorFlow at module level: `--help` and a mistyped
# flag are answered at once, and TensorFlow's log level is set before it is loaded.


# What a resumed search may change: everything else decides what it found so far.
_CHANGEABLE = ("trials",)


class UsageError(Exception):
    """What the user gave cannot be used: one line, exit code 2."""


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the `kerasreg` command; ends the process.

    Exit codes: 0 done, 1 the search or the export failed, 2 bad input, 130
    interrupted.
    """
    arguments = list(sys.argv if argv is None else argv)
    app.run(_run, argv=arguments, flags_parser=_leave_flags)


def _leave_flags(arguments: list[str]) -> list[str]:
    # absl's own flags are parsed (there are none), ours are the command's.
    flags.FLAGS(arguments[:1])
    return arguments


def _run(argv: Sequence[str]) -> int:
    try:
        return _dispatch(list(argv[1:]))
    except UsageError as error:
        print(f"kerasreg: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("kerasreg: interrupted before the search began", file=sys.stderr)
        return 130


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("--help", "-h", "-help", "--helpfull", "help"):
        print(_help())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"kerasreg {__version__}")
        return 0
    commands = {
        "search": (SEARCH, _search_help, _search),
        "lr-find": (LR_FIND, _lr_find_help, _lr_find),
        "export": (EXPORT, _export_help, _export),
        "serve": (SERVE, _serve_help, _serve),
    }
    command = arguments[0]
    if command not in commands:
        listed = ", ".join(commands)
        raise UsageError(f"unknown command {command!r}; commands: {listed} (see --help)")
    values, help_text, run = commands[command]
    if any(one in ("--help", "-h", "-help", "--helpfull") for one in arguments[1:]):
        print(help_text())
        return 0
    try:
        rest = values([f"kerasreg {command}", *arguments[1:]])[1:]
    except flags.Error as error:
        raise UsageError(str(error)) from error
    # `export` takes a file, and `serve` a folder.
    paths = rest[:1] if command in ("export", "serve") else []
    if rest[len(paths) :]:
        unexpected = rest[len(paths)]
        raise UsageError(f"unexpected argument {unexpected!r}; see kerasreg {command} --help")
    return run(*paths)


def _export(model: str | None = None) -> int:
    if model is None or not EXPORT.base_dir:
        raise UsageError(
            "export needs a model and a folder: kerasreg export net.keras --base_dir=models/net"
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _bad_input_is_usage():
        with _quiet_start():
            import tensorflow as tf

            from kerasreg.cli import _export

            tf.get_logger().setLevel("ERROR")
        logging.set_verbosity(logging.WARNING)  # Keras' export logs each file.
        values = {name: EXPORT[name].value for name in _EXPORT_SETTINGS}
        for name in ("labels", "outputs"):
            values[name] = tuple(values[name])
        try:
            _export.export(model, _export.Settings(**values), _write)
        except (OSError, RuntimeError) as error:
            print(f"kerasreg: {_one_line(error)}", file=sys.stderr)
            return 1
    return 0


def _serve(folder: str | None = None) -> int:
    if folder is None:
        raise UsageError("serve needs a folder of versions: kerasreg serve models/digits")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _bad_input_is_usage(), _quiet_start():
        import tensorflow as tf

        from kerasreg.serving import server

        tf.get_logger().setLevel("ERROR")
    # Absl has put its own handler there.
    stdlib_logging.basicConfig(format="kerasreg: %(message)s", stream=sys.stderr, force=True)
    stdlib_logging.getLogger("kerasreg.serving").setLevel(stdlib_logging.INFO)
    with _bad_input_is_usage():
        try:
            server.serve(
                folder, write=_write, **{name: SERVE[name].value for name in _SERVE_SETTINGS}
            )
        except (OSError, ImportError) as error:
            print(f"kerasreg: {_one_line(error)}", file=sys.stderr)
            return 1
    return 0


def _lr_find() -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    values = {name: LR_FIND[name].value for name in LR_FIND if name in _LR_FIND_SETTINGS}
    data = [values.pop(name) for name in ("data", "target", "task", "drop")]
    with _bad_input_is_usage():
        from kerasreg.cli import _data

        table = _data.load_table(data[0], data[1], data[2], tuple(data[3]))
        with _quiet_start():
            import tensorflow as tf

            from kerasreg.cli import _lr_find

            tf.get_logger().setLevel("ERROR")
        try:
            _lr_find.find(_lr_find.Settings(**values), table, _write)
        except (OSError, ImportError) as error:  # The picture.
            print(f"kerasreg: {_one_line(error)}", file=sys.stderr)
            return 1
    return 0


def _search() -> int:
    folder = SEARCH.output_dir
    if not folder:
        raise UsageError("--output_dir must name a folder; it is empty")
    existing = os.path.abspath(folder)
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        shown = folder if os.path.exists(folder) else existing
        raise UsageError(f"--output_dir must be a folder; {shown!r} is a file")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _bad_input_is_usage():
        from kerasreg.cli import _data
        from kerasreg.cli._record import check_record

        values = {name: SEARCH[name].value for name in SEARCH if name in _SETTINGS}
        values["drop"] = tuple(values["drop"])
        if values["data"] not in _data.BUNDLED and os.path.exists(values["data"]):
            # So that a search may be resumed from another folder.
            values["data"] = os.path.abspath(values["data"])
        given = {name for name in values if SEARCH[name].present}
        record = check_record(folder, values, given - set(_CHANGEABLE), SEARCH.resume)
        values.update({name: record[name] for name in values if record and name not in given})
        table = _data.load_table(values["data"], values["target"], values["task"], values["drop"])
        if record is not None and record["fingerprint"] != table.fingerprint():
            raise ValueError(
                f"--resume needs the data that the search in {folder!r} began with; "
                f"{values['data']!r} has changed"
            )
        # Here, after the data has been read: this imports TensorFlow.
        with _quiet_start():
            import tensorflow as tf

            from kerasreg.cli import _job
            from kerasreg.tuners import SearchFailedError

            tf.get_logger().setLevel("ERROR")
        job = _job.SearchJob(_job.Settings(**values), table, folder, _write)
    logging.set_verbosity(logging.WARNING)  # Keras' export logs each file.
    # An ended terminal or a stop signal is an interruption, not a crash.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        job.run()
    except (SearchFailedError, RuntimeError, OSError) as error:
        print(f"kerasreg: {_one_line(error)}", file=sys.stderr)
        return 1
    return 0


_SETTINGS = (
    "data", "target", "task", "drop", "tuner", "trials", "epochs", "seed", "replicas"
)  # fmt: skip


_LR_FIND_SETTINGS = (
    "data", "target", "task", "drop", "model", "optimizer", "depth", "width", "batch_size", "seed",
    "low", "high", "steps", "plot",
)  # fmt: skip


_EXPORT_SETTINGS = (
    "base_dir", "samples", "labels", "outputs", "mc_passes", "card", "tolerance",
    "quantization", "original", "validation_data", "original_tolerance",
)  # fmt: skip


_SERVE_SETTINGS = ("name", "host", "port", "max_body", "max_batch", "look_every")


@contextlib.contextmanager
def _bad_input_is_usage() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise UsageError(str(error)) from error
    except ModuleNotFoundError as error:
        if error.name in ("keras", "tensorflow", "jax", "torch"):
            raise UsageError(
                f"Keras needs a backend ({error}); install one with: "
                "pip install 'kerasreg[tensorflow-cpu]'"
            ) from error
        if error.name not in ("sklearn", "pandas", "pyarrow"):
            raise
        raise UsageError(
            f"{error.name} is missing; install it with: pip install 'kerasreg[search]'"
        ) from error


@contextlib.contextmanager
def _quiet_start() -> Iterator[None]:
    """Keeps what TensorFlow prints while it is loaded, before it obeys any log level."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def _interrupt(*_: Any) -> None:
    # Ends at once: a KeyboardInterrupt that is raised while Python runs a finaliser
    # is lost. State on disk is whole at every instant.
    os.write(2, b"kerasreg: interrupted; continue with --resume\n")
    os._exit(130)


def _write(line: str) -> None:
    print(line, flush=True)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _help() -> str:
    return textwrap.dedent(
        """\
        kerasreg: regularization for Keras that can be scheduled, searched and served

        Usage: kerasreg COMMAND [--flag=value ...]

        Commands:
          search   search a dense network for a table of numbers, compare the best
                   setting with the same network without regularization, and export
                   it as a SavedModel
          lr-find  test learning rates on a table, from small to large, for a dense
                   network or a saved Keras model, and suggest some
          export   export a saved Keras model as the next version of a SavedModel,
                   compared with Keras before it is published
          serve    answer for an exported model over HTTP, for development

        kerasreg COMMAND --help lists a command's flags; kerasreg --version tells the version.
        Exit codes: 0 done, 1 the search or the export failed, 2 bad input, 130 interrupted."""
    )


def _command_help(
    title: str,
    arguments: str,
    examples: Sequence[str],
    values: flags.FlagValues,
    shown: Sequence[str],
) -> str:
    """What a command does, how it is called, and its flags."""
    command = title.partition(":")[0]
    usage = f"Usage: {command} {arguments}[--flag=value ...]"
    lines = [title, "", usage, "", *(f"  {example}" for example in examples), "", "Flags:"]
    return "\n".join(lines + _flag_lines(values, shown))


def _search_help() -> str:
    return _command_help(
        "kerasreg search: find a network's regularization, training and shape for a table",
        "",
        [
            "kerasreg search                                  # scikit-learn's digits",
            "kerasreg search --data=houses.csv --target=price --trials=30",
            "kerasreg search --resume                         # go on after an interruption",
        ],
        SEARCH,
        [*_SETTINGS, "output_dir", "resume"],
    )


def _lr_find_help() -> str:
    return _command_help(
        "kerasreg lr-find: learning rates from small to large, and which of them suit",
        "",
        [
            "kerasreg lr-find --data=houses.csv --target=price --plot=rates.png",
            "kerasreg lr-find --model=network.keras --data=houses.csv --target=price",
        ],
        LR_FIND,
        _LR_FIND_SETTINGS,
    )


def _export_help() -> str:
    return _command_help(
        "kerasreg export: a saved Keras model as the next version in a folder",
        "MODEL.keras --base_dir=FOLDER ",
        [
            "kerasreg export net.keras --base_dir=models/net --samples=x.npy --labels=no,yes",
            "kerasreg export net.keras --base_dir=models/net --quantization=int8 \\",
            "    --validation_data=held_out.npz",
        ],
        EXPORT,
        _EXPORT_SETTINGS,
    )


def _serve_help() -> str:
    return _command_help(
        "kerasreg serve: a development server with TensorFlow Serving's REST interface",
        "FOLDER ",
        [
            "kerasreg serve kerasreg_search/model             # what kerasreg search has exported",
            "kerasreg serve models/digits --port=9000",
        ],
        SERVE,
        _SERVE_SETTINGS,
    )


def _flag_lines(values: flags.FlagValues, names: Sequence[str]) -> list[str]:
    lines = []
    for name in names:
        flag = values[name]
        default = flag.default_as_str.strip("'") if flag.default not in (None, []) else "none"
        lines.append(f"  --{name} (default: {default})")
        lines.extend(
            textwrap.wrap(flag.help, 84, initial_indent=" " * 6, subsequent_indent=" " * 6)
        )
    return lines
