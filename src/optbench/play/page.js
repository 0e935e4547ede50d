// What the page shows. Every number comes from PROGRAMS, which optbench emitted from its own traces.
"use strict";
(() => {
const DATA = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const t = (text, ...values) => values.reduce((s, v) => s.replace("{}", () => v), DATA.words[text] || text);
const COLOURS = { light: ["#0072b2", "#d55e00", "#007a5a", "#a6347f", "#6b4c00", "#333399", "#b3001b", "#4d4d4d"],
  dark: ["#56b4e9", "#ff9f4a", "#3ddbb0", "#f19ac9", "#f0e442", "#b7b3ff", "#ff8f8f", "#d0d0d0"] };
const SHAPES = ["circle", "square", "triangle", "diamond", "star", "circle", "square", "triangle"];
const MARKS = { minimum: "circle", maximum: "triangle", saddle: "cross", degenerate: "diamond" };
const D = DATA.surface.domain.length; // of one coordinate the picture is the graph: its second axis is f
const [X0, X1] = DATA.surface.domain[0];
const STEPS = Math.max(...DATA.runs.map((run) => run.spec.steps));
const FOCUS = DATA.lesson ? DATA.lesson.solution.run : 0;
const recorded = () => ({ start: [...doubles(DATA.runs[0].path).slice(0, D)], k: 0, on: DATA.runs.map(() => true),
  keywords: DATA.runs.map((run) => structuredClone(run.keywords)), view: "map", basin: -1, focus: FOCUS, coordinate: 0, arrows: true });
let state = recorded(), theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light", playing = false;
let yaw = -0.7, pitch = 0.85;
const colour = (r) => COLOURS[theme][r % 8];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const short = (v) => !Number.isFinite(v) ? (Number.isNaN(v) ? "NaN" : v > 0 ? "∞" : "−∞")
  : (v !== 0 && (Math.abs(v) < 1e-3 || Math.abs(v) >= 1e5) ? String(v.toExponential(3)).replace(/\.?0+e/, "e") : String(+v.toPrecision(5))).replace("-", "−");

// what was recorded, run again -------------------------------------------------------------------------------------------
function verify() {
  let equal = 0;
  DATA.runs.forEach((run, r) => {
    const path = doubles(run.path), steps = path.length / D - 1, found = new Float64Array(path.length);
    const walk = new Walk(run.spec, PROGRAMS.runs[r], run.keywords, path.subarray(0, D), run.spec.steps);
    for (let k = 0; k <= steps; k++) {
      found.set(walk.x, D * k);
      if (k < steps) walk.advance();
    }
    const place = firstDifference(found, path), line = document.createElement("span");
    line.className = place < 0 ? "good" : "bad";
    line.textContent = place < 0 ? "✓ " + t("{} equals run {}, {} steps, bit for bit", run.label, run.id, steps)
      : "✗ " + t("{} differs from run {} at step {}", run.label, run.id, Math.floor(place / D));
    equal += place < 0;
    $("verified").append(line);
  });
  document.documentElement.dataset.verified = `${equal}/${DATA.runs.length}`;
}

// the runs ------------------------------------------------------------------------------------------------------------------
const races = DATA.runs.map(() => null);
function simulate(r) {
  const run = DATA.runs[r], n = run.spec.steps + 1;
  const walk = new Walk(run.spec, PROGRAMS.runs[r], state.keywords[r], state.start, run.spec.steps);
  const given = [], out = [], loss = new Float64Array(n), x = new Float64Array(2 * n);
  let k = 0;
  for (;; k++) {
    x[2 * k] = walk.x[0]; x[2 * k + 1] = D > 1 ? walk.x[1] : walk.loss; loss[k] = walk.loss;
    given.push(walk.given.slice()); out.push(walk.out.slice());
    if (!walk.step()) break;
  }
  races[r] = { x, loss, given, out, last: k, ended: walk.ended, place: walk.place };
}
const at = (r) => Math.min(state.k, races[r].last);

// the field --------------------------------------------------------------------------------------------------------------
const N = 128, ROWS = D > 1 ? N : 1, pair = new Float64Array(D), three = new Float64Array(1 + D);
const field = (x, y) => { pair[0] = x; if (D > 1) pair[1] = y; PROGRAMS.field(pair, three, null); return three; };
const heights = new Float64Array(N * ROWS);
for (let j = 0; j < ROWS; j++) for (let i = 0; i < N; i++) {
  const [low, high] = DATA.surface.domain[D - 1];
  heights[j * N + i] = field(X0 + (X1 - X0) * i / (N - 1), low + (high - low) * j / (N - 1))[0];
}
const finite = Float64Array.from(heights.filter(Number.isFinite)).sort();
const LOW = finite[0], HIGH = finite[finite.length - 1];
const [Y0, Y1] = D > 1 ? DATA.surface.domain[1] : [LOW - .1 * (HIGH - LOW || 1), HIGH + .1 * (HIGH - LOW || 1)];
const second = (place) => D > 1 ? place[1] : field(place[0])[0]; // of a place, on the picture's second axis
const SCALE = Math.max((finite[finite.length >> 2] - LOW), (HIGH - LOW) * 1e-6) || 1;
const grow = (v) => Math.log1p(v * 8); // of pixels alone
const TOP = grow((HIGH - LOW) / SCALE) || 1;
const tone = (f) => Number.isFinite(f) ? Math.min(1, Math.max(0, grow((f - LOW) / SCALE) / TOP)) : 1;
const tones = heights.map(tone);
const ramp = (v) => {
  const [a, b] = theme === "dark" ? [[24, 44, 62], [104, 116, 126]] : [[168, 196, 222], [250, 248, 242]];
  return a.map((c, i) => Math.round(c + (b[i] - c) * v));
};

let ground = null;
function drawGraph(g, w, h) {
  g.strokeStyle = css("--ink"); g.lineWidth = w / 300; g.beginPath();
  for (let i = 0; i < w; i++) {
    const v = field(X0 + (X1 - X0) * i / (w - 1))[0];
    if (Number.isFinite(v)) g.lineTo(i, h - (v - Y0) / (Y1 - Y0) * h);
  }
  g.stroke();
}
function paintGround(size) {
  const small = new OffscreenCanvas(N, N), pixels = new ImageData(N, N);
  for (let j = 0; j < N; j++) for (let i = 0; i < N; i++) {
    const [r, g, b] = ramp(tones[j * N + i]), p = 4 * ((N - 1 - j) * N + i);
    pixels.data.set([r, g, b, 255], p);
  }
  small.getContext("2d").putImageData(pixels, 0, 0);
  ground = new OffscreenCanvas(size, size);
  const g = ground.getContext("2d");
  g.imageSmoothingQuality = "high";
  g.drawImage(small, 0, 0, size, size);
  g.strokeStyle = theme === "dark" ? "rgba(230,238,245,.28)" : "rgba(30,50,70,.30)";
  g.lineWidth = size / 700;
  const unit = size / (N - 1);
  for (let level = 1; level < 16; level++) {
    const v = level / 16;
    g.beginPath();
    for (let j = 0; j < N - 1; j++) for (let i = 0; i < N - 1; i++) cell(g, i, j, v, unit, size);
    g.stroke();
  }
}
function cell(g, i, j, v, unit, size) {
  const a = tones[j * N + i], b = tones[j * N + i + 1], c = tones[(j + 1) * N + i + 1], d = tones[(j + 1) * N + i];
  const ends = [];
  if (a < v !== b < v) ends.push([i + (v - a) / (b - a), j]);
  if (b < v !== c < v) ends.push([i + 1, j + (v - b) / (c - b)]);
  if (d < v !== c < v) ends.push([i + (v - d) / (c - d), j + 1]);
  if (a < v !== d < v) ends.push([i, j + (v - a) / (d - a)]);
  for (let n = 0; n + 1 < ends.length; n += 2) {
    g.moveTo(ends[n][0] * unit, size - ends[n][1] * unit);
    g.lineTo(ends[n + 1][0] * unit, size - ends[n + 1][1] * unit);
  }
}

// drawing ----------------------------------------------------------------------------------------------------------------
function fitted(canvas) {
  const box = canvas.getBoundingClientRect(), ratio = Math.min(devicePixelRatio || 1, 2);
  const w = Math.max(2, Math.round((box.width - 2) * ratio)), h = Math.max(2, Math.round((box.height - 2) * ratio));
  if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
  return { g: canvas.getContext("2d"), w, h, ratio };
}
function mark(g, shape, x, y, r, fill, edge) {
  g.beginPath();
  if (shape === "circle") g.arc(x, y, r, 0, 7);
  if (shape === "square") g.rect(x - r * .9, y - r * .9, 1.8 * r, 1.8 * r);
  if (shape === "triangle") { g.moveTo(x, y - 1.2 * r); g.lineTo(x + 1.1 * r, y + .8 * r); g.lineTo(x - 1.1 * r, y + .8 * r); g.closePath(); }
  if (shape === "diamond") { g.moveTo(x, y - 1.3 * r); g.lineTo(x + 1.3 * r, y); g.lineTo(x, y + 1.3 * r); g.lineTo(x - 1.3 * r, y); g.closePath(); }
  if (shape === "star") for (let i = 0; i < 10; i++) { const a = Math.PI * (i / 5 - .5), s = i % 2 ? .6 * r : 1.4 * r; i ? g.lineTo(x + s * Math.cos(a), y + s * Math.sin(a)) : g.moveTo(x, y - s); }
  if (shape === "star") g.closePath();
  if (shape === "cross") {
    g.moveTo(x - r, y - r); g.lineTo(x + r, y + r); g.moveTo(x + r, y - r); g.lineTo(x - r, y + r);
    g.lineWidth = r * 1.1; g.strokeStyle = edge; g.stroke(); g.lineWidth = r * .6; g.strokeStyle = fill; g.stroke(); return;
  }
  g.fillStyle = fill; g.fill(); g.lineWidth = r * .3; g.strokeStyle = edge; g.stroke();
}
function arrow(g, x, y, dx, dy, stroke, ratio, label) {
  const size = Math.hypot(dx, dy);
  if (!(size > 2)) return;
  const ux = dx / size, uy = dy / size, head = 8 * ratio;
  g.strokeStyle = g.fillStyle = stroke; g.lineWidth = 2.4 * ratio;
  g.beginPath(); g.moveTo(x, y); g.lineTo(x + dx, y + dy); g.stroke();
  g.beginPath(); g.moveTo(x + dx + ux * head, y + dy + uy * head);
  g.lineTo(x + dx - uy * head * .55, y + dy + ux * head * .55); g.lineTo(x + dx + uy * head * .55, y + dy - ux * head * .55); g.fill();
  g.font = `${12 * ratio}px system-ui, sans-serif`; g.textAlign = "center"; g.textBaseline = "middle";
  const lx = x + dx + ux * 20 * ratio, ly = y + dy + uy * 20 * ratio;
  g.lineWidth = 3 * ratio; g.strokeStyle = css("--back"); g.strokeText(label, lx, ly); g.fillText(label, lx, ly);
}
// a coordinate of the gradient that update k is given, with its noise if it has any
function seen(race, k, c) {
  const given = race.given[k], noise = race.place[`noise[${c}]`];
  return field(given[0], given[1])[1 + c] + (noise === undefined ? 0 : given[noise]);
}
const SCALES = new Set(["v", "sum", "sigma", "u", "largest", "size"]);
function drawArrows(g, place, ratio) {
  const r = state.focus, race = races[r], spec = DATA.runs[r].spec, k = at(r);
  if (!state.arrows || !state.on[r]) return;
  const given = race.given[k], out = race.out[k], x = given[0], y = second(given), [px, py] = place(x, y);
  const unit = (dx, dy, most) => { // a direction on the surface, as long as that many pixels
    const far = .02 * (X1 - X0) / (Math.hypot(dx, dy) || 1), [qx, qy] = place(x + dx * far, y + dy * far), size = Math.hypot(qx - px, qy - py);
    return size > 0 && Number.isFinite(size) ? [(qx - px) / size * most, (qy - py) / size * most] : [0, 0];
  };
  let row = 0; // on a line arrows would lie on each other: each has a row of its own
  const tell = (dx, dy, stroke, label) => arrow(g, px, D > 1 ? py : py - 20 * ratio * ++row, dx, dy, stroke, ratio, label);
  const g0 = [seen(race, k, 0), D > 1 ? seen(race, k, 1) : 0], ink = css("--ink");
  tell(...unit(-g0[0], -g0[1], 58 * ratio), ink, "−g");
  spec.memories.forEach((name, j) => {
    const a = out[3 + D + D * j], b = D > 1 ? out[3 + D + D * j + 1] : 0;
    if (!SCALES.has(name)) { tell(...unit(-a, -b, 44 * ratio), colour(r), "−" + name); return; }
    const root = name === "v" || name === "sum" || name === "largest", sa = root ? Math.sqrt(Math.abs(a)) : Math.abs(a);
    const sb = root ? Math.sqrt(Math.abs(b)) : Math.abs(b), most = Math.max(sa, sb);
    if (!(most > 0) || !Number.isFinite(most) || name === "largest") return;
    const label = root ? "√" + name : name;
    tell(...unit(1, 0, sa / most * 36 * ratio), css("--quiet"), sa >= sb ? label : "");
    if (D > 1) tell(...unit(0, 1, sb / most * 36 * ratio), css("--quiet"), sb > sa ? label : "");
  });
  if (k < race.last) tell(...unit(out[3] - x, D > 1 ? out[4] - y : 0, 30 * ratio), css("--bad"), t("step"));
}
function drawPaths(g, place, ratio) {
  const edge = css("--back");
  DATA.runs.forEach((run, r) => {
    if (!state.on[r]) return;
    const { x } = races[r], k = at(r);
    for (const [width, stroke] of [[5, edge], [2.4, colour(r)]]) {
      g.lineWidth = width * ratio; g.strokeStyle = stroke; g.lineJoin = "round"; g.globalAlpha = width > 4 ? .55 : 1;
      g.beginPath();
      for (let i = 0; i <= k; i++) { const [px, py] = place(x[2 * i], x[2 * i + 1]); i ? g.lineTo(px, py) : g.moveTo(px, py); }
      g.stroke();
    }
    g.globalAlpha = 1;
  });
  DATA.runs.forEach((run, r) => {
    if (!state.on[r]) return;
    const [px, py] = place(races[r].x[2 * at(r)], races[r].x[2 * at(r) + 1]);
    mark(g, SHAPES[r], px, py, 6 * ratio, colour(r), css("--ink"));
  });
}
function drawPoints(g, place, ratio) {
  const size = Math.max(1.6, 4.6 * Math.min(1, Math.sqrt(40 / DATA.points.list.length))); // many are drawn smaller
  for (const point of DATA.points.list) {
    const [px, py] = place(point.x[0], D > 1 ? point.x[1] : point.value);
    mark(g, MARKS[point.type], px, py, size * ratio, theme === "dark" ? "#fff" : "#111", theme === "dark" ? "#000" : "#fff");
  }
}
function drawStart(g, place, ratio) {
  const [px, py] = place(state.start[0], second(state.start)), r = 8 * ratio;
  g.strokeStyle = css("--ink"); g.lineWidth = 2 * ratio; g.beginPath(); g.arc(px, py, r, 0, 7);
  g.moveTo(px - 1.7 * r, py); g.lineTo(px + 1.7 * r, py); g.moveTo(px, py - 1.7 * r); g.lineTo(px, py + 1.7 * r); g.stroke();
}
function drawMap() {
  const { g, w, h, ratio } = fitted($("map"));
  if (state.view === "solid") return drawSolid(g, w, h, ratio);
  if (D > 1 && (!ground || ground.width !== w)) paintGround(w);
  if (D > 1) g.drawImage(ground, 0, 0, w, h); else { g.fillStyle = `rgb(${ramp(.9).join()})`; g.fillRect(0, 0, w, h); }
  if (state.basin >= 0 && basins.picture) {
    g.imageSmoothingEnabled = false; g.globalAlpha = .8; g.drawImage(basins.picture, 0, 0, w, h); g.globalAlpha = 1; g.imageSmoothingEnabled = true;
  }
  if (D === 1) drawGraph(g, w, h);
  const clamp = (v) => Math.max(-1e5, Math.min(1e5, v));
  const place = (x, y) => [clamp((x - X0) / (X1 - X0) * w), clamp(h - (y - Y0) / (Y1 - Y0) * h)];
  drawPoints(g, place, ratio); drawPaths(g, place, ratio); drawStart(g, place, ratio); drawArrows(g, place, ratio);
  g.font = `${11 * ratio}px system-ui, sans-serif`; g.lineWidth = 3 * ratio; g.strokeStyle = css("--back"); g.fillStyle = css("--ink");
  const end = (text, x, y, align, base) => { g.textAlign = align; g.textBaseline = base; g.strokeText(text, x, y); g.fillText(text, x, y); };
  end(`x ${short(X0)}`, 4 * ratio, h - 3 * ratio, "left", "bottom"); end(short(X1), w - 4 * ratio, h - 3 * ratio, "right", "bottom");
  end(`${D > 1 ? "y" : "f"} ${short(Y1)}`, 4 * ratio, 4 * ratio, "left", "top");
}
function drawSolid(g, w, h, ratio) {
  const M = 44, cy = Math.cos(yaw), sy = Math.sin(yaw), cp = Math.cos(pitch), sp = Math.sin(pitch), size = w * .56;
  const raise = (x, y, z) => {
    const u = (x - X0) / (X1 - X0) - .5, v = (y - Y0) / (Y1 - Y0) - .5, a = u * cy - v * sy, b = u * sy + v * cy;
    return [w / 2 + a * size * 1.15, h * .58 - (b * sp + (z - .35) * .62 * cp) * size * 1.15, b * cp - z * sp * .5];
  };
  g.fillStyle = css("--back"); g.fillRect(0, 0, w, h);
  const corner = [], quads = [];
  for (let j = 0; j <= M; j++) for (let i = 0; i <= M; i++) {
    const x = X0 + (X1 - X0) * i / M, y = Y0 + (Y1 - Y0) * j / M, z = tone(field(x, y)[0]);
    corner.push([...raise(x, y, z), z]);
  }
  for (let j = 0; j < M; j++) for (let i = 0; i < M; i++) {
    const p = [corner[j * (M + 1) + i], corner[j * (M + 1) + i + 1], corner[(j + 1) * (M + 1) + i + 1], corner[(j + 1) * (M + 1) + i]];
    quads.push([p[0][2] + p[1][2] + p[2][2] + p[3][2], p, basinAt((i + .5) / M, (j + .5) / M)]);
  }
  quads.sort((a, b) => b[0] - a[0]);
  g.lineWidth = .5 * ratio; g.strokeStyle = theme === "dark" ? "rgba(230,238,245,.25)" : "rgba(30,50,70,.28)";
  for (const [, p, basin] of quads) {
    const own = ramp((p[0][3] + p[1][3] + p[2][3] + p[3][3]) / 4);
    g.fillStyle = `rgb(${own.map((v, c) => basin ? Math.round(.3 * v + .7 * basin[c]) : v).join()})`;
    g.beginPath(); p.forEach(([x, y], n) => n ? g.lineTo(x, y) : g.moveTo(x, y)); g.closePath(); g.fill(); g.stroke();
  }
  const place = (x, y) => {
    const cx = Math.max(X0, Math.min(X1, x)), cy2 = Math.max(Y0, Math.min(Y1, y));
    return raise(cx, cy2, tone(field(cx, cy2)[0]) + .012);
  };
  drawPoints(g, place, ratio); drawPaths(g, place, ratio); drawStart(g, place, ratio); drawArrows(g, place, ratio);
}
function drawLoss() {
  const { g, w, h, ratio } = fitted($("loss")), left = 54 * ratio, bottom = 26 * ratio, top = 10 * ratio, right = 10 * ratio;
  const least = DATA.surface.minimum, raised = (v) => v - least;
  const shown = DATA.runs.map((_, r) => r).filter((r) => state.on[r]);
  g.fillStyle = css("--back"); g.fillRect(0, 0, w, h);
  const all = shown.flatMap((r) => [...races[r].loss.subarray(0, races[r].last + 1)]).filter(Number.isFinite);
  const log = least !== null && all.every((v) => v >= least - 1e-9 * Math.max(1, Math.abs(least)));
  const text = log ? t("f above its minimum {}, logarithmic; steps to the right", short(least)) : t("f; steps to the right");
  $("loss-text").textContent = text; $("loss").setAttribute("aria-label", text);
  const value = (v) => log ? Math.max(-16, decade(raised(v))) : v;
  const ends = all.map(value);
  let low = ends.reduce((a, b) => Math.min(a, b), Infinity), high = ends.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!log && shown.length) { const cap = shown.reduce((m, r) => Math.max(m, races[r].loss[0]), -Infinity); if (Number.isFinite(cap)) high = Math.min(high, cap + 2 * Math.max(1e-12, cap - low)); }
  if (!(high > low)) { high = low + 1; } if (!Number.isFinite(low)) { low = 0; high = 1; }
  const px = (k) => left + (w - left - right) * k / STEPS, py = (v) => top + (h - top - bottom) * (1 - (Math.min(v, high + 1e9) - low) / (high - low));
  g.font = `${11 * ratio}px system-ui, sans-serif`; g.strokeStyle = css("--line"); g.fillStyle = css("--quiet"); g.lineWidth = ratio;
  const every = Math.max(1, Math.ceil((high - low) / 5)), levels = [];
  if (log) for (let v = Math.ceil(low / every) * every; v <= high; v += every) levels.push(v);
  if (levels.length < 2) { levels.length = 0; for (let n = 0; n <= 4; n++) levels.push(low + (high - low) * n / 4); }
  for (const v of levels) {
    const y = py(v);
    g.beginPath(); g.moveTo(left, y); g.lineTo(w - right, y); g.stroke();
    g.textAlign = "right"; g.textBaseline = "middle"; g.fillText(!log ? short(v) : Number.isInteger(v) ? `1e${v}` : String(+(10 ** v).toPrecision(3)), left - 5 * ratio, y);
  }
  for (let n = 0; n <= 4; n++) {
    g.textAlign = n === 4 ? "right" : "center"; g.textBaseline = "top"; g.fillText(String(Math.round(STEPS * n / 4)), px(STEPS * n / 4), h - bottom + 5 * ratio);
  }
  for (const r of shown) {
    const { loss, last } = races[r];
    for (const [until, alpha] of [[last, .28], [at(r), 1]]) {
      g.globalAlpha = alpha; g.strokeStyle = colour(r); g.lineWidth = 2.2 * ratio; g.beginPath();
      for (let k = 0; k <= until; k++) { const y = py(Number.isFinite(loss[k]) ? value(loss[k]) : high); k ? g.lineTo(px(k), y) : g.moveTo(px(k), y); }
      g.stroke();
    }
    g.globalAlpha = 1;
    mark(g, SHAPES[r], px(at(r)), py(Number.isFinite(loss[at(r)]) ? value(loss[at(r)]) : high), 4.5 * ratio, colour(r), css("--ink"));
  }
}
const decade = (v) => v > 0 ? Math.log10(v) : -16; // of pixels alone

// words of the step -------------------------------------------------------------------------------------------------------
function fillFormula() {
  const r = state.focus, run = DATA.runs[r], race = races[r], c = state.coordinate, k = at(r), { given, out, place } =
    { given: race.given[k], out: race.out[k], place: race.place };
  const g0 = seen(race, k, c), names = run.spec.memories;
  const number = (name) => {
    if (name === "x") return given[c];
    if (name === "g") return g0;
    const primed = name.endsWith("′"), j = names.indexOf(primed ? name.slice(0, -1) : name);
    if (j >= 0) return primed ? out[3 + D + D * j + c] : given[D + D * j + c];
    return name in place ? given[place[name]] : NaN;
  };
  const box = $("formula");
  box.replaceChildren();
  for (const { name, tokens } of run.formula) {
    const word = (token) => token.startsWith("$") ? (token === "$x" ? "xy"[c] : token.slice(1)) : token;
    const line = document.createElement("div"), filled = document.createElement("div");
    line.textContent = `${name === "x" ? "xy"[c] : name}′ = ${tokens.map(word).join("")}`;
    const found = name === "x" ? out[3 + c] : out[3 + D + D * names.indexOf(name) + c];
    const value = (v) => v < 0 || Object.is(v, -0) ? `(${short(v)})` : short(v);
    filled.textContent = `= ${tokens.map((token) => token.startsWith("$") ? value(number(token.slice(1))) : token).join("")} = ${short(found)}`;
    filled.className = "filled";
    box.append(line, filled);
  }
  const note = document.createElement("div");
  const { noise } = run.spec, added = noise && given[place[`noise[${c}]`]], exact = field(given[0], given[1])[1 + c];
  note.textContent = !noise ? t("g is the gradient at step {}: {}", k, short(g0))
    : t("g is the gradient at step {}, {}, and noise, {}: {} times a normal number that seed {} draws", k, short(exact), short(added), short(state.keywords[r][noise.key]), noise.seed);
  box.append(note);
}
const WORDS = { completed: "all steps made", converged: "converged", diverged: "diverged", target_reached: "target reached" };
function fillNumbers() {
  $("k").value = state.k; $("k-text").textContent = `${state.k} / ${STEPS}`;
  DATA.runs.forEach((run, r) => {
    const k = at(r), race = races[r];
    $(`l${r}`).textContent = nameOf(r);
    const place = D > 1 ? `(${short(race.x[2 * k])}, ${short(race.x[2 * k + 1])})` : `x ${short(race.x[2 * k])}`;
    $(`n${r}`).textContent = `f ${short(race.loss[k])} · ${place}` +
      (k === race.last ? ` · ${t(WORDS[race.ended] || race.ended)} (${k})` : "");
  });
  const [x, y] = state.start;
  if (document.activeElement !== $("x")) $("x").value = x;
  if (D > 1 && document.activeElement !== $("y")) $("y").value = y;
  $("map").setAttribute("aria-label", D > 1 ? t("Contours of {}; start at {}, {}; step {}", DATA.surface.name, short(x), short(y), state.k)
    : t("Graph of {}; start at {}; step {}", DATA.surface.name, short(x), state.k));
}
let asked = false;
function draw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; drawMap(); drawLoss(); fillNumbers(); fillFormula(); });
}

