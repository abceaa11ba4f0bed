// A task's page asks for predictions: of one number as curves, of anything else as JSON.

import { Chart } from "./chart.js";
import { element, put } from "./dom.js";
import { count } from "./format.js";
import { PREDICTION } from "./panels.js";

const INPUTS = 128; // of a curve, points included: always as many, for the daemon prepares each number anew
const RANGE = [-5, 5]; // while no point tells another one
const TRIES = 5;
const AGAIN_MS = 2000;
const KINDS = ["auto", "meta", "memory", "adapted"];

export class Asking {
  constructor(source, frame) {
    this.source = source;
    this.name = null;
    this.about = null;
    this.chart = new Chart(PREDICTION, { ...frame, raw: true, log: false, zoom: {}, marks: [], axis: () => "x", setZoom: () => {} });
    this.said = element("p", { class: "said", role: "status" });
    this.curve = this.#curveForm();
    this.form = this.#jsonForm();
    this.panel = element("section", { class: "asking", "aria-label": "Predictions", hidden: true },
      element("div", { class: "bar" }, element("h2", { text: "Predictions" }), this.said), this.curve, this.form);
  }

  /** Of this task, with nothing asked yet. */
  async open(name) {
    Object.assign(this, { name, about: null });
    this.panel.hidden = true;
    this.points.value = this.x.value = this.support.value = "";
    [this.from.value, this.to.value] = RANGE;
    put(this.said, "");
    put(this.answer, "");
    this.chart.show({ x: [] });
    const about = await this.#told(name);
    if (name !== this.name || !about) return;
    this.about = about;
    this.panel.hidden = false;
    this.curve.hidden = !about.curve;
    this.form.hidden = about.curve;
    if (about.examples) [this.from.value, this.to.value] = around(about.examples.x.flat());
    await this.refresh();
  }

  /** What can be asked; tried again while a busy daemon does not answer. */
  async #told(name) {
    for (let tries = 0; tries < TRIES && name === this.name; tries += 1) {
      try { return await this.source.about(name); } catch { await new Promise((go) => setTimeout(go, AGAIN_MS)); }
    }
    return null;
  }

  /** Ask again, of what is learned now. */
  async refresh() {
    if (!this.about?.curve) return;
    const { name } = this;
    try {
      const columns = await this.#curves();
      if (name !== this.name) return;
      this.chart.show(columns);
      put(this.said, "");
    } catch (error) {
      if (name === this.name) put(this.said, error.message);
    }
  }

  async #curves() {
    const own = points(this.points.value);
    const [from, to] = [Number(this.from.value), Number(this.to.value)];
    if (!(from < to)) throw new Error("From must be a number below To");
    const shown = own || (this.about.examples ? pairs(this.about.examples) : []);
    const steps = Math.max(2, INPUTS - shown.length);
    const grid = Array.from({ length: steps }, (_, step) => [from + ((to - from) * step) / (steps - 1), null]);
    const rows = [...grid, ...shown].sort(([one], [other]) => one - other);
    const x = rows.map(([value]) => [value]);
    const kinds = own && !this.about.at.includes("adapted") ? [...this.about.at, "adapted"] : this.about.at;
    const support = own ? { x: own.map(([value]) => [value]), y: own.map(([, value]) => [value]) } : undefined;
    const answers = await this.source.predict(kinds.map((at) => ({ task: this.name, x, at, support: at === "adapted" ? support : undefined })));
    const columns = { x: x.flat(), ...Object.fromEntries(answers.map((answer) => [answer.at, answer.y.flat()])) };
    return shown.length ? { ...columns, points: rows.map(([, value]) => value) } : columns;
  }

  #curveForm() {
    const again = () => this.refresh();
    const number = () => element("input", { type: "number", step: "any", onchange: again });
    [this.from, this.to] = [number(), number()];
    this.points = element("textarea", { rows: "4", spellcheck: "false", placeholder: "0.5, 1.2", onchange: again });
    this.chart.canvas.addEventListener("click", (event) => this.#addPoint(event));
    return element("div", { class: "grid" }, this.chart.panel,
      element("form", { class: "card fields", onsubmit: (event) => { event.preventDefault(); again(); } },
        field("From x", this.from), field("To x", this.to),
        field("Points to adapt to: x, y, one a line; or click in the picture", this.points),
        element("div", { class: "does" },
          element("button", { class: "strong", text: "Ask" }),
          element("button", { type: "button", class: "quiet", text: "Clear points", onclick: () => { this.points.value = ""; again(); } }))));
  }

  #addPoint(event) {
    const plot = this.chart.plot;
    if (!plot || !plot.over.contains(event.target)) return;
    const box = plot.over.getBoundingClientRect();
    const place = [plot.posToVal(event.clientX - box.left, "x"), plot.posToVal(event.clientY - box.top, "y")];
    const before = this.points.value.trim();
    this.points.value = `${before ? `${before}\n` : ""}${place.map((value) => Number(value.toPrecision(3))).join(", ")}`;
    this.refresh();
  }

  #jsonForm() {
    const text = (placeholder, rows) => element("textarea", { rows, spellcheck: "false", placeholder });
    this.x = text("[[0.1, 0.2], [0.3, 0.4]]", "5");
    this.support = text('{"x": [[0.1, 0.2]], "y": [0]}', "5");
    this.at = element("select", {}, ...KINDS.map((at) => element("option", { value: at, text: at })));
    this.answer = element("pre", { class: "answer", tabindex: "0", role: "region", "aria-label": "Answer" });
    return element("form", { class: "card fields", onsubmit: (event) => { event.preventDefault(); this.#ask(); } },
      field("x: a list of inputs, as JSON", this.x), field("Support set to adapt to, as JSON; may be empty", this.support), field("At", this.at),
      element("div", { class: "does" }, element("button", { class: "strong", text: "Ask" })), this.answer);
  }

  async #ask() {
    put(this.answer, "");
    try {
      const support = this.support.value.trim() ? parsed(this.support.value, "Support set") : undefined;
      const [answer] = await this.source.predict([{ task: this.name, x: parsed(this.x.value, "x"), support, at: this.at.value }]);
      put(this.said, `Answered at ${answer.at}, after ${count(answer.events)} events.`);
      put(this.answer, JSON.stringify(answer.y));
    } catch (error) {
      put(this.said, error.message);
    }
  }
}

const field = (title, input) => element("label", {}, element("span", { text: title }), input);

function parsed(text, title) {
  try { return JSON.parse(text); } catch (error) { throw new Error(`${title} is no JSON: ${error.message}`); }
}

/** [[x, y], …] of what a person typed; null for nothing. */
function points(text) {
  const lines = text.split("\n").filter((line) => line.trim());
  if (!lines.length) return null;
  return lines.map((line) => {
    const numbers = line.trim().split(/[\s,;]+/).map(Number);
    if (numbers.length !== 2 || !numbers.every(Number.isFinite)) throw new Error(`Points: “${line.trim()}” is not x, y`);
    return numbers;
  });
}

const pairs = ({ x, y }) => x.map((value, place) => [[value].flat()[0], [y[place]].flat()[0]]);

/** A range somewhat wider than these numbers. */
function around(numbers) {
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  const margin = 0.1 * (high - low) || 1;
  return [low - margin, high + margin].map((value) => Number(value.toPrecision(3)));
}
