"use strict";
// A click on the head of a column sorts its table by it: numbers from the largest, words from the first.
(() => {
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const values = [...body.rows].map((row) => row.cells[column].dataset.value);
        const number = (text) => Number.parseFloat(text.replaceAll(",", ""));
        const numeric = values.some((one) => one !== "") && values.every((one) => one === "" || !Number.isNaN(number(one)));
        const first = numeric ? "descending" : "ascending";
        const order = head.ariaSort === first ? (numeric ? "ascending" : "descending") : first;
        const sign = order === "ascending" ? 1 : -1;
        const compare = (one, other) => {
          const [a, b] = [one.cells[column].dataset.value, other.cells[column].dataset.value];
          // What has no value stays at the end.
          if (a === "" || b === "") return (a === "") - (b === "");
          return sign * (numeric ? number(a) - number(b) : a.localeCompare(b));
        };
        for (const one of heads) one.ariaSort = null;
        head.ariaSort = order;
        body.append(...[...body.rows].sort(compare));
      });
    });
  }
  document.documentElement.dataset.ready = "yes";
})();
