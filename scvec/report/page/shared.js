"use strict";
// What every page has: light or dark, all of it on paper, and sentences that open.
(() => {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)");
  const setTheme = (name) => {
    root.dataset.theme = name;
    root.dispatchEvent(new Event("theme"));
  };
  root.dataset.theme = dark.matches ? "dark" : "light";
  dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
  document.getElementById("theme").addEventListener("click", () => setTheme(root.dataset.theme === "dark" ? "light" : "dark"));
  let before = root.dataset.theme;
  addEventListener("beforeprint", () => {
    before = root.dataset.theme;
    setTheme("light");
    for (const one of document.querySelectorAll("details")) one.open = true;
  });
  addEventListener("afterprint", () => setTheme(before));

  // A gene's sentence is folded away until it is asked for.
  for (const link of document.querySelectorAll("a.gene")) {
    link.addEventListener("click", () => { document.querySelector(link.hash).closest("details").open = true; });
  }
})();
