"use strict";
// Everything that is needed is on the page without this; it adds a cursor in time and a filter for the ledger.
(() => {
  const { moments, evictions } = JSON.parse(document.getElementById("moments").textContent);
  const one = (id) => document.getElementById(id);

  const within = (ranges, turn) =>
    ranges.split(", ").some((range) => {
      const [first, last] = range.split("–").map(Number);
      return first <= turn && turn <= (last ?? first);
    });

  const showMoment = (column) => {
    const moment = moments[column];
    one("figures").textContent =
      `${moment.time} · ${moment.cells} cells · turns ${moment.window} · sinks ${moment.sinks} · ${moment.memory} · ${moment.speed}`;
    for (const line of document.querySelectorAll("line.cursor")) {
      line.setAttribute("x1", column + 0.5);
      line.setAttribute("x2", column + 0.5);
    }
    for (const article of document.querySelectorAll("article.user, article.reply")) {
      const turn = Number(article.dataset.turn);
      const inside = moment.window !== "none" && within(moment.window, turn);
      article.classList.toggle("out", !inside);
      article.querySelector(".standing").textContent = inside ? "in the window" : "not in the window";
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