// basins --------------------------------------------------------------------------------------------------------------------
const WIDE = D > 1 ? 320 : 2048, TALL = D > 1 ? 320 : 1, basins = { worker: null, picture: null, pixels: null, counts: null, done: 0 };
const BASIN = ["#88ccee", "#cc6677", "#ddcc77", "#117733", "#332288", "#aa4499", "#44aa99", "#999933", "#882255"];
const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
function work() { // in a worker: starts in ever finer rasters, each to its end
  const send = postMessage.bind(self);
  onmessage = ({ data: { run, r, keywords, domain, points, radius, wide, high } }) => {
    const [[a, b], [c, d]] = [...domain, [0, 0]], here = domain.map(() => 0), cells = new Int32Array(2 * wide);
    const walk = new Walk(run.spec, PROGRAMS.runs[r], keywords, here, run.spec.steps);
    for (let stride = 32; stride >= 1; stride >>= 1) for (let j = 0; j < high; j += stride) {
      let n = 0;
      for (let i = 0; i < wide; i += stride) {
        if (stride < 32 && i % (2 * stride) === 0 && j % (2 * stride) === 0) continue;
        here[0] = a + (b - a) * (i + .5) / wide; if (here.length > 1) here[1] = c + (d - c) * (j + .5) / high;
        walk.start.set(here); walk.reset();
        while (walk.step());
        let best = walk.ended === "diverged" ? -2 : -1, near = radius;
        if (best === -1) points.forEach(({ x, level }, p) => {
          const s = x.length > 1 ? Math.hypot(walk.x[0] - x[0], walk.x[1] - x[1]) : Math.abs(walk.x[0] - x[0]);
          if (s <= near && (level === null || walk.loss <= level)) { near = s; best = p; }
        });
        cells[n++] = i; cells[n++] = best;
      }
      if (n) send({ j, stride, cells: cells.slice(0, n) });
    }
    send({ done: true });
  };
}
let source = null;
function startBasins() {
  basins.worker?.terminate(); basins.worker = null; basins.picture = null; $("basin-text").textContent = "";
  delete document.documentElement.dataset.basins;
  if (state.basin < 0) return;
  source = source || URL.createObjectURL(new Blob([$("engine").textContent, $("programs").textContent, `(${work})();`], { type: "text/javascript" }));
  const r = state.basin, run = DATA.runs[r];
  basins.pixels = new ImageData(WIDE, TALL); basins.counts = new Map(); basins.done = 0;
  basins.picture = new OffscreenCanvas(WIDE, TALL);
  const worker = basins.worker = new Worker(source);
  worker.onerror = (event) => { $("basin-text").textContent = t("Basins cannot be computed here: {}", event.message || "worker"); };
  worker.onmessage = ({ data }) => {
    if (worker !== basins.worker) return;
    if (data.done) { document.documentElement.dataset.basins = String(basins.done); tellBasins(); return; }
    const { j, stride, cells } = data;
    for (let n = 0; n < cells.length; n += 2) paintBasin(cells[n], j, stride, cells[n + 1]);
    basins.done += cells.length / 2;
    if (basins.done % 64 < stride || stride > 4) tellBasins();
  };
  worker.postMessage({ run: { spec: run.spec }, r, keywords: state.keywords[r], domain: DATA.surface.domain, wide: WIDE, high: TALL,
    points: DATA.points.list, radius: DATA.points.radius });
}
const basinColour = (p) => p === -2 ? [0, 0, 0] : p === -1 ? [150, 150, 150] : rgb(BASIN[minima.indexOf(p) % BASIN.length] || "#666666");
const minima = DATA.points.list.map((p, i) => [p, i]).filter(([p]) => p.type === "minimum").map(([, i]) => i);
function paintBasin(i, j, stride, p) {
  const [r, g, b] = basinColour(p);
  for (let y = j; y < Math.min(TALL, j + stride); y++) for (let x = i; x < Math.min(WIDE, i + stride); x++) {
    const at4 = 4 * ((TALL - 1 - y) * WIDE + x);
    basins.pixels.data[at4] = r; basins.pixels.data[at4 + 1] = g; basins.pixels.data[at4 + 2] = b; basins.pixels.data[at4 + 3] = 255;
  }
  basins.counts.set(p, (basins.counts.get(p) || 0) + 1);
}
// the colour of the basin at a share of the width and of the height, if there is one
function basinAt(u, v) {
  if (state.basin < 0 || !basins.pixels) return null;
  const at4 = 4 * ((TALL - 1 - Math.floor(v * TALL)) * WIDE + Math.floor(u * WIDE)), { data } = basins.pixels;
  return data[at4 + 3] ? [data[at4], data[at4 + 1], data[at4 + 2]] : null;
}
function tellBasins() {
  basins.picture.getContext("2d").putImageData(basins.pixels, 0, 0);
  const share = [...basins.counts].sort((a, b) => b[1] - a[1]).slice(0, 8).map(([p, n]) => {
    const what = p === -2 ? t("diverged") : p === -1 ? t("still moving") : `${t(DATA.points.list[p].type)} (${DATA.points.list[p].x.map(short).join(", ")})`;
    return `${(100 * n / basins.done).toFixed(1)} % ${what}`;
  });
  $("basin-text").textContent = `${t("{} of {} starts", basins.done, WIDE * TALL)}: ${share.join("; ")}. ` +
    t("A start belongs to a point if its last iterate is within {} of it and, at a minimum, so low that no descent leads away.", short(DATA.points.radius));
  draw();
}

