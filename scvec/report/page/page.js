"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const figures = read("figures"), query = read("query");
  const root = document.documentElement, chosen = (id) => document.getElementById(id);
  const config = { responsive: true, displaylogo: false, scrollZoom: true, plotGlPixelRatio: devicePixelRatio, showTips: false, modeBarButtons: [["toImage", "pan2d", "zoom2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]] };
  const still = { responsive: true, displayModeBar: false, scrollZoom: false };
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
  // On a narrow screen the map is square, and its labels stand on it alone.
  const isMap = (place) => place.id === "cells";
  const sized = (place, layout) => {
    if (!isMap(place) || innerWidth > 760) return layout;
    return { ...layout, height: place.clientWidth, showlegend: false };
  };
  // Numbers on a heatmap are in the text's colour too.
  const inked = (data) => data.map((one) => (one.type === "heatmap" ? { ...one, textfont: { color: colours()["font.color"] } } : one));
  // Plotly forgets a layout's height when a window's size changes, but not that of the element.
  const tall = (place, name) => {
    const layout = sized(place, figures[name].layout);
    place.style.height = `${layout.height}px`;
    return layout;
  };
  addEventListener("resize", () => {
    if (!drawn.has(cells)) return;
    const { showlegend = true } = tall(cells, "map");
    if (showlegend !== cells._fullLayout.showlegend) Plotly.relayout(cells, { showlegend });
  });
  const draw = (place, name) => {
    drawn.set(place, name);
    return Plotly.react(place, inked(figures[name].data), put(tall(place, name)), isMap(place) ? config : still);
  };
  root.addEventListener("theme", () => {
    for (const [place, shown] of drawn) {
      Plotly.relayout(place, colours());
      if (figures[shown].data[0].type === "heatmap") Plotly.restyle(place, { "textfont.color": colours()["font.color"] });
    }
  });

  // Figures far down the page, or folded, are drawn when they come into view; their space is reserved, so that nothing moves.
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting && !drawn.has(target)) { seen.unobserve(target); draw(target, target.dataset.figure); }
    }
  }, { rootMargin: "300px" });
  for (const place of document.querySelectorAll("[data-figure]")) {
    tall(place, place.dataset.figure);
    if (!isMap(place)) seen.observe(place);
  }
  addEventListener("beforeprint", () => {
    for (const place of document.querySelectorAll("[data-figure]")) if (!drawn.has(place)) draw(place, place.dataset.figure);
  });

  const label = chosen("label");  // none where no gene has a part in the calls
  const drawLabel = () => {
    chosen("label-title").textContent = label.selectedOptions[0].textContent;
    return draw(chosen("label-genes"), label.value);
  };
  if (label) { label.addEventListener("change", drawLabel); drawLabel(); }

  // The map.
  const cells = chosen("cells"), card = chosen("card"), only = chosen("only"), colour = chosen("colour"), find = chosen("find");
  const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const groupOf = new Uint16Array(bytes(query.group).buffer);
  const odd = new Uint16Array(bytes(query.odd).buffer);
  const second = new Uint16Array(bytes(query.second).buffer);
  const unknownOf = query.unknown ? new Uint16Array(bytes(query.unknown).buffer) : null;
  // Plotly overwrites the colours in the figure itself.
  const kind = (name) => figures.map.data.map((one, i) => i).filter((i) => figures.map.data[i].meta === name);
  const labels = kind("label"), plain = labels.map((i) => figures.map.data[i].marker.color);
  const details = (trace) => cells._fullData[trace].customdata;
  const number = (value, digits = 2) => (Number.isFinite(value) ? value.toFixed(digits) : "none");

  // Names in figures are escaped as HTML.
  const named = (text) => text.replaceAll("&lt;", "<").replaceAll("&amp;", "&");

  const genesOf = (at) =>
    Array.from(odd.subarray(at * query.n_odd, (at + 1) * query.n_odd), (one) => query.genes[one]).filter(Boolean);

  const tell = (point) => {
    if (!point.customdata) return;
    const [confidence, votes, distance, novelty, at] = point.customdata;
    const percent = (share) => `${Math.round(100 * share)} %`;
    const rows = [
      ["label", named(cells.data[point.curveNumber].name)], ["confidence", number(confidence)], ["votes", percent(votes)],
      ["runner-up", query.labels[second[at]] || "no other votes"], ["distance", number(distance, 3)], ["novelty", number(novelty, 1)],
      ["doubt", query.groups[groupOf[at]].split(", ").pop() || "none"],
    ];
    if (groupOf[at]) rows.push(["unexpected genes", genesOf(at).join(", ") || "none"]);
    if (unknownOf?.[at]) rows.push(["looks like", query.looks[unknownOf[at]]]);
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

  // The selected cells of each label; null for all.
  const wanted = (trace) => {
    const asked = only.value, name = find.value.trim().toLowerCase();
    if (!asked && !name) return null;
    const unknown = Number(only.selectedOptions[0].dataset.unknown ?? 0);
    const text = cells.data[trace].text, values = details(trace);
    return text.map((one, i) => i).filter((i) => {
      const at = values[i][4], group = groupOf[at];
      const fits = !asked || (unknown ? unknownOf[at] === unknown : asked === "*" ? group > 0 : query.groups[group] === asked);
      return fits && (!name || named(text[i]).toLowerCase().includes(name));
    });
  };
  const filter = () => {
    const found = labels.map(wanted), all = !only.value && !find.value.trim();
    const n = found.reduce((sum, one) => sum + (one ? one.length : 0), 0);
    Plotly.restyle(cells, { selectedpoints: found, unselected: found.map(() => ({ marker: { opacity: 0.04 } })) }, labels);
    Plotly.restyle(cells, { opacity: all ? 1 : 0.3 }, kind("reference"));
    // Not by visible, which would bring back traces that were hidden in the legend.
    Plotly.restyle(cells, { opacity: all ? 1 : 0 }, kind("rings"));
    chosen("shown").textContent = all ? "" : n === 1 ? "1 cell" : n ? `${n.toLocaleString("en")} cells` : "no such cell";
    if (!all && n === 1) {
      const trace = found.findIndex((one) => one.length), i = found[trace][0], data = cells.data[labels[trace]];
      tell({ customdata: details(labels[trace])[i], curveNumber: labels[trace], text: data.text[i] });
    }
  };
  const paint = () => {
    const which = colour.value;
    if (which === "label") {
      Plotly.restyle(cells, { "marker.color": plain, "marker.showscale": false }, labels);
      return;
    }
    const values = labels.map((i) => Array.from(details(i), (one) => one[Number(which)]));
    const known = values.flat().filter(Number.isFinite).sort((a, b) => a - b);
    const at = (share) => known[Math.floor(share * (known.length - 1))] ?? 0;
    const [low, high] = which < 2 ? [0, 1] : [at(0), at(0.99)];
    Plotly.restyle(cells, {
      "marker.color": values, "marker.colorscale": "Cividis", "marker.cmin": low, "marker.cmax": high,
      "marker.showscale": labels.map((_, i) => i === 0), "marker.colorbar.thickness": 12,
    }, labels);
  };

  // The doubtful cells as a table.
  // A spreadsheet would run what begins as a formula does: an apostrophe says that it is text.
  const command = (text) => /^'*[=+@\t\r-]./s.test(text) && !/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text);
  const quoted = (value) => `"${command(String(value)) ? "'" : ""}${String(value).replaceAll('"', '""')}"`;
  const save = () => {
    const rows = [["cell", "label", "doubt", "confidence", "votes", "runner_up", "distance", "novelty", "beyond_its_label"]];
    for (const trace of labels) {
      details(trace).forEach(([confidence, votes, distance, novelty, at], i) => {
        if (!groupOf[at]) return;
        const said = [query.groups[groupOf[at]].split(", ").pop(), number(confidence), number(votes), query.labels[second[at]]];
        const far = [number(distance, 3), number(novelty), genesOf(at).join(" ")];
        rows.push([named(cells.data[trace].text[i]), named(cells.data[trace].name), ...said, ...far]);
      });
    }
    const text = rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = "doubtful.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  draw(cells, "map").then(() => {
    cells.on("plotly_hover", (event) => tell(event.points[0]));
    cells.on("plotly_click", (event) => tell(event.points[0]));
    only.addEventListener("change", filter);
    find.addEventListener("input", filter);
    colour.addEventListener("change", paint);
    chosen("list")?.addEventListener("click", save);
    for (const button of document.querySelectorAll(".show")) {
      button.addEventListener("click", (event) => {
        event.preventDefault();
        const { group, unknown } = button.dataset;
        if (unknown) only.querySelector(`[data-unknown="${unknown}"]`).selected = true;
        else only.value = group;
        filter();
        document.getElementById("map").scrollIntoView();
      });
    }
    root.dataset.ready = "yes";
  });
})();
