/* The page of a comparison: tables, lines by uPlot, and what is no line chart. All text is set as text, never as markup:
   it may come from files that anyone wrote. Figures are drawn anew when the theme, the width or the data change. */
(() => {
"use strict";

const PALETTES = {
  light: ["#0072B2", "#D55E00", "#009E73", "#B8578F", "#B97900", "#2C8FC4", "#000000"],
  dark: ["#58A6E8", "#F08A3C", "#2FC79A", "#E79AC6", "#F0B429", "#9AD7F7", "#FFFFFF"],
};
const DASHES = [[], [8, 5], [2, 4], [9, 4, 2, 4]];
const GROUND = { light: [[247, 250, 252], [96, 130, 170]], dark: [[30, 37, 46], [92, 124, 160]] };
const MARKS = { minimum: "★", saddle: "✕", maximum: "▲", degenerate: "◆" };
const LIVE_MS = 2000;
const SHOWN_FIRST = 8;  // lines; more at once are no picture

let data = JSON.parse(document.getElementById("data").textContent);
const state = { theme: remembered("theme") || "auto", filter: "", sorts: {}, hidden: {}, views: {}, printing: false };
let drawings = [];   // what is drawn anew: functions without arguments
let listeners = [];  // who wants to know of another filter

// words -------------------------------------------------------------------------------------------------------------

function say(phrase, ...parts) {
  const known = (data.words || {})[phrase] || phrase;
  return parts.reduce((text, part, i) => text.replaceAll(`{${i}}`, String(part)), known);
}

function short(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
  return String(+value.toPrecision(4));
}

// elements ----------------------------------------------------------------------------------------------------------

function h(name, given, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(given || {})) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function svg(name, given, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(given || {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function remembered(key) {
  try { return localStorage.getItem(`optbench.${key}`); } catch { return null; }
}

function remember(key, value) {
  try { localStorage.setItem(`optbench.${key}`, value); } catch { /* a page opened from disk may have no storage */ }
}

// theme -------------------------------------------------------------------------------------------------------------

const wantsDark = matchMedia("(prefers-color-scheme: dark)");

function theme() {
  if (state.printing) return "light";
  return state.theme === "auto" ? (wantsDark.matches ? "dark" : "light") : state.theme;
}

function applyTheme() {
  document.documentElement.dataset.theme = theme();
}

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/* Colour and dash of a line: of a configuration the same in all figures, of other lines the same in all figures of the
   same lines, whatever their order. */
function look(label, among = []) {
  const known = data.colours.indexOf(label);
  const place = known >= 0 ? known : freePlace(label, among);
  const palette = PALETTES[theme()];
  return { colour: palette[place % palette.length], dash: DASHES[Math.floor(place / palette.length) % DASHES.length] };
}

/* The place of a line that is of no configuration: one that no configuration of its figure has. */
function freePlace(label, among) {
  const taken = new Set(among.map((one) => data.colours.indexOf(one)));
  let place = -1;
  for (const other of [...among].sort()) {
    if (data.colours.includes(other)) continue;
    do place++; while (taken.has(place));
    if (other === label) break;
  }
  return Math.max(0, place);
}

function redraw() {
  applyTheme();
  for (const draw of drawings) draw();
}

// the rule of a column, on hover and on focus -----------------------------------------------------------------------

const tip = document.getElementById("tip");

function showTip(target, text) {
  tip.textContent = text;
  tip.hidden = false;
  const box = target.getBoundingClientRect();
  const left = Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(4, left) + scrollX}px`;
  const below = box.bottom + tip.offsetHeight + 8 < innerHeight;
  tip.style.top = `${(below ? box.bottom + 4 : box.top - tip.offsetHeight - 4) + scrollY}px`;
}

function hideTip() {
  tip.hidden = true;
}

// tables ------------------------------------------------------------------------------------------------------------

function matches(text) {
  const lower = text.toLowerCase();
  return state.filter.toLowerCase().split(/\s+/).every((word) => lower.includes(word));
}

function order(a, b, column, down) {
  const [x, y] = [a.cells[column], b.cells[column]];
  const numbers = x.v !== null || y.v !== null;
  if (!numbers) return (down ? -1 : 1) * x.t.localeCompare(y.t, undefined, { numeric: true });
  if (x.v === null || y.v === null) return (x.v === null) - (y.v === null);  // what has none comes last
  return (down ? -1 : 1) * (Number(x.v) - Number(y.v) || 0);
}

function table(given, key) {
  const body = h("tbody");
  const rows = given.rows.map((row) => ({ ...row, element: tableRow(row, given.head) }));
  const heads = given.head.map((column, place) => headCell(column, place, key, arrange));
  const count = h("span", { role: "status", class: "dim" });

  function arrange() {
    const [column, down] = state.sorts[key] || [null, false];
    const sorted = column === null ? rows : [...rows].sort((a, b) => order(a, b, column, down));
    const shown = sorted.filter((row) => matches(row.cells.map((cell) => cell.t).join(" ")));
    body.replaceChildren(...shown.map((row) => row.element));
    heads.forEach((cell, place) =>
      cell.setAttribute("aria-sort", place !== column ? "none" : down ? "descending" : "ascending"));
    count.textContent = shown.length < rows.length ? " · " + say("{0} of {1} rows", shown.length, rows.length) : "";
  }

  listeners.push(arrange);
  arrange();
  const whole = h("table", {}, h("caption", {}, given.title, count), h("thead", {}, h("tr", {}, ...heads)), body);
  const framed = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": given.title }, whole);
  return h("div", { "data-table": given.id }, framed, notes(given.notes));
}

function headCell(column, place, key, arrange) {
  const rule = column.rule;
  const id = `${key}-${place}`;
  const sort = () => {
    const [now, down] = state.sorts[key] || [null, false];
    state.sorts[key] = now !== place ? [place, false] : down ? [null, false] : [place, true];
    arrange();
  };
  const button = h("button", {
    type: "button", id, onclick: sort, "aria-describedby": rule ? `${id}-rule` : null,
    onmouseenter: () => rule && showTip(button, rule), onmouseleave: hideTip,
    onfocus: () => rule && showTip(button, rule), onblur: hideTip,
  }, column.title);
  const hidden = rule ? h("span", { class: "sr", id: `${id}-rule` }, rule) : null;
  return h("th", { scope: "col", class: column.number ? "number" : null, "data-column": column.name }, button, hidden);
}

function tableRow(row, head) {
  const cells = row.cells.map((cell, place) => {
    const mark = place === 0 && row.mark ? `${row.mark}\u00a0` : "";
    if (place === 0) return h("th", { scope: "row" }, mark + cell.t);
    return h("td", { class: head[place].number ? "number" : "words", "data-column": head[place].name }, cell.t);
  });
  return h("tr", { class: row.mark === "*" ? "best" : null }, ...cells);
}

function notes(lines) {
  return lines && lines.length ? h("ul", { class: "notes" }, ...lines.map((line) => h("li", {}, line))) : null;
}

// legends -----------------------------------------------------------------------------------------------------------

function legend(key, labels, changed, pointed) {
  const first = Object.fromEntries(labels.slice(SHOWN_FIRST).map((label) => [label, "at first"]));
  const hidden = (state.hidden[key] = state.hidden[key] || first);
  const isHidden = (label) => hidden[label] === true || (hidden[label] === "at first" && state.filter === "");
  const isShown = (label) => !isHidden(label) && matches(label);
  const keys = new Map(labels.map((label, place) => {
    const swatch = svg("svg", { width: 26, height: 10, "aria-hidden": "true" });
    const value = h("span", { class: "value" });
    const press = () => { hidden[label] = !isHidden(label); refresh(); changed(); };
    const button = h("button", {
      type: "button", class: "key", id: `${key}-key-${place}`, onclick: press,
      onmouseenter: () => pointed(label), onmouseleave: () => pointed(null),
      onfocus: () => pointed(label), onblur: () => pointed(null),
    }, swatch, h("span", {}, label), value);
    return [label, { button, swatch, value }];
  }));
  const refresh = () => {
    for (const [label, { button, swatch }] of keys) {
      const { colour, dash } = look(label, labels);
      button.setAttribute("aria-pressed", String(!isHidden(label)));
      button.hidden = !matches(label);
      swatch.replaceChildren(svg("line", { x1: 1, x2: 25, y1: 5, y2: 5, stroke: colour, "stroke-width": 2.5,
        "stroke-dasharray": dash.map((part) => part / 1.5).join(" ") }));
    }
  };
  const all = (shown) => { for (const label of labels) hidden[label] = !shown; refresh(); changed(); };
  const few = labels.length > SHOWN_FIRST ? [h("span", { class: "dim" }, say("the best {0} are shown at first", SHOWN_FIRST))] : [];
  const both = labels.length > 2 ? [...few,
    h("button", { type: "button", class: "all", onclick: () => all(true) }, say("all")),
    h("button", { type: "button", class: "all", onclick: () => all(false) }, say("none")),
  ] : [];
  listeners.push(() => { refresh(); changed(); });
  const element = h("div", { class: "keys", role: "group", "aria-label": say("what is drawn") }, ...both,
    ...[...keys.values()].map(({ button }) => button));
  return { element, refresh, isShown, value: (label, text) => { keys.get(label).value.textContent = text; } };
}

// line charts -------------------------------------------------------------------------------------------------------

function choice(title, id, options, chosen, changed) {
  const select = h("select", { id, onchange: () => changed(select.value) },
    ...options.map((option) => h("option", { value: option, selected: option === chosen }, option)));
  return h("label", {}, title, select);
}

function tick(title, id, on, changed) {
  const box = h("input", { type: "checkbox", id, onchange: () => changed(box.checked) });
  box.checked = on;
  return h("label", {}, box, title);
}

function distinct(values) {
  return [...new Set(values)];
}

function linesFigure(figure, key) {
  const views = figure.views;
  const chosen = (state.views[key] = state.views[key] || { what: views[0].what, over: views[0].over });
  const controls = h("div", { class: "controls" });
  const holder = h("div", { class: "chart", tabindex: 0, role: "group", "aria-label":
    `${figure.title}. ${say("Arrow keys read values off; the table below has them too.")}` });
  const read = h("output", { class: "read", "aria-live": "polite" });
  const values = h("details", {}, h("summary", {}, say("Last values as a table")));
  const labels = distinct(views.flatMap((view) => view.lines.map((line) => line.label)));
  const keys = legend(key, labels, draw, point);
  let plot = null, series = [];

  function view() {
    return views.find((one) => one.what === chosen.what && one.over === chosen.over)
      || views.find((one) => one.what === chosen.what) || views[0];
  }

  function control() {
    const now = view();
    const whats = distinct(views.map((one) => one.what));
    const overs = distinct(views.filter((one) => one.what === now.what).map((one) => one.over));
    const set = (name) => (value) => { chosen[name] = value; if (name !== "xlog") delete chosen.ylog; control(); draw(); };
    const logs = { x: chosen.xlog ?? Boolean(now.x && now.x.log), y: chosen.ylog ?? now.y.log };
    const focused = document.activeElement && document.activeElement.id;
    controls.replaceChildren(...[
      whats.length > 1 ? choice(say("shown"), `${key}-what`, whats, now.what, set("what")) : null,
      overs.length > 1 ? choice(say("over"), `${key}-over`, overs, now.over, set("over")) : null,
      tick(say("log x"), `${key}-xlog`, logs.x, (on) => { chosen.xlog = on; draw(); }),
      tick(say("log y"), `${key}-ylog`, logs.y, (on) => { chosen.ylog = on; draw(); }),
      h("button", { type: "button", id: `${key}-whole`, onclick: draw }, say("whole range")),
    ].filter(Boolean));
    if (focused && focused.startsWith(key)) document.getElementById(focused)?.focus();
  }

  function draw() {
    const now = view();
    const logs = { x: chosen.xlog ?? Boolean(now.x && now.x.log), y: chosen.ylog ?? now.y.log };
    const shown = now.lines.filter((line) => keys.isShown(line.label));
    keys.refresh();
    if (plot) plot.destroy();
    plot = null;
    holder.replaceChildren();
    const made = chart(now, shown, logs, holder, labels, (x) => tell(now, x));
    [plot, series] = [made.plot, made.series];
    for (const label of labels) keys.value(label, "");
    read.textContent = "";
    values.replaceChildren(values.firstChild, lastValues(now, shown));
  }

  function tell(now, x) {
    const shown = now.lines.filter((line) => keys.isShown(line.label));
    for (const line of shown) keys.value(line.label, x === null ? "" : short(valueAt(line, x)));
    read.textContent = x === null ? "" : `${now.over} ${short(x)}`;
    return shown;
  }

  function point(label) {
    if (plot) plot.setSeries(label === null ? null : series.indexOf(label) + 1, { focus: label !== null });
  }

  let at = -1;
  holder.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 20, PageUp: -20 }[event.key];
    if (!plot || (!step && event.key !== "Home" && event.key !== "End")) return;
    event.preventDefault();
    const xs = plot.data[0];
    at = event.key === "Home" ? 0 : event.key === "End" ? xs.length - 1 : Math.min(xs.length - 1, Math.max(0, at + step));
    plot.setCursor({ left: plot.valToPos(xs[at], "x"), top: 5 }, false);
    const shown = tell(view(), xs[at]);
    read.textContent += `: ${shown.map((line) => `${line.label} ${short(valueAt(line, xs[at]))}`).join("; ")}`;
  });

  control();
  drawings.push(draw);
  return h("figure", { "data-figure": figure.kind }, h("h3", {}, figure.title), controls, holder, read, keys.element,
    values, notes(figure.notes));
}

function valueAt(line, x) {
  let low = 0, high = line.x.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (line.x[middle] <= x * (1 + 1e-9)) low = middle + 1; else high = middle;
  }
  return low ? line.y[low - 1] : null;
}

function lastValues(view, shown) {
  const rows = shown.map((line) => {
    const last = line.x.length - 1;
    const span = line.low && line.low[last] !== null ? `[${short(line.low[last])}, ${short(line.high[last])}]` : "";
    return h("tr", {}, h("th", { scope: "row" }, line.label), h("td", { class: "number" }, short(line.x[last])),
      h("td", { class: "number" }, short(line.y[last])), h("td", { class: "number" }, span));
  });
  const head = [say("line"), view.over, view.what, say("interval")].map((text, i) =>
    h("th", { scope: "col", class: i ? "number" : null }, text));
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": say("Last values as a table") },
    h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows)));
}

/* One chart: a series for each line, two more without a stroke for its band, one more for what is dotted. */
function chart(view, shown, logs, holder, labels, moved) {
  const styles = [], bands = [], tables = [], series = [];
  const paths = view.stepped ? uPlot.paths.stepped({ align: 1 }) : undefined;
  for (const line of shown) {
    const kept = line.x.map((x, i) => i).filter((i) => line.x[i] !== null && (!logs.x || line.x[i] > 0));
    const column = (values) => kept.map((i) => (values[i] === null || (logs.y && values[i] <= 0) ? null : values[i]));
    const { colour, dash } = look(line.label, labels);
    const few = kept.length <= 40 && !view.stepped;
    const parts = [kept.map((i) => line.x[i]), column(line.y)];
    styles.push({ label: line.label, stroke: colour, width: 2, dash, paths, points: { show: few, size: 5, fill: colour } });
    series.push(line.label);
    const least = Math.min(...line.y.filter((y) => y !== null && y > 0));
    if (line.low && (!logs.y || Number.isFinite(least))) {
      const floor = (values) => kept.map((i) => (values[i] === null ? null : logs.y && values[i] <= 0 ? least * 1e-3 : values[i]));
      parts.push(floor(line.high), floor(line.low));
      const bare = { stroke: null, width: 0, points: { show: false }, paths };
      styles.push({ ...bare, label: "" }, { ...bare, label: "" });
      series.push(line.label, line.label);
      bands.push({ series: [styles.length - 1, styles.length], fill: colour + (shown.length > 3 ? "1c" : "2e") });
    }
    if (line.dotted) {
      parts.push(column(line.dotted));
      styles.push({ label: "", stroke: colour, width: 1.5, dash: [2, 4], points: { show: false } });
      series.push(line.label);
    }
    tables.push(parts);
  }
  if (!tables.length || !tables.some((parts) => parts[0].length)) {
    holder.append(h("p", { class: "none" }, say("nothing to draw: all lines are hidden, or none has such a value")));
    return { plot: null, series: [] };
  }
  const joined = uPlot.join(tables, tables.map((parts) => parts.map(() => 1)));
  const plot = new uPlot(options(view, logs, holder, styles, bands, moved), joined, holder);
  return { plot, series };
}

function options(view, logs, holder, styles, bands, moved) {
  const axis = (title, log) => ({
    stroke: css("--dim"), grid: { stroke: css("--grid"), width: 1 }, ticks: { stroke: css("--grid"), width: 1 },
    label: title || undefined, labelSize: title ? 20 : 0, labelFont: "13px system-ui, sans-serif", font: "12px system-ui, sans-serif",
    values: (plot, splits) => splits.map((value) => (value === null ? "" : short(value))),
    ...(log ? { splits: marks, filter: (plot, splits) => splits } : {}),
  });
  const width = Math.max(240, holder.clientWidth), height = Math.round(Math.min(360, Math.max(250, width * 0.5)));
  const limits = view.y.limits;
  const range = limits && logs.y === view.y.log ? () => limits : undefined;
  return {
    width, height, legend: { show: false },
    scales: { x: { time: false, distr: logs.x ? 3 : 1, range: ends }, y: { distr: logs.y ? 3 : 1, ...(range ? { range } : {}) } },
    axes: [
      { ...axis(view.over, logs.x), space: 60, size: 32, ...(view.x && view.x.whole ? { incrs: [1, 2, 5, 10, 20, 50, 100] } : {}) },
      { ...axis(view.what.length * 7 < height - 60 ? view.what : "", logs.y), size: 58, labelGap: 4 },
    ],
    cursor: { focus: { prox: 24 }, drag: { x: true, y: false } }, focus: { alpha: 0.3 },
    series: [{}, ...styles], bands,
    hooks: { setCursor: [(plot) => moved(plot.cursor.left >= 0 ? plot.posToVal(plot.cursor.left, "x") : null)] },
  };
}

/* The horizontal axis ends where the data do. */
function ends(plot, low, high) {
  return low < high ? [low, high] : [low - Math.abs(low) / 2 - 1e-9, high + Math.abs(high) / 2 + 1e-9];
}

/* Of a logarithmic axis the powers of ten, as many as there is room for; where there are few, twice and five times them.
   uPlot's own marks end at 1e-16 and 1e16. */
function marks(plot, which, low, high) {
  const room = which === 0 ? plot.bbox.width / devicePixelRatio / 64 : plot.bbox.height / devicePixelRatio / 26;
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const every = Math.max(1, Math.ceil((last - first) / Math.max(room, 1)));
  const digits = last - first > 2 ? [1] : [1, 2, 5];
  const found = [];
  for (let power = Math.ceil(first / every) * every; power <= last; power += every) {
    for (const digit of digits) {
      const value = Number(`${digit}e${power}`);
      if (value >= low && value <= high) found.push(value);
    }
  }
  return found.length > 1 ? found : [low, Math.sqrt(low * high), high];
}

// average ranks -----------------------------------------------------------------------------------------------------

function ranksFigure(figure) {
  const holder = h("div");
  const count = figure.labels.length;
  const told = figure.labels.map((label, i) => `${label} ${figure.ranks[i].toFixed(2)}`).join(", ");
  drawings.push(() => {
    const width = Math.max(280, holder.clientWidth), row = 24, top = 62;
    const names = Math.min(width * 0.5, 12 + 7.2 * Math.max(...figure.labels.map((label) => label.length)));
    const right = width - 14 - 10 * Math.max(1, figure.cliques.length);
    const most = Math.max(count, 1 + figure.difference);
    const x = (rank) => names + 10 + ((rank - 1) / Math.max(most - 1, 1e-9)) * (right - names - 20);
    const y = (i) => top + row * (i + 0.5);
    const drawn = svg("svg", { width, height: top + row * count + 8, role: "img", "aria-label": `${figure.title}: ${told}` });
    const line = (x1, y1, x2, y2, given) => drawn.append(svg("line", { x1, y1, x2, y2, ...given }));
    const text = (words, at, height, given) => drawn.append(svg("text", { x: at, y: height, ...given }, words));
    text(say("critical difference {0}", figure.difference.toFixed(2)), x(1), 14);
    line(x(1), 22, x(1 + figure.difference), 22, { class: "axis", "stroke-width": 3 });
    for (let rank = 1; rank <= count; rank += Math.ceil(count / 12)) {
      text(String(rank), x(rank), top - 12, { "text-anchor": "middle" });
      line(x(rank), top - 6, x(rank), top + row * count, { stroke: css("--grid") });
    }
    figure.labels.forEach((label, i) => {
      const { colour } = look(label);
      const room = Math.floor(names / 7.2);
      text(label.length > room ? label.slice(0, room - 1) + "…" : label, 0, y(i) + 4);
      line(x(1), y(i), x(figure.ranks[i]), y(i), { stroke: colour, "stroke-width": 2 });
      drawn.append(svg("circle", { cx: x(figure.ranks[i]), cy: y(i), r: 5, fill: colour }));
      text(figure.ranks[i].toFixed(2), x(figure.ranks[i]) + 9, y(i) + 4);
    });
    figure.cliques.forEach((members, i) => line(right + 6 + 10 * i, y(Math.min(...members)) - 9, right + 6 + 10 * i,
      y(Math.max(...members)) + 9, { class: "clique" }));
    holder.replaceChildren(drawn);
  });
  return h("figure", { "data-figure": figure.kind }, h("h3", {}, figure.title), holder, notes(figure.notes));
}

// paths over a surface ----------------------------------------------------------------------------------------------

function heightsOf(figure) {
  const bytes = atob(figure.heights);
  const found = new Float32Array(bytes.length / 2);
  for (let i = 0; i < found.length; i++) found[i] = (bytes.charCodeAt(2 * i) + 256 * bytes.charCodeAt(2 * i + 1)) / 65535;
  return found;
}

function groundOf(figure, heights, colours) {
  const [nx, ny] = figure.size;
  const canvas = h("canvas", { width: nx, height: ny });
  const image = new ImageData(nx, ny);
  for (let j = 0; j < ny; j++) {
    for (let i = 0; i < nx; i++) {
      const share = 1 - heights[j * nx + i], at = 4 * ((ny - 1 - j) * nx + i);
      for (let k = 0; k < 3; k++) image.data[at + k] = colours[0][k] + share * (colours[1][k] - colours[0][k]);
      image.data[at + 3] = 255;
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/* Marching squares: of each cell the lines on which the height is `level`, in cells. */
function contour(heights, nx, ny, level, segment) {
  const cross = (a, b) => (level - a) / (b - a);
  for (let j = 0; j + 1 < ny; j++) {
    for (let i = 0; i + 1 < nx; i++) {
      const [a, b] = [heights[j * nx + i], heights[j * nx + i + 1]];
      const [d, c] = [heights[(j + 1) * nx + i], heights[(j + 1) * nx + i + 1]];
      const ends = [];
      if (a < level !== b < level) ends.push([i + cross(a, b), j]);
      if (b < level !== c < level) ends.push([i + 1, j + cross(b, c)]);
      if (d < level !== c < level) ends.push([i + cross(d, c), j + 1]);
      if (a < level !== d < level) ends.push([i, j + cross(a, d)]);
      for (let k = 0; k + 1 < ends.length; k += 2) segment(ends[k], ends[k + 1]);
    }
  }
}

function pathsFigure(figure, key) {
  const heights = heightsOf(figure);
  const [nx, ny] = figure.size, [[x0, x1], [y0, y1]] = figure.box;
  const longest = Math.max(1, ...figure.paths.map((path) => path.step[path.step.length - 1]));
  const canvas = h("canvas", { role: "img", "aria-label": `${figure.title}. ${figure.paths.map((path) => path.label).join(", ")}` });
  const holder = h("div", { class: "chart" }, canvas);
  const read = h("output", { class: "read" });
  const slider = h("input", { type: "range", id: `${key}-time`, min: 0, max: 1000, value: 1000, "aria-label": say("step"), oninput: () => { stop(); draw(); } });
  const play = h("button", { type: "button", id: `${key}-play`, onclick: () => (timer ? stop() : start()) }, say("play"));
  const keys = legend(key, figure.paths.map((path) => path.label), draw, (label) => { pointed = label; draw(); });
  let timer = null, pointed = null, ground = null, began = 0;

  const step = () => Math.round(Math.exp((slider.value / 1000) * Math.log(longest + 1)) - 1);  // the first steps tell most
  function start() {
    if (Number(slider.value) >= 1000) slider.value = 0;
    began = performance.now() - Number(slider.value) * 8;
    play.textContent = say("pause");
    timer = requestAnimationFrame(frame);
  }
  function frame() {
    slider.value = Math.min(1000, (performance.now() - began) / 8);
    draw();
    if (Number(slider.value) >= 1000) stop(); else timer = requestAnimationFrame(frame);
  }
  function stop() {
    cancelAnimationFrame(timer);
    timer = null;
    play.textContent = say("play");
  }

  function draw() {
    keys.refresh();
    const width = Math.max(240, Math.min(holder.clientWidth, 760));
    const height = Math.round(width * Math.min(0.85, Math.max(0.5, (y1 - y0) / (x1 - x0))));
    const scale = devicePixelRatio || 1;
    Object.assign(canvas, { width: width * scale, height: height * scale });
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const px = (x) => ((x - x0) / (x1 - x0)) * width, py = (y) => height - ((y - y0) / (y1 - y0)) * height;
    if (!ground || ground.theme !== theme()) ground = { theme: theme(), image: groundOf(figure, heights, GROUND[theme()]) };
    pen.drawImage(ground.image, 0, 0, width, height);
    pen.strokeStyle = css("--dim");
    pen.globalAlpha = 0.45;
    pen.lineWidth = 0.7;
    pen.beginPath();
    for (let level = 1; level < 16; level++) {
      contour(heights, nx, ny, level / 16, (a, b) => {
        pen.moveTo((a[0] / (nx - 1)) * width, height - (a[1] / (ny - 1)) * height);
        pen.lineTo((b[0] / (nx - 1)) * width, height - (b[1] / (ny - 1)) * height);
      });
    }
    pen.stroke();
    pen.globalAlpha = 1;
    const now = step();
    for (const path of figure.paths) if (keys.isShown(path.label)) drawPath(pen, path, now, px, py, pointed !== null && pointed !== path.label);
    for (const spot of figure.spots) drawSpot(pen, spot, px, py);
    read.textContent = `${say("step")} ${now}`;
  }

  function drawPath(pen, path, now, px, py, faint) {
    const { colour } = look(path.label);
    let last = path.step.findIndex((s) => s > now) - 1;
    if (last < -1) last = path.step.length - 1;
    pen.globalAlpha = faint ? 0.2 : 1;
    pen.lineJoin = "round";
    for (const [stroke, width] of [[css("--back"), 4], [colour, 2]]) {
      pen.strokeStyle = stroke;
      pen.lineWidth = width;
      pen.beginPath();
      for (let i = 0; i <= last; i++) if (path.x[i] !== null && path.y[i] !== null) pen.lineTo(px(path.x[i]), py(path.y[i]));
      pen.stroke();
    }
    pen.fillStyle = colour;
    pen.beginPath();
    pen.arc(px(path.x[0]), py(path.y[0]), 4, 0, 7);
    pen.fill();
    if (last >= 0 && path.x[last] !== null) pen.fillRect(px(path.x[last]) - 5, py(path.y[last]) - 5, 10, 10);
    pen.globalAlpha = 1;
    keys.value(path.label, last >= 0 ? short(path.loss[last]) : "");
  }

  function drawSpot(pen, spot, px, py) {
    pen.font = "18px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.lineWidth = 3;
    pen.strokeStyle = css("--back");
    pen.fillStyle = css("--front");
    pen.strokeText(MARKS[spot.type] || "?", px(spot.x[0]), py(spot.x[1]));
    pen.fillText(MARKS[spot.type] || "?", px(spot.x[0]), py(spot.x[1]));
  }

  drawings.push(draw);
  const spots = figure.spots.length ? spotList(figure.spots) : null;
  return h("figure", { "data-figure": figure.kind }, h("h3", {}, figure.title), holder,
    h("div", { class: "controls" }, play, slider, read), keys.element, spots, notes(figure.notes));
}

function spotList(spots) {
  const names = { minimum: say("minimum"), saddle: say("saddle"), maximum: say("maximum"), degenerate: say("degenerate") };
  const counts = Object.keys(names).map((type) => [type, spots.filter((spot) => spot.type === type).length])
    .filter(([, count]) => count).map(([type, count]) => `${MARKS[type]} ${names[type]} (${count})`);
  const basis = (spot) => (spot.proved ? say("proved") : say("not proved"));
  const items = spots.map((spot) => h("li", {}, `${MARKS[spot.type]} ${names[spot.type]} (${spot.x.map(short).join(", ")}), ${basis(spot)}`));
  return h("details", {}, h("summary", {}, `${say("critical points")}: ${counts.join(" · ")}`), h("ul", { class: "notes" }, ...items));
}

// confusion matrices ------------------------------------------------------------------------------------------------

function confusionFigure(figure) {
  const parts = figure.matrices.flatMap((one) => {
    const list = worstList(one);
    if (!one.counts) return [h("p", {}, one.label), list];
    const matrix = h("table", { class: "matrix" });
    const total = one.counts.flat().reduce((a, b) => a + b, 0);
    const right = one.counts.reduce((sum, row, i) => sum + row[i], 0);
    const head = [say("true class"), ...one.classes, say("right, %")].map((text) => h("th", { scope: "col" }, text));
    const cells = [];
    const rows = one.counts.map((row, i) => {
      const sum = row.reduce((a, b) => a + b, 0);
      const own = row.map((n, j) => {
        const cell = h("td", {}, n ? String(n) : "");
        cells.push([cell, sum ? n / sum : 0, i === j]);
        return cell;
      });
      return h("tr", {}, h("th", { scope: "row" }, one.classes[i]), ...own,
        h("td", { class: "wide" }, sum ? ((100 * row[i]) / sum).toFixed(1) : "–"));
    });
    const percent = total ? ((100 * right) / total).toFixed(1) : "–";
    const title = `${one.label}: ${say("{0} examples, {1} % right; columns: the class that was said", total, percent)}`;
    matrix.append(h("caption", {}, title), h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows));
    drawings.push(() => cells.forEach(([cell, share, diagonal]) => {
      const strength = Math.round(70 * share);
      cell.style.background = `color-mix(in srgb, ${diagonal ? "#3b8ee0" : "#e0703b"} ${strength}%, transparent)`;
    }));
    return [h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title }, matrix), list];
  });
  return h("figure", { "data-figure": figure.kind }, h("h3", {}, figure.title), ...parts, notes(figure.notes));
}

/* What it is most wrong about, with pictures where there are any. */
function worstList(one) {
  if (!one.worst.length) return null;
  const items = one.worst.map((image) => {
    const said = image.share === null ? say("wanted {0}, said {1}", image.true, image.said)
      : say("true {0}, said {1} ({2} %)", image.true, image.said, (100 * image.share).toFixed(1));
    const loss = image.loss === null ? null : h("span", {}, `${say("loss")} ${short(image.loss)}`);
    const picture = image.png ? h("img", { src: `data:image/png;base64,${image.png}`, alt: say("picture of {0}", image.image) }) : null;
    return h("li", {}, picture, h("b", {}, image.image), h("span", {}, said), loss);
  });
  const title = one.wrong === null ? say("the examples with the largest loss") : say("the worst of {0} that are wrong", one.wrong);
  const seen = one.worst.some((image) => image.png);
  return h("details", seen || !one.counts ? { open: true } : {}, h("summary", {}, title), h("ol", { class: seen ? "worst seen" : "worst" }, ...items));
}

// the page ----------------------------------------------------------------------------------------------------------

function drawFigure(figure, key) {
  if (figure.kind === "lines") return linesFigure(figure, key);
  if (figure.kind === "ranks") return ranksFigure(figure);
  if (figure.kind === "paths") return pathsFigure(figure, key);
  if (figure.kind === "confusion") return confusionFigure(figure);
  if (figure.kind === "table") return table(figure.table, key);
  const command = figure.command ? h("pre", {}, figure.command) : null;
  return h("div", { "data-figure": "none" }, h("h3", {}, figure.title), h("p", { class: "none" }, figure.why), command);
}

function toolbar() {
  const themes = { auto: say("theme: as the system"), light: say("theme: light"), dark: say("theme: dark") };
  const search = h("input", { type: "search", id: "filter", oninput: () => { state.filter = search.value; listeners.forEach((one) => one()); } });
  search.value = state.filter;
  const button = h("button", { type: "button", id: "theme", onclick: () => {
    state.theme = { auto: "light", light: "dark", dark: "auto" }[state.theme];
    remember("theme", state.theme);
    button.textContent = themes[state.theme];
    redraw();
  } }, themes[state.theme]);
  const live = data.live ? h("span", { id: "live", role: "status", class: "dim" }, say("live")) : null;
  return h("div", { class: "bar" }, h("label", {}, say("filter"), search), live, button);
}

function section(title, id, ...children) {
  return h("section", { "aria-labelledby": id }, h("h2", { id }, title), ...children);
}

function problemSection(problem, place) {
  const key = `p${place}`;
  const differs = problem.differs.length ? h("details", {}, h("summary", {}, say("what else differs: {0}", problem.differs.length)), notes(problem.differs)) : null;
  const [scores, ...others] = problem.tables.map((one, i) => table(one, `${key}-t${i}`));
  return section(problem.name, key, data.problems.length > 1 ? h("p", {}, problem.sentence) : null, scores, differs,
    ...problem.figures.map((figure, i) => drawFigure(figure, `${key}-f${i}`)), ...others);
}

function provenance() {
  const facts = data.provenance.flatMap((one) => [h("dt", {}, one.what), h("dd", {}, one.values.join("; "))]);
  const command = data.command ? [h("h3", {}, say("The command that makes this page again")), h("pre", { id: "command" }, data.command)] : [];
  return section(say("Where these numbers come from"), "provenance", h("dl", {}, ...facts), ...command);
}

function render() {
  [drawings, listeners] = [[], []];
  hideTip();
  applyTheme();
  const problems = data.problems.map(problemSection);
  const across = data.across.map((figure, i) => drawFigure(figure, `a${i}`));
  const ends = data.ends ? table(data.ends, "ends") : h("p", {}, say("All runs ended well."));
  const sections = data.problems.length === 0 ? [] : [
    ...problems,
    ...(across.length ? [section(say("Over runs, problems and settings"), "across", ...across)] : []),
    section(say("Runs that did not end well"), "ends", ends, notes([...data.unreadable, ...data.unread])),
    section(say("How to read this"), "rules", notes(data.notes)),
    provenance(),
  ];
  const links = sections.map((one) => one.firstChild).map((title) => h("a", { href: `#${title.id}` }, title.textContent));
  const verdicts = data.verdicts.map((line) => h("p", { class: "verdict" }, line));
  const warned = data.warnings.length ? h("details", { class: "warned" }, h("summary", {}, say("what to be careful about: {0}", data.warnings.length)), notes(data.warnings)) : null;
  document.getElementById("page").replaceChildren(
    h("header", {}, h("h1", {}, data.title), ...verdicts.slice(0, 12), warned), toolbar(),
    h("nav", { "aria-label": say("sections") }, ...links), h("main", {}, ...sections));
  redraw();
}

/* While runs are made: asks for a newer page, and shows it with the same order, filter and choices. */
async function follow() {
  try {
    const answer = await fetch(`${data.live}?have=${encodeURIComponent(data.stamp || "")}`, { cache: "no-store" });
    if (answer.status === 200) {
      const focused = document.activeElement && document.activeElement.id, at = scrollY;
      data = { ...(await answer.json()), live: data.live };
      document.title = `${data.title} · optbench`;
      render();
      scrollTo(0, at);
      if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    }
    document.getElementById("live").textContent = answer.ok || answer.status === 304 ? say("live") : say("the server refuses");
  } catch {
    document.getElementById("live").textContent = say("the server has ended; this is the last state");
  }
  setTimeout(follow, LIVE_MS);
}

let width = innerWidth, waiting = null;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(redraw, 150);
});
addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
addEventListener("beforeprint", () => { state.printing = true; redraw(); });
addEventListener("afterprint", () => { state.printing = false; redraw(); });
wantsDark.addEventListener("change", redraw);
render();
if (data.live) setTimeout(follow, LIVE_MS);
})();
