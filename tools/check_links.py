"""Where links of built pages lead: to files that exist, and to places in them that exist.

Usage: python tools/check_links.py FOLDER     prints each link that leads nowhere, and fails then
       python tools/check_links.py --network  fails where no address outside can be asked for

Links to other sites are Sphinx' to check, with a network.
"""

import html.parser
import pathlib
import socket
import sys
import urllib.parse

_LINKS = {"a": "href", "img": "src", "link": "href", "script": "src"}


class _Page(html.parser.HTMLParser):
    """The links of a page, and the names of its places."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Takes what a tag leads to, and what it is called."""
        found = dict(attrs)
        if (link := found.get(_LINKS.get(tag, ""))) is not None:
            self.links.append(link)
        self.places |= {name for key in ("id", "name") if (name := found.get(key))}


def broken_links(folder: pathlib.Path) -> list[str]:
    """The links within a folder of pages that lead nowhere, as lines."""
    texts = {path.resolve(): path for path in sorted(folder.rglob("*.html"))}
    pages = {path: _Page(shown.read_text(encoding="utf-8")) for path, shown in texts.items()}
    lines = []
    for path, page in pages.items():
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path
            if parts.path:
                target = (path.parent / urllib.parse.unquote(parts.path)).resolve()
                target = target / "index.html" if target.is_dir() else target
            name = urllib.parse.unquote(parts.fragment)
            if not target.is_file():
                lines.append(f"{texts[path]}: {link}: no such file")
            elif name and target in pages and name not in pages[target].places:
                lines.append(f"{texts[path]}: {link}: no such place in the page")
    return lines


def has_network() -> bool:
    """Whether an address outside of this machine can be asked for."""
    try:
        socket.create_connection(("arxiv.org", 443), timeout=5).close()
    except OSError:
        return False
    return True


def main(argument: str) -> None:
    """Checks a folder, or the network; ends the process."""
    if argument == "--network":
        sys.exit(None if has_network() else "no network: links to other sites are not checked")
    folder = pathlib.Path(argument)
    if not (folder / "index.html").is_file():
        sys.exit(f"{folder} has no index.html: run `make docs` first")
    lines = broken_links(folder)
    print("\n".join([*lines, f"links that lead nowhere: {len(lines)}"]))
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
