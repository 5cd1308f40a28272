"""Whether a docstring says what users need."""

from __future__ import annotations

import doctest
import inspect
import re
from typing import Any


def check_documentation(public: Any, *, arguments: bool = True, example: bool = True) -> None:
    """Checks the docstring of a function or class.

    A docstring begins with a sentence on a line of its own. The section `Args:` has an
    entry for each argument, and the section `Example:` has an example that doctest runs.

    Args:
        public: the function or class.
        arguments: whether it must describe each argument.
        example: whether it must have an example.

    Raises:
        AssertionError: if any part is missing, with a list of all missing parts.

    Example:

    >>> import kerasreg
    >>> kerasreg.testing.check_documentation(kerasreg.regularizers.L1)
    """
    name = getattr(public, "__name__", repr(public))
    text = inspect.getdoc(public) or ""
    summary, *rest = text.splitlines() or [""]
    faults = []
    if not summary.strip():
        faults.append("there is no docstring")
    elif not summary.rstrip().endswith("."):
        faults.append(f"the first line is no sentence: {summary!r}")
    if rest and rest[0].strip():
        faults.append("the summary is longer than one line")
    parameters = list(inspect.signature(public).parameters) if arguments else []
    if parameters and not re.search(r"^Args:$", text, re.MULTILINE):
        faults.append("there is no section `Args:`")
    for parameter in parameters:
        # An entry of the list: `name: ...`, with the stars of `*args` and `**kwargs`.
        if not re.search(rf"^    \*{{0,2}}{parameter}: ", text, re.MULTILINE):
            faults.append(f"the argument `{parameter}` is not described")
    if example and not re.search(r"^Example:$", text, re.MULTILINE):
        faults.append("there is no section `Example:`")
    if example and not doctest.DocTestParser().get_examples(text):
        faults.append("there is no example that doctest runs")
    assert not faults, f"{name}: {'; '.join(faults)}"
