// How a program is run: tables of coefficients, then step after step. What a step computes is in the programs alone,
// which optbench wrote from its own traces; nothing here knows an optimizer or a surface.
"use strict";

// Doubles from base64.
function doubles(text) {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  const view = new DataView(bytes.buffer), found = new Float64Array(bytes.length / 8);
  for (let i = 0; i < found.length; i++) found[i] = view.getFloat64(8 * i, true);
  return found;
}

// The place of the first double in which two lists differ in a bit (all NaN are one), or -1.
function firstDifference(a, b) {
  if (a.length !== b.length) return Math.min(a.length, b.length);
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return i;
  return -1;
}

// The numbers of a rule by name, from the keywords of the optimizer: as they are, one less them, or constant.
function numbersOf(recipe, keywords) {
  const found = {};
  for (const [name, [kind, key, place]] of Object.entries(recipe)) {
    if (kind === "const") { found[name] = key; continue; }
    const given = place === null ? keywords[key] : keywords[key][place];
    found[name] = kind === "of" ? given : 1 - given;
  }
  return found;
}

// One optimizer on its way. `spec`: of a run, see optbench.play.program; `programs`: its compiled functions.
class Walk {
  constructor(spec, programs, keywords, start, steps) {
    this.spec = spec; this.programs = programs; this.steps = steps; this.dim = spec.dim;
    this.numbers = numbersOf(spec.hyper, keywords);
    this.draws = spec.noise ? doubles(spec.noise.draws) : null; // one for each coordinate of each update
    this.sigma = spec.noise ? keywords[spec.noise.key] ?? spec.noise.scale : 0;
    this.factors = typeof spec.factors === "string" ? doubles(spec.factors) : spec.factors;
    this.given = new Float64Array(spec.inputs.length);
    this.out = new Float64Array(3 + spec.state);
    const state = spec.state;
    for (let i = state; i < spec.inputs.length; i++) {
      const number = this.numbers[spec.inputs[i]];
      this.given[i] = number === undefined ? NaN : number;
    }
    this.place = {};
    spec.inputs.forEach((name, i) => { this.place[name] = i; });
    this.tables = this.coefficients();
    this.start = Float64Array.from(start);
    this.reset();
  }

  // Each coefficient at t = 0 ... steps, in order, since a running product looks back.
  coefficients() {
    const { coefficients: about } = this.spec, rows = about.names.map(() => new Float64Array(this.steps + 1));
    if (!rows.length) return rows;
    const given = Float64Array.from(about.inputs, (name) => (name === "t" ? 0 : this.numbers[name]));
    const t = about.inputs.indexOf("t"), out = new Float64Array(rows.length);
    const kept = new Float64Array(about.products).fill(1);
    for (let k = 0; k <= this.steps; k++) {
      if (t >= 0) given[t] = k;
      this.programs.coefficients(given, out, kept);
      for (let j = 0; j < rows.length; j++) rows[j][k] = out[j];
    }
    return rows;
  }

  reset() {
    this.given.fill(0, 0, this.spec.state);
    this.given.set(this.start, 0);
    this.k = 0; this.ended = null; this.bound = Infinity;
    this.evaluate();
  }

  rate(k) {
    const { floor } = this.spec, lr = this.numbers.lr;
    const factor = this.factors[Math.min(k, this.factors.length - 1)];
    return floor === null ? lr * factor : floor + (lr - floor) * factor;
  }

  // Loss, gradient and what follows, of the iterate.
  evaluate() {
    const { given, place, spec } = this;
    given[place.lr] = this.rate(this.k);
    given[place.t] = this.k;
    for (let j = 0; j < this.tables.length; j++) given[place[spec.coefficients.names[j]]] = this.tables[j][this.k];
    if (this.draws) for (let i = 0; i < this.dim; i++) given[place[`noise[${i}]`]] = this.sigma * this.draws[this.k * this.dim + i];
    this.programs.step(given, this.out, null);
    this.loss = this.out[0];
    this.slope = this.out[1];
    if (this.k === 0) this.bound = spec.rules.divergence_factor * Math.max(1, Math.abs(this.loss));
    this.judge();
  }

  judge() {
    const { rules } = this.spec, size = Math.abs(this.loss);
    if (!(size <= this.bound) || size === Infinity || !(this.slope < Infinity)) this.ended = "diverged";
    else if (rules.target !== null && this.loss <= rules.target) this.ended = "target_reached";
    else if (!this.draws && Math.sqrt(this.slope) <= rules.grad_tol) this.ended = "converged";
    else if (this.k >= this.steps) this.ended = "completed";
  }

  // The next iterate, whatever a rule says of this one.
  advance() {
    for (let i = 0; i < this.spec.state; i++) this.given[i] = this.out[3 + i];
    this.k += 1;
    this.ended = null;
    this.evaluate();
  }

  step() {
    if (this.ended !== null) return false;
    this.advance();
    return true;
  }

  get x() { return this.given.subarray(0, this.dim); }
}
