"""How Sphinx builds the pages of this folder: `make docs`."""

import inspect
import os
from typing import Any

# Before Keras is imported, from which the reference takes docstrings.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from sphinx.application import Sphinx
from sphinx.ext.napoleon import GoogleDocstring
from sphinx.util.inspect import stringify_signature

from kerasreg import __version__

project = "kerasreg"
author = "The kerasreg authors"
copyright = "The kerasreg authors. Apache 2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["conf.py"]
suppress_warnings = ["myst.strikethrough"]

# Headings of Markdown are targets of links, as they are where GitHub shows a page.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

# Docstrings write code between single backticks, as Markdown does.
default_role = "code"
# What a docstring says of an argument is for people; annotations are for type checkers.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
# A class has the docstring of the class, and the methods that it defines itself.
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Call arguments", "params_style")]
toc_object_entries_show_parents = "hide"
add_module_names = False
python_maximum_signature_line_length = 88

# `>>> ` is not copied with an example.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Classes of other projects, whose pages are elsewhere.
nitpick_ignore_regex = [
    ("py:.*", r"(builtins|collections|keras|keras_tuner|numpy|pandas|tensorflow)\..*")
]

html_theme = "furo"
html_title = f"kerasreg {__version__}"
html_static_path = ["_static"]
html_css_files = ["kerasreg.css"]
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "monokai"

# External addresses, which `make docs-links` asks for where there is a network.
linkcheck_timeout = 20
linkcheck_retries = 2


class _Docstring(GoogleDocstring):
    """Docstrings as they are written here, where `Returns:` begins with no type."""

    def _consume_returns_section(self, preprocess_types: bool = False) -> list[Any]:
        lines = self._dedent(self._consume_to_next_section())
        return [("", "", lines)] if any(lines) else []


# What `_read` made of docstrings.
_read_docstrings: dict[tuple[str, str], list[str]] = {}


def _read(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Reads a docstring before Napoleon does.

    Napoleon takes what stands before the first colon for a type, in properties too.
    """
    kind = "method" if what in ("attribute", "property") else what
    _read_docstrings[what, name] = _Docstring(
        lines, app.config, app, kind, name, obj, options
    ).lines()


def _put_back(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [*_read_docstrings.pop((what, name)), ""]


def _signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: Any, returns: Any
) -> tuple[str, str] | None:
    """The arguments of a class, also where `__new__` of Keras takes any."""
    if what != "class":
        return None
    try:
        found = inspect.signature(obj)
    except (ValueError, TypeError):
        return None
    return stringify_signature(found, show_annotation=False, show_return_annotation=False), ""


def setup(app: Sphinx) -> None:
    """Around Napoleon, whose priority is 500."""
    app.connect("autodoc-process-docstring", _read, priority=400)
    app.connect("autodoc-process-docstring", _put_back, priority=600)
    app.connect("autodoc-process-signature", _signature)
