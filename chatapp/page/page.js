"use strict";
// The page is complete without this; it adds a time cursor, with the sinks of each probe sample, and a filter for the
// ledger.
(() => {
  const { moments, evictions, looks, look_at } = JSON.parse(document.getElementById("moments").textContent);
  const one = (id) => document.getElementById(id);

  const within = (ranges, turn) =>
    ranges.split(", ").some((range) => {
      const [first, last] = range.split("–").map(Number);
      return first <= turn && turn <= (last ?? first);
    });

  const cell = (text, name, kind = "td") => {
    const made = document.createElement(kind);
    made.textContent = text;
    made.className = name;
    return made;
  };
  const shades = (digits, name) =>
    [...digits].map((digit) => cell(digit.replace("0", "·"), `${name} g${digit.trim()}`));

  let shown = looks.length - 1;
  const showLook = (number) => {
    if (looks.length === 0 || number === shown) return;
    shown = number;
    one("look").textContent = number === null ? "No probe sample by then." : looks[number].about;
    const rows = (number === null ? [] : looks[number].rows).map(([layer, kind, mean, kept, learned]) => {
      const row = document.createElement("tr");
      const name = cell(layer, "", "th");
      name.scope = "row";
      row.append(name, cell(kind, ""), cell(mean, "n"), ...shades(kept, "kept"), ...shades(learned, "learned"));
      return row;
    });
    one("heads").tBodies[0].replaceChildren(...rows);
  };

  const showMoment = (column) => {
    const moment = moments[column];
    one("figures").textContent =
      `${moment.time} · ${moment.cells} cells · turns ${moment.window} · sinks ${moment.sinks} · ${moment.memory} · ${moment.speed}`;
    for (const line of document.querySelectorAll("line.cursor")) {
      line.setAttribute("x1", column + 0.5);
      line.setAttribute("x2", column + 0.5);
    }
    showLook(look_at[column]);
    for (const article of document.querySelectorAll("article.user, article.reply")) {
      const turn = Number(article.dataset.turn);
      const inside = moment.window !== "none" && within(moment.window, turn);
      article.classList.toggle("out", !inside);
      article.querySelector(".visibility").textContent = inside ? "in the window" : "not in the window";
    }
  };

  const slider = one("moment");
  if (slider !== null) {
    const goTo = (column) => {
      if (column !== undefined) {
        slider.value = column;
        showMoment(column);
      }
    };
    slider.addEventListener("input", () => showMoment(Number(slider.value)));
    one("before").addEventListener("click", () => goTo(evictions.findLast((column) => column < Number(slider.value))));
    one("after").addEventListener("click", () => goTo(evictions.find((column) => column > Number(slider.value))));
    for (const svg of document.querySelectorAll("svg.map, svg.curve")) {
      svg.addEventListener("click", (event) => {
        const box = svg.getBoundingClientRect();
        const column = Math.floor(((event.clientX - box.left) / box.width) * moments.length);
        goTo(Math.min(Math.max(column, 0), moments.length - 1));
      });
    }
    one("controls").hidden = false;
    showMoment(Number(slider.value));
  }

  const rows = [...document.querySelectorAll("#entries tbody tr")];
  const filter = () => {
    const kind = one("kind").value;
    const word = one("word").value.toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const fits = (kind === "" || row.cells[1].textContent === kind) && row.textContent.toLowerCase().includes(word);
      row.hidden = !fits;
      shown += fits;
    }
    one("count").textContent = `${shown} of ${rows.length} lines`;
  };
  one("kind").addEventListener("change", filter);
  one("word").addEventListener("input", filter);
  one("filter").hidden = false;
  filter();
})();
