"""The page in a browser: what its script does, what the console says, and whom it shuts out.

A script of the test's own, added to the page, does what a person would, and writes what it saw
into the page that the browser prints. Another one is axe (Deque), which looks for what keeps
people from reading a page.
"""

import importlib.resources
import json
import re
import shutil
import subprocess

import pytest
from helpers.search_states import HOSTILE, parts, states

from kerasreg.reports import search_report

_HANGS = 120
_BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(_BROWSER is None, reason="needs Chromium, which is not installed")

# Sorting by a click, the ends of an axis from the keyboard, a brush, marks by the focus.
_PERSON = """
const told = {};
window.addEventListener("error", (event) => { told.error = event.message; });
const texts = (column) => [...document.querySelectorAll("#leaderboard tbody tr")]
  .map((row) => row.cells[column].textContent);
const shown = () => [...document.querySelectorAll("#leaderboard tbody tr")]
  .filter((row) => getComputedStyle(row).display !== "none").length;
const drawn = () => document.querySelectorAll("#parallel-chart .trial:not(.off)").length;
const heads = document.querySelectorAll("#leaderboard thead th");
told.before = texts(2);
heads[2].querySelector("button").click();
told.up = texts(2);
heads[2].querySelector("button").click();
told.down = texts(2);
told.sort = heads[2].getAttribute("aria-sort");
told.all = [shown(), drawn(), document.getElementById("told").textContent];
const low = document.querySelectorAll("#filters input[data-end=high]");
const last = low[low.length - 1];
last.value = 300;
last.dispatchEvent(new Event("input"));
told.some = [shown(), drawn(), document.getElementById("told").textContent];
told.value = last.getAttribute("aria-valuetext");
told.brush = +document.querySelectorAll(".brush")[low.length - 1].getAttribute("height");
document.getElementById("all").click();
told.again = [shown(), drawn()];
const first = document.querySelector("#leaderboard tbody th");
first.focus();
// A window without a screen has the focus now and then, and tells of it only then.
told.focused = document.activeElement === first;
if (!document.hasFocus()) first.dispatchEvent(new FocusEvent("focusin", { bubbles: true }));
told.marked = document.querySelectorAll(".on").length;
const wide = document.documentElement;
told.wide = wide.scrollWidth > wide.clientWidth;
told.small = [...document.querySelectorAll("figure > svg")]
  .filter((one) => one.getBoundingClientRect().width < 200).length;
told.requests = performance.getEntriesByType("resource").length;
told.late = document.getElementById("late").textContent;
told.late_shown = !document.getElementById("late").hidden;
const stopped = document.querySelector("#leaderboard tr.stopped");
told.stopped = stopped.cells[0].textContent.length > 0 &&
  getComputedStyle(stopped.cells[0]).color !== getComputedStyle(document.body).color;
told.marks = [...document.querySelectorAll("figure > svg")]
  .filter((one) => ![...one.querySelectorAll("path:not(.axis):not(.grid)")]
    .some((path) => path.getTotalLength() > 0 || path.getAttribute("d").includes("h0"))).length;
const out = document.createElement("pre");
out.id = "told-by-test";
out.textContent = "BEGIN" + JSON.stringify(told) + "END";
document.body.append(out);
"""


# Beside the results that axe has, the colours that the browser was told to prefer.
_AXE = """
axe.run(document, {resultTypes: ["violations"]}).then((found) => {
  const out = document.createElement("pre");
  out.textContent = "BEGIN" + JSON.stringify({
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    passed: found.passes.length,
    violations: found.violations.map((one) => [one.id, one.impact, one.nodes.length,
      one.nodes[0].target.join(" "), one.nodes[0].failureSummary]),
  }) + "END";
  document.body.append(out);
});
"""


def seen(report, folder, width, script, *flags):
    """What the script saw in a window of that width, and what the console said."""
    page = report.html().replace("</body>", f"<script>{script}</script></body>")
    (folder / "page.html").write_text(page)
    process = subprocess.run(
        [
            _BROWSER,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={width},900",
            *flags,
            "--dump-dom",
            f"file://{folder / 'page.html'}",
        ],
        capture_output=True,
        text=True,
        timeout=_HANGS,
        check=True,
    )
    (told,) = re.findall("BEGIN({.*})END</pre>", process.stdout)
    told = json.loads(told.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    return told, re.findall("CONSOLE.*", process.stderr)


@pytest.mark.short("375-False", "1280-True")
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [375, 1280])
def test_axe_finds_nothing(width, dark, tmp_path):
    found = states(30, names=HOSTILE, choices=HOSTILE[:3], failed=2)
    report = search_report(
        found, objective="val_loss", direction="min", title=HOSTILE[0], **parts(found)
    )
    axe = importlib.resources.files("axe_core_python").joinpath("axe.min.js").read_text()
    told, console = seen(
        report,
        tmp_path,
        width,
        axe + _AXE,
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        # Until axe has ended.
        "--virtual-time-budget=60000",
    )
    assert console == []
    assert told["dark"] == dark
    assert told["passed"] > 20
    assert told["violations"] == []


@pytest.mark.parametrize(
    ("count", "width"), [(10, 375), (10, 1280), (300, 375), (300, 1280), (10_000, 1280)]
)
def test_the_page_does_what_a_person_wants(count, width, tmp_path):
    found = states(count, names=HOSTILE, choices=HOSTILE[:3], failed=2)
    report = search_report(
        found, objective="val_loss", direction="min", title=HOSTILE[0], **parts(found)
    )
    told, console = seen(report, tmp_path, width, _PERSON)
    assert console == []
    assert "error" not in told
    rows = len(told["before"])
    scores = [float(text) for text in told["up"]]
    assert scores == sorted(scores)
    assert [float(text) for text in told["down"]] == scores[::-1]
    assert told["sort"] == "descending"
    assert told["all"] == [rows, rows, f"{rows} of {rows} trials shown"]
    assert 0 < told["some"][0] == told["some"][1] < rows
    assert told["some"][2] == f"{told['some'][0]} of {rows} trials shown"
    assert float(told["value"]) < max(scores)
    assert told["brush"] > 0
    assert told["again"] == [rows, rows]
    assert told["focused"]
    assert told["marked"] >= 2  # The row and its line, and its curve where it has one.
    assert not told["wide"]  # Only tables and the lines scroll, within themselves.
    assert told["small"] == 0
    assert told["requests"] == 0
    assert told["late_shown"]
    assert re.match(r"That was \d+ (days|hours) ago\. ", told["late"])
    assert told["stopped"]
    assert told["marks"] == 0  # Each chart has some.
