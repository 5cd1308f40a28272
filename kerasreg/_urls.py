"""URLs as they may be shown."""

from __future__ import annotations

import re


def without_password(text: str) -> str:
    """A URL without the passwords that it has."""
    text = re.sub(r"(://[^:/?#@]*):.*@", r"\1:***@", text)
    return re.sub(r"(?i)([?&][^=&]*(?:pass|token|secret)[^=&]*=)[^&\s]*", r"\1***", text)