// controls ------------------------------------------------------------------------------------------------------------------
function again(which) {
  (which === undefined ? DATA.runs.map((_, r) => r) : [which]).forEach(simulate);
  if (which !== undefined && which === state.basin) startBasins();
  judgeLesson(); keep(); draw();
}
function setStart(x, y) {
  if (!Number.isFinite(x) || D > 1 && !Number.isFinite(y)) return;
  state.start = [x, y].slice(0, D); again();
}
function setStep(k) { state.k = Math.max(0, Math.min(STEPS, Math.round(k))); keep(); draw(); }
function setView(view) {
  state.view = view;
  for (const name of ["map", "solid"]) $(`view-${name}`).setAttribute("aria-pressed", String(name === view));
  $("map-help").textContent = view === "map" ? t("Drag the start, or move it with the arrow keys.") : t("Drag to turn the surface, or use the arrow keys.");
  keep(); draw();
}
let clock = 0, owed = 0;
function tick(now) {
  if (!playing) return;
  owed += Math.min(200, now - clock) * +$("speed").value / 1000; clock = now;
  const whole = Math.floor(owed); owed -= whole;
  if (whole) setStep(state.k + whole);
  if (state.k >= STEPS || DATA.runs.every((_, r) => state.k >= races[r].last)) return setPlaying(false);
  requestAnimationFrame(tick);
}
function setPlaying(on) {
  playing = on;
  $("play").textContent = on ? t("Pause") : t("Play"); $("play").setAttribute("aria-pressed", String(on));
  if (!on) return;
  if (DATA.runs.every((_, r) => state.k >= races[r].last)) setStep(0);
  clock = performance.now(); owed = 0; requestAnimationFrame(tick);
}
const read = (r, { key, place }) => place === null ? state.keywords[r][key] : state.keywords[r][key][place];
function write(r, { key, place }, value) { if (place === null) state.keywords[r][key] = value; else state.keywords[r][key][place] = value; }
// a slider is logarithmic: of a number, or of what is left to 1
const toSlider = (slider, v) => 1000 * (Math.log10(slider.rest ? 1 - v : v) - slider.low) / (slider.high - slider.low);
const fromSlider = (slider, s) => { const v = 10 ** (slider.low + (slider.high - slider.low) * s / 1000); return +(slider.rest ? 1 - v : v).toPrecision(slider.rest ? 6 : 3); };
function makeRuns() {
  DATA.runs.forEach((run, r) => {
    const box = document.createElement("div"), head = document.createElement("h3"), label = document.createElement("label");
    box.className = "run"; box.dataset.run = r;
    const on = document.createElement("input"); on.type = "checkbox"; on.checked = state.on[r]; on.id = `on${r}`;
    on.onchange = () => { state.on[r] = on.checked; keep(); draw(); };
    const title = document.createElement("span"); title.id = `l${r}`; title.textContent = run.label;
    label.append(on, title);
    const numbers = document.createElement("span"); numbers.className = "numbers"; numbers.id = `n${r}`;
    head.append(label, numbers); box.append(head);
    const sliders = document.createElement("div"); sliders.className = "sliders";
    run.sliders.forEach((slider, n) => {
      const name = document.createElement("label"), input = document.createElement("input"), out = document.createElement("output");
      input.type = "range"; input.min = 0; input.max = 1000; input.step = 1; input.id = `s${r}-${n}`;
      name.htmlFor = input.id; name.textContent = slider.name; out.htmlFor = input.id;
      const show = () => { const v = read(r, slider); out.textContent = short(v); input.value = toSlider(slider, v); input.setAttribute("aria-valuetext", short(v)); };
      input.oninput = () => { write(r, slider, fromSlider(slider, +input.value)); const v = read(r, slider); out.textContent = short(v); input.setAttribute("aria-valuetext", short(v)); again(r); };
      slider.show = show; sliders.append(name, input, out);
    });
    const chosen = document.createElement("p"); chosen.className = "quiet"; chosen.textContent = run.chosen;
    box.append(sliders, chosen); $("runs").append(box);
    for (const id of ["focus", "basin"]) $(id).append(new Option(run.label, r));
  });
}
function showControls() {
  DATA.runs.forEach((run, r) => { run.sliders.forEach((s) => s.show()); $(`on${r}`).checked = state.on[r]; });
  $("focus").value = state.focus; $("basin").value = state.basin; $("coordinate").value = state.coordinate; $("arrows").checked = state.arrows;
}

