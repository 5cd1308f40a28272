"""The script that looks where links of built pages lead."""

import importlib.util
import pathlib

import pytest

PATH = pathlib.Path(__file__).parents[2] / "tools" / "check_links.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("check_links", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_to_files_and_places_that_are_missing_are_named(script, tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "index.html").write_text(
        '<h1 id="top">A</h1><a href="part/b.html#there">b</a><a href="#top">a</a>'
        '<a href="https://example.org/x#y">c</a><a href="part/b.html#gone">d</a>'
        '<img src="none.png"><a href="mailto:x@example.org">e</a><a href="part/">f</a>'
    )
    (tmp_path / "part" / "b.html").write_text('<p id="there"><a href="../index.html#top">a</a></p>')
    found = [line.removeprefix(f"{tmp_path}/") for line in script.broken_links(tmp_path)]
    assert found == [
        "index.html: part/b.html#gone: no such place in the page",
        "index.html: none.png: no such file",
        "index.html: part/: no such file",
    ]


@pytest.mark.parametrize(("text", "code"), [("<p>", 0), ('<a href="#x">x</a>', 1)])
def test_the_exit_code_says_whether_a_link_is_broken(script, tmp_path, capsys, text, code):
    (tmp_path / "index.html").write_text(text)
    with pytest.raises(SystemExit) as end:
        script.main(str(tmp_path))
    assert end.value.code == code
    assert f"links that lead nowhere: {code}" in capsys.readouterr().out


def test_a_folder_without_pages_is_no_site(script, tmp_path):
    with pytest.raises(SystemExit, match=r"run `make docs` first"):
        script.main(str(tmp_path))
