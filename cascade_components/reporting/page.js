"use strict";
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const root = document.documentElement;
  const all = (selector) => Array.from(document.querySelectorAll(selector));
  const table = document.getElementById("routing");
  const range = document.getElementById("point");
  const back = document.getElementById("back");
  const FIXED = 4; // cells of a row that no operating point changes

  all(".needs-script").forEach((element) => { element.hidden = false; });

  document.getElementById("theme").addEventListener("click", () => {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    root.dataset.theme = (root.dataset.theme || system) === "dark" ? "light" : "dark";
  });

  let sorted = null; // [column, direction]
  const sortRows = () => {
    if (!sorted) return;
    const [column, direction] = sorted;
    const key = (row) => row.cells[column].dataset.sort;
    const numeric = table.tHead.rows[0].cells[column].classList.contains("number");
    const rows = Array.from(table.tBodies[0].rows).sort((a, b) =>
      direction * (numeric ? key(a) - key(b) : key(a).localeCompare(key(b))));
    table.tBodies[0].append(...rows);
  };
  Array.from(table.tHead.rows[0].cells).forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      sorted = [column, header.getAttribute("aria-sort") === "ascending" ? -1 : 1];
      Array.from(table.tHead.rows[0].cells).forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", sorted[1] > 0 ? "ascending" : "descending");
      sortRows();
    });
  });

  const pick = (number) => {
    const point = data.points[number];
    range.value = number;
    back.disabled = number === data.chosen;
    all("[data-show]").forEach((element) => { element.textContent = point.shown[element.dataset.show]; });
    Array.from(table.tBodies[0].rows).forEach((row) => {
      point.rows[Number(row.dataset.cluster)].forEach((cell, at) => {
        const place = row.cells[FIXED + at];
        place.textContent = cell.text;
        place.dataset.sort = cell.sort;
      });
    });
    sortRows();
    all(".picked").forEach((element) => element.classList.remove("picked"));
    document.getElementById(`front-point-${number}`).classList.add("picked");
    range.setAttribute("aria-valuetext", point.shown.target);
  };
  range.addEventListener("input", () => pick(Number(range.value)));
  back.addEventListener("click", () => pick(data.chosen));
  data.points.forEach((_, number) => {
    const mark = document.getElementById(`front-point-${number}`);
    mark.style.cursor = "pointer";
    mark.addEventListener("click", () => pick(number));
  });
  pick(data.chosen);
})();
