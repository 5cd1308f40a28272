"""`kerasreg report`: what a search found, to look at."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Set

from kerasreg.cli._command import Command, UsageError, bad_input, failing, loading, write
from kerasreg.cli._options import option


@dataclasses.dataclass(frozen=True)
class ReportOptions:
    """Where the report is written."""

    output: str | None = option(
        None,
        "One file for the report, a .html, .md or .json file. Without it report.html, report.md "
        "and search_report.json in FOLDER.",
    )
    tensorboard: str | None = option(
        None, "A folder to write the trials to for TensorBoard's HParams dashboard."
    )
    study: str | None = option(
        None,
        "A storage of Optuna to add the trials to as a study, such as sqlite:///study.db, for its "
        "dashboard.",
    )


def _run(options: ReportOptions, given: Set[str], folder: str | None) -> None:
    if folder is None:
        raise UsageError("report needs the folder of a search: kerasreg report kerasreg_search")
    with bad_input():
        from kerasreg import reports
        from kerasreg.cli import _search_report

        if options.output is not None:
            reports.check_path(options.output)
        found = _search_report.stored_report(folder)
        if found is None:
            with loading():
                from kerasreg import tuners
            found = _search_report.report_of_trials(folder, tuners.shrunken_scores)
    with failing(OSError):
        if options.output is None:
            _search_report.write_report(found, folder)
        else:
            found.write(options.output)
    if options.tensorboard is not None:
        with failing(OSError):
            found.to_tensorboard(options.tensorboard)
    if options.study is not None:
        with failing(Exception):  # Of SQLAlchemy, Redis, ...: whatever the storage is of.
            found.to_study(options.study)
    for line in found.verdict:
        write(line)
    written = options.output or os.path.join(folder, "report.html")
    write(f"\nwrote {written}")
    if options.tensorboard is not None:
        write(
            f"wrote {options.tensorboard}: tensorboard --logdir={shlex.quote(options.tensorboard)}"
        )
    if options.study is not None:
        write(f"wrote a study: optuna-dashboard {shlex.quote(options.study)}")


REPORT = Command(
    name="report",
    summary=["write what a search found as one HTML page, to look at"],
    purpose="what a search found, as one HTML page, as Markdown and as JSON",
    examples=[
        "kerasreg report kerasreg_search",
        "kerasreg report kerasreg_search --output=found.html",
        "kerasreg report kerasreg_search --tensorboard=logs --study=sqlite:///study.db",
    ],
    options=ReportOptions,
    run=_run,
    takes="FOLDER",
)
