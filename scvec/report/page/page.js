"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const figures = read("figures"), query = read("query");
  const root = document.documentElement, chosen = (id) => document.getElementById(id);
  const config = { responsive: true, displaylogo: false, scrollZoom: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  const still = { responsive: true, displayModeBar: false, scrollZoom: false };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const drawn = new Map();

  // Plotly's own colours: text and lines as the page's.
  const colours = () => {
    const style = getComputedStyle(root), one = (name) => style.getPropertyValue(name).trim();
    return {
      "font.color": one("--ink"),
      "hoverlabel.bgcolor": one("--raised"),
      "hoverlabel.bordercolor": one("--line"),
      "hoverlabel.font.color": one("--ink"),
      "modebar.color": one("--soft"),
      "modebar.activecolor": one("--ink"),
      "modebar.bgcolor": "rgba(0,0,0,0)",
    };
  };
  const put = (layout) => {
    const copy = structuredClone(layout);
    for (const [path, value] of Object.entries(colours())) {
      const keys = path.split("."), last = keys.pop();
      keys.reduce((at, key) => (at[key] ??= {}), copy)[last] = value;
    }
    copy.dragmode ??= false;
    return copy;
  };
  const draw = (place, name) => {
    drawn.set(place, name);
    // Plotly forgets a layout's height when a window's size changes, but not that of the element.
    place.style.height = `${figures[name].layout.height}px`;
    return Plotly.react(place, figures[name].data, put(figures[name].layout), place.id === "cells" ? config : still);
  };
  const setTheme = (name) => {
    root.dataset.theme = name;
    for (const place of drawn.keys()) Plotly.relayout(place, colours());
  };
  root.dataset.theme = dark.matches ? "dark" : "light";
  dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
  chosen("theme").addEventListener("click", () => setTheme(root.dataset.theme === "dark" ? "light" : "dark"));
  addEventListener("beforeprint", () => setTheme("light"));

  // What is far down, or folded, is drawn when it is seen.
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting && !drawn.has(target)) { seen.unobserve(target); draw(target, target.dataset.figure); }
    }
  }, { rootMargin: "300px" });
  for (const place of document.querySelectorAll("[data-figure]")) if (place.id !== "cells") seen.observe(place);
  addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("details")) one.open = true;
    for (const place of document.querySelectorAll("[data-figure]")) if (!drawn.has(place)) draw(place, place.dataset.figure);
  });

  const label = chosen("label");
  const drawLabel = () => draw(chosen("label-genes"), label.value);
  label.addEventListener("change", drawLabel);
  drawLabel();

  // The map.
  const cells = chosen("cells"), card = chosen("card"), only = chosen("only"), colour = chosen("colour"), find = chosen("find");
  const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const groupOf = new Uint16Array(bytes(query.group).buffer);
  const odd = new Uint16Array(bytes(query.odd).buffer);
  const second = new Uint16Array(bytes(query.second).buffer);
  const traces = () => cells.data.map((one, i) => i).slice(1);
  const details = (trace) => cells._fullData[trace].customdata;
  const number = (value, digits = 2) => (Number.isFinite(value) ? value.toFixed(digits) : "none");

  // Figures have names as HTML.
  const named = (text) => text.replaceAll("&lt;", "<").replaceAll("&amp;", "&");

  const tell = (point) => {
    if (!point.customdata) return;
    const [confidence, votes, distance, novelty, at] = point.customdata;
    const genes = Array.from(odd.subarray(at * query.n_odd, (at + 1) * query.n_odd)).map((one) => query.genes[one]).filter(Boolean);
    const rows = [
      ["nearest", named(cells.data[point.curveNumber].name)], ["confidence", number(confidence)], ["votes", number(votes)],
      ["runner-up", query.labels[second[at]] || "none"], ["distance", number(distance, 3)], ["novelty", number(novelty)],
      ["doubt", query.groups[groupOf[at]] || "none"], ["beyond its label", genes.join(", ") || "none"],
    ];
    if (query.truth) rows.push(["author", query.truth_names[query.truth[at]]]);
    const list = document.createElement("dl");
    for (const [key, value] of rows) {
      const dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = key; dd.textContent = value; list.append(dt, dd);
    }
    const title = document.createElement("p"), bold = document.createElement("b");
    bold.textContent = named(point.text); title.append(bold);
    card.replaceChildren(title, list);
  };

  // Of each label's cells, those that are asked for; null for all.
  const wanted = (trace) => {
    const asked = only.value, name = find.value.trim().toLowerCase();
    if (!asked && !name) return null;
    const text = cells.data[trace].text, values = details(trace);
    return text.map((one, i) => i).filter((i) => {
      const group = groupOf[values[i][4]];
      const fits = !asked || (asked === "*" ? group > 0 : query.groups[group] === asked);
      return fits && (!name || named(text[i]).toLowerCase().includes(name));
    });
  };
  const filter = () => {
    const found = traces().map(wanted), n = found.reduce((sum, one) => sum + (one ? one.length : 0), 0);
    Plotly.restyle(cells, { selectedpoints: found, unselected: found.map(() => ({ marker: { opacity: 0.04 } })) }, traces());
    chosen("shown").textContent = found[0] === null || !found.length ? "" : `${n.toLocaleString("en")} cells`;
  };
  const paint = () => {
    const which = colour.value, all = traces();
    if (which === "label") {
      Plotly.restyle(cells, { "marker.color": all.map((i) => figures.map.data[i].marker.color), "marker.showscale": false }, all);
      return;
    }
    const values = all.map((i) => Array.from(details(i), (one) => one[Number(which)]));
    let low = Infinity, high = -Infinity;
    for (const some of values) for (const one of some) { if (one < low) low = one; if (one > high) high = one; }
    if (which < 2) [low, high] = [0, 1];
    Plotly.restyle(cells, {
      "marker.color": values, "marker.colorscale": "Cividis", "marker.cmin": low, "marker.cmax": high,
      "marker.showscale": all.map((_, i) => i === 0), "marker.colorbar.thickness": 12,
    }, all);
  };
  draw(cells, "map").then(() => {
    cells.on("plotly_hover", (event) => tell(event.points[0]));
    cells.on("plotly_click", (event) => tell(event.points[0]));
    only.addEventListener("change", filter);
    find.addEventListener("input", filter);
    colour.addEventListener("change", paint);
    for (const button of document.querySelectorAll(".show")) {
      button.addEventListener("click", (event) => {
        event.preventDefault();
        only.value = button.dataset.group;
        filter();
        document.getElementById("map").scrollIntoView();
      });
    }
    root.dataset.ready = "yes";
  });
})();