// the lesson ----------------------------------------------------------------------------------------------------------------
// a run by its name, and by what was changed in it since
const changed = (r) => DATA.runs[r].sliders.filter((s) => !Object.is(read(r, s), s.place === null ? DATA.runs[r].keywords[s.key] : DATA.runs[r].keywords[s.key][s.place]));
const nameOf = (r) => [DATA.runs[r].label, ...changed(r).map((s) => `${s.name} → ${short(read(r, s))}`)].join(", ");
const nowOf = (r, name) => name.split(".").reduce((node, part) => node?.[part], state.keywords[r]);
// what a condition says of a run: whether it holds, its words, and what is the case
function judged(c, r) {
  const { loss, x, last, ended } = races[r];
  if ("setting" in c) {
    const v = nowOf(r, c.setting), most = "at_most" in c;
    return [most ? v <= c.at_most : v >= c.at_least,
      most ? t("{} at most {}", c.setting, short(c.at_most)) : t("{} at least {}", c.setting, short(c.at_least)), t("now {}", v === undefined ? "–" : short(v))];
  }
  if ("at" in c) return [ended !== "diverged" && loss[last] < c.loss_below, t("loss below {} where the run ends", short(c.loss_below)),
    t("{} at step {}", short(loss[last]), last)];
  const [px, py] = c.distance_to || [0, 0], far = "above" in c;
  const value = (k) => "distance_to" in c ? Math.hypot(x[2 * k] - px, x[2 * k + 1] - py) : loss[k];
  let best = far ? -Infinity : Infinity, met = -1;
  for (let k = 0; k <= Math.min(c.within, last) && met < 0; k++) {
    const v = value(k);
    if (far ? v > c.above : v < (c.below ?? c.loss_below)) met = k;
    if (far ? v > best : v < best) best = v;
  }
  const text = far ? t("distance to ({}, {}) above {} within {} steps", short(px), short(py), short(c.above), c.within)
    : "distance_to" in c ? t("distance to ({}, {}) below {} within {} steps", short(px), short(py), short(c.below), c.within)
    : t("loss below {} within {} steps", short(c.loss_below), c.within);
  return [met >= 0, text, met >= 0 ? t("at step {}", met) : t("at best {}", short(best))];
}
function judgeLesson() {
  if (!DATA.lesson) return;
  const { run, conditions } = DATA.lesson.challenge, first = recorded().start;
  const held = state.start.every((v, i) => Object.is(v, first[i]));
  // any run: the one that meets most, of equals the one in focus
  const [r, found] = (run === null ? [state.focus, ...DATA.runs.keys()] : [run]).map((i) => [i, conditions.map((c) => judged(c, i))])
    .reduce((a, b) => b[1].filter(([ok]) => ok).length > a[1].filter(([ok]) => ok).length ? b : a);
  const lines = [...found, [held, t("from the start as recorded"), ""]], met = lines.every(([ok]) => ok);
  $("conditions").replaceChildren(...lines.map(([ok, text, is]) => {
    const item = document.createElement("li");
    item.className = ok ? "good" : ""; item.textContent = `${ok ? "✓" : "○"} ${text}${is ? ` (${is})` : ""}`;
    return item;
  }));
  $("outcome").className = met ? "good" : "quiet";
  $("outcome").textContent = met ? t("Met, by {}.", nameOf(r))
    : t("Not met yet: {} of {} hold for {}.", lines.filter(([ok]) => ok).length, lines.length, nameOf(r));
  document.documentElement.dataset.challenge = met ? "met" : "open";
}
function showLesson() {
  const { lesson } = DATA;
  if (!lesson) return;
  $("lesson").hidden = false;
  for (const text of lesson.text) { const p = document.createElement("p"); p.textContent = text; $("lesson-text").append(p); }
  $("challenge").textContent = lesson.challenge.text;
  const { run, set, text } = lesson.solution;
  $("solution").textContent = `${text} ${DATA.runs[run].label}: ${Object.entries(set).map(([name, v]) => `${name} ${short(v)}`).join(", ")}`;
  $("solve").onclick = () => {
    state.start = recorded().start; state.focus = run;
    DATA.runs[run].sliders.forEach((slider) => { if (slider.name in set) write(run, slider, set[slider.name]); });
    showControls(); again();
  };
}

