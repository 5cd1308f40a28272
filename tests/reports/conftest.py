"""What the tests of reports share: how a page is read."""

import html.parser
import json
import types

import pytest

VOID = {"meta", "link", "br", "input", "img", "hr"}


class _Reader(html.parser.HTMLParser):
    """Reads a page as a browser would: its elements, their texts, and whether they are closed."""

    def __init__(self):
        super().__init__()
        self.open, self.elements, self.faults, self.texts = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))


def _read(page):
    reader = _Reader()
    reader.feed(page)
    reader.close()
    shown = "".join(text for tag, text in reader.texts if tag not in ("script", "style"))
    scripts = [text for tag, text in reader.texts if tag == "script" and text.strip()]
    data = [json.loads(one) for one in scripts if one.startswith("{")]
    return types.SimpleNamespace(
        elements=reader.elements,
        faults=reader.faults + [f"<{tag}> stays open" for tag in reader.open],
        shown=shown,
        scripts=scripts,
        data=data[0] if data else None,
        titles=[text for tag, text in reader.texts if tag == "h2"],
        named=lambda tag: [attributes for one, attributes in reader.elements if one == tag],
    )


@pytest.fixture(scope="session")
def read():
    """Reads the text of a page."""
    return _read
