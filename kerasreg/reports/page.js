(() => {
  "use strict";
  // A page of a search that runs is old when its search has been killed: nobody renews it then.
  const state = document.getElementById("state"), late = document.getElementById("late");
  if (state && state.dataset.written) {
    const minutes = Math.floor((Date.now() - Date.parse(state.dataset.written)) / 60000);
    if (minutes >= 10) {
      const hours = Math.floor(minutes / 60), days = Math.floor(hours / 24);
      const ago = days > 1 ? days + " days" : hours > 1 ? hours + " hours" : minutes + " minutes";
      late.textContent = "That was " + ago + " ago. If loading the file again does not change this, "
        + "the search was cut off, or its trials take long.";
      late.hidden = false;
    }
  }

  const table = document.getElementById("leaderboard");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];

  // A click on a title sorts the rows by that column; those without a value come last.
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    button.disabled = false;
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      // Cells of numbers have these apart, as they are shown in fewer digits.
      const value = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
      const empty = (text) => text === "" || text === "\u2013";
      const numeric = rows.every((row) => empty(value(row)) || !isNaN(value(row)));
      const compare = numeric
        ? (a, b) => a - b
        : (a, b) => (a < b ? -1 : a > b ? 1 : 0);
      rows.sort((a, b) => {
        const x = value(a), y = value(b);
        if (empty(x) || empty(y)) return empty(x) - empty(y);
        return (down ? -1 : 1) * compare(numeric ? +x : x, numeric ? +y : y);
      });
      body.append(...rows);
    });
  });

  // A trial that is pointed at, or has the focus, is marked wherever it is shown.
  const marks = new Map();
  document.querySelectorAll("[data-t]").forEach((one) => {
    const trial = one.dataset.t;
    if (!marks.has(trial)) marks.set(trial, []);
    marks.get(trial).push(one);
  });
  let marked = null;
  const mark = (trial) => {
    if (trial === marked) return;
    (marks.get(marked) || []).forEach((one) => one.classList.remove("on"));
    marked = trial;
    (marks.get(marked) || []).forEach((one) => one.classList.add("on"));
  };
  const trialOf = (event) => {
    const one = event.target.closest ? event.target.closest("[data-t]") : null;
    return one ? one.dataset.t : null;
  };
  document.addEventListener("pointerover", (event) => mark(trialOf(event)));
  document.addEventListener("focusin", (event) => mark(trialOf(event)));

  const holder = document.getElementById("data");
  const filters = document.getElementById("filters");
  if (!holder || !filters) return;
  const { axes, trials } = JSON.parse(holder.textContent);
  const lows = [...filters.querySelectorAll("input[data-end=low]")];
  const highs = [...filters.querySelectorAll("input[data-end=high]")];
  const svg = document.querySelector("#parallel-chart svg");
  const brushes = [...svg.querySelectorAll(".brush")];
  const grips = [...svg.querySelectorAll(".grip")];
  const told = document.getElementById("told");

  const valueAt = (axis, place) => {
    if (axis.categories) {
      const count = axis.categories.length;
      return axis.categories[Math.min(count - 1, Math.floor((place * count) / 1000))];
    }
    const part = place / 1000;
    const value = axis.log
      ? axis.low * Math.pow(axis.high / axis.low, part)
      : axis.low + part * (axis.high - axis.low);
    return String(+value.toPrecision(3));
  };

  const apply = () => {
    const ranges = axes.map((axis, k) => [+lows[k].value, +highs[k].value]);
    let left = 0, all = 0;
    for (const [trial, places] of Object.entries(trials)) {
      const inside = ranges.every(
        ([low, high], k) => (low === 0 && high === 1000) || (places[k] >= low && places[k] <= high));
      (marks.get(trial) || []).forEach((one) => one.classList.toggle("off", !inside));
      all += 1;
      left += inside;
    }
    axes.forEach((axis, k) => {
      const [low, high] = ranges[k];
      for (const [input, place] of [[lows[k], low], [highs[k], high]]) {
        const value = valueAt(axis, place);
        input.nextElementSibling.textContent = value;
        input.setAttribute("aria-valuetext", value);
      }
      const top = +grips[k].getAttribute("y"), height = +grips[k].getAttribute("height");
      const whole = low === 0 && high === 1000;
      brushes[k].setAttribute("y", top + height * (1 - high / 1000));
      brushes[k].setAttribute("height", whole ? 0 : Math.max(2, (height * (high - low)) / 1000));
    });
    told.textContent = left + " of " + all + " trials shown";
  };

  const set = (k, low, high) => {
    lows[k].value = Math.min(low, high);
    highs[k].value = Math.max(low, high);
    apply();
  };
  axes.forEach((axis, k) => {
    lows[k].addEventListener("input", () => {
      if (+lows[k].value > +highs[k].value) highs[k].value = lows[k].value;
      apply();
    });
    highs[k].addEventListener("input", () => {
      if (+highs[k].value < +lows[k].value) lows[k].value = highs[k].value;
      apply();
    });
    let begun = null;
    const placeOf = (event) => {
      const box = grips[k].getBoundingClientRect();
      return Math.max(0, Math.min(1000, Math.round(1000 * (1 - (event.clientY - box.top) / box.height))));
    };
    grips[k].addEventListener("pointerdown", (event) => {
      begun = placeOf(event);
      grips[k].setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    grips[k].addEventListener("pointermove", (event) => {
      if (begun !== null) set(k, begun, placeOf(event));
    });
    grips[k].addEventListener("pointerup", (event) => {
      // A click without a way takes the brush off.
      if (begun !== null && Math.abs(placeOf(event) - begun) < 12) set(k, 0, 1000);
      begun = null;
    });
    grips[k].addEventListener("pointercancel", () => { begun = null; });
  });
  document.getElementById("all").addEventListener("click", () => {
    axes.forEach((axis, k) => { lows[k].value = 0; highs[k].value = 1000; });
    apply();
  });
  document.getElementById("filtering").hidden = false;
  apply();
})();