// the address ---------------------------------------------------------------------------------------------------------------
let waiting = 0;
function keep() {
  clearTimeout(waiting);
  waiting = setTimeout(() => history.replaceState(null, "", "#" + address()), 120);
}
function address() {
  const parts = new URLSearchParams({ s: state.start.join(","), k: state.k });
  if (!state.on.every(Boolean)) parts.set("on", state.on.map(Number).join(""));
  if (state.view !== "map") parts.set("view", state.view);
  if (state.basin >= 0) parts.set("basin", state.basin);
  if (state.focus !== FOCUS) parts.set("of", state.focus);
  if (state.coordinate) parts.set("c", state.coordinate);
  DATA.runs.forEach((_, r) => changed(r).forEach((slider) => parts.set(`${r}.${slider.name}`, read(r, slider))));
  return parts.toString();
}
function fromAddress() {
  const parts = new URLSearchParams(location.hash.slice(1)), fresh = recorded(), whole = (name, most) => {
    const v = Number(parts.get(name)); return parts.has(name) && Number.isInteger(v) && v >= 0 && v <= most ? v : null;
  };
  const start = (parts.get("s") || "").split(",").map(Number);
  if (parts.has("s") && start.length === D && start.every(Number.isFinite)) fresh.start = start;
  fresh.k = whole("k", STEPS) ?? 0; fresh.basin = whole("basin", DATA.runs.length - 1) ?? -1;
  fresh.focus = whole("of", DATA.runs.length - 1) ?? FOCUS; fresh.coordinate = whole("c", D - 1) ?? 0;
  if (/^[01]+$/.test(parts.get("on") || "")) fresh.on = fresh.on.map((_, r) => parts.get("on")[r] !== "0");
  if (D > 1 && parts.get("view") === "solid") fresh.view = "solid";
  state = fresh;
  DATA.runs.forEach((run, r) => run.sliders.forEach((slider) => {
    const v = Number(parts.get(`${r}.${slider.name}`));
    if (parts.has(`${r}.${slider.name}`) && Number.isFinite(v) && (slider.rest ? v >= 0 && v < 1 : v > 0)) write(r, slider, v);
  }));
}

// all of it -----------------------------------------------------------------------------------------------------------------
function setTheme(name) { theme = name; document.documentElement.dataset.theme = name; ground = null; legend(); DATA.runs.forEach((_, r) => {
  const box = document.querySelector(`[data-run="${r}"]`); if (box) box.style.borderLeftColor = colour(r); }); draw(); }
function legend() {
  const signs = { minimum: "●", maximum: "▲", saddle: "✕", degenerate: "◆" }, box = $("legend");
  box.replaceChildren();
  const there = new Set(DATA.points.list.map((p) => p.type));
  for (const [type, sign] of Object.entries(signs)) if (there.has(type)) { const s = document.createElement("span"); s.textContent = `${sign} ${t(type)}`; box.append(s); }
  const s = document.createElement("span"); s.textContent = `⊕ ${t("start")}`; box.append(s);
}
function fillWords() {
  document.querySelectorAll("[data-t]").forEach((e) => { e.textContent = t(e.dataset.t); });
  document.querySelectorAll("[data-label]").forEach((e) => e.setAttribute("aria-label", t(e.dataset.label)));
  if (D === 1) document.querySelectorAll("[data-plane]").forEach((e) => { e.hidden = true; });
  $("basin").append(new Option(t("none"), -1));
  $("about").textContent = DATA.surface.about;
  $("complete").textContent = DATA.points.conclusion;
  $("command").textContent = DATA.command;
  $("origin").textContent = t("Made by optbench {}. The page runs the tool's own traced programs, emitted as JavaScript; no other code knows these optimizers or this surface.", DATA.version);
  for (const p of DATA.points.list) {
    const row = document.createElement("tr");
    for (const text of [t(p.type), ...p.x.map(short), short(p.value), t(p.basis)]) { const cell2 = document.createElement("td"); cell2.textContent = text; row.append(cell2); }
    $("points").append(row);
  }
}
function listen() {
  $("k").max = STEPS;
  $("k").oninput = () => setStep(+$("k").value);
  $("play").onclick = () => setPlaying(!playing);
  $("step").onclick = () => { setPlaying(false); setStep(state.k + 1); };
  $("back").onclick = () => { setPlaying(false); setStep(state.k - 1); };
  $("rewind").onclick = () => { setPlaying(false); setStep(0); };
  $("recorded").onclick = () => { const { view, basin } = state; state = { ...recorded(), view, basin }; showControls(); again(); startBasins(); };
  $("view-map").onclick = () => setView("map"); $("view-solid").onclick = () => setView("solid");
  $("arrows").onchange = () => { state.arrows = $("arrows").checked; draw(); };
  $("basin").onchange = () => { state.basin = +$("basin").value; startBasins(); keep(); draw(); };
  $("focus").onchange = () => { state.focus = +$("focus").value; judgeLesson(); keep(); draw(); };
  $("coordinate").onchange = () => { state.coordinate = +$("coordinate").value; keep(); draw(); };
  $("theme").onclick = () => setTheme(theme === "dark" ? "light" : "dark");
  const given = (id) => $(id).value === "" ? NaN : +$(id).value; // a field that is being written
  for (const id of ["x", "y"]) $(id).oninput = () => setStart(given("x"), given("y"));
  let shown = theme;
  addEventListener("beforeprint", () => { shown = theme; setTheme("light"); drawMap(); drawLoss(); });
  addEventListener("afterprint", () => setTheme(shown));
  const map = $("map");
  let held = null;
  const drag = (event) => {
    const box = map.getBoundingClientRect(), u = (event.clientX - box.left) / box.width, v = (event.clientY - box.top) / box.height;
    if (state.view === "map") setStart(+(X0 + (X1 - X0) * Math.min(1, Math.max(0, u))).toPrecision(5), +(Y1 - (Y1 - Y0) * Math.min(1, Math.max(0, v))).toPrecision(5));
    else { yaw += (event.clientX - held[0]) * .01; pitch = Math.max(.15, Math.min(1.45, pitch + (event.clientY - held[1]) * .01)); draw(); }
    held = [event.clientX, event.clientY];
  };
  map.onpointerdown = (event) => { held = [event.clientX, event.clientY]; map.setPointerCapture(event.pointerId); drag(event); };
  map.onpointermove = (event) => { if (held) drag(event); };
  map.onpointerup = map.onpointercancel = () => { held = null; };
  map.onkeydown = (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!way) return;
    event.preventDefault();
    if (state.view === "solid") { yaw += way[0] * .1; pitch = Math.max(.15, Math.min(1.45, pitch - way[1] * .1)); return draw(); }
    const size = event.shiftKey ? .1 : .01;
    setStart(+(state.start[0] + way[0] * size * (X1 - X0)).toPrecision(6), D > 1 ? +(state.start[1] + way[1] * size * (Y1 - Y0)).toPrecision(6) : NaN);
  };
  addEventListener("hashchange", () => { if (location.hash.slice(1) !== address()) { fromAddress(); showControls(); setView(state.view); again(); startBasins(); } });
  new ResizeObserver(() => { ground = null; draw(); }).observe(map);
}
fillWords(); showLesson(); makeRuns(); fromAddress(); verify(); again(); showControls(); listen(); setView(state.view); setTheme(theme); startBasins();
document.documentElement.dataset.ready = "yes";
})();
