/* global uPlot */
// One panel: a chart with its title, readings, zoom, and its files (PNG, CSV).

import { binned, latest, mean, total } from "./bins.js";
import { element, put, save } from "./dom.js";
import { clock, short, tick } from "./format.js";
import { drawMarks } from "./marks.js";
import { TIME_STEPS, lastKnown, linearRange, smoothed, timeSplits, timeTicks } from "./scales.js";
import { color } from "./theme.js";

const [HIGH, LOW] = [300, 168]; // pixels
const LOG_MARGIN = 1.2; // so that no line lies on the edge
const AXIS_WIDTH = 50;
const BIN_PIXELS = 2.5; // points closer to one another are drawn as one
const SMOOTHING = 10; // points that a smoothed line is the mean of, about
const FONT = '11px system-ui, -apple-system, "Segoe UI", sans-serif';

export class Chart {
  /**
   * `frame` is what all charts of a page share: `axis` ("events" or "seconds") of this chart, `log`, `raw`,
   * `smooth` (points), `zoom` and below it `window` ({axis: [from, to]}), `status`, `outages`, `marks`, and `setZoom(axis, range)`.
   */
  constructor(definition, frame) {
    this.definition = definition;
    this.frame = frame;
    this.columns = null;
    this.plot = null;
    this.shape = "";
    this.readings = element("ul", { class: "readings" });
    this.canvas = element("div", { class: "plot", role: "img", "aria-label": `${definition.title}: nothing yet` });
    this.nothing = element("p", { class: "nothing", text: definition.empty || "waiting for events" });
    const kinds = ["wide", "low", "half"].filter((kind) => definition[kind]);
    this.panel = element("figure", { class: ["card", "chart", ...kinds].join(" "), "data-chart": definition.id, hidden: Boolean(definition.optional) },
      element("figcaption", {},
        element("h3", { text: definition.title, title: definition.help }),
        this.readings,
        element("span", { class: "files" },
          element("button", { type: "button", class: "quiet", text: "PNG", title: "Save this chart as a picture", onclick: () => this.savePicture() }),
          element("button", { type: "button", class: "quiet", text: "CSV", title: "Save these numbers", onclick: () => this.saveNumbers() }))),
      this.canvas, this.nothing);
    new ResizeObserver(() => this.#resize()).observe(this.canvas);
  }

  /** Show these columns; rebuilds what does not fit them any more. */
  show(columns) {
    this.columns = columns;
    const x = columns[this.frame.axis(this.definition)] || [];
    const all = typeof this.definition.series === "function" ? this.definition.series(columns) : this.definition.series;
    this.series = all.filter((series) => this.frame.raw || !series.raw);
    const values = this.series.map((series) => this.#values(series, columns));
    const known = x.length > 0 && values.some((column) => column.some((value) => value !== null));
    this.panel.classList.toggle("empty", !known);
    this.panel.hidden = !known && Boolean(this.definition.optional);
    if (!known) { this.#drop(); return; }
    const log = this.#log();
    this.full = [x, ...values.map((column) => (log ? column.map((value) => (value > 0 ? value : null)) : column))];
    const data = this.#binned();
    const shape = JSON.stringify([this.frame.axis(this.definition), log, this.series.map((series) => series.label)]);
    if (shape !== this.shape || !this.plot) this.#build(data, shape);
    else this.plot.setData(data);
    this.#read(null);
  }

  /** Draw anew, in other colours. */
  rebuild() {
    this.#drop();
    if (this.columns) this.show(this.columns);
  }

  /** A line's points, smoothed where the reader wants it or the daemon keeps no mean of them. */
  #values(series, columns) {
    const values = series.from(columns);
    if (series.raw || series.bars || series.points || this.definition.exact) return values;
    const points = Math.max(series.smooth ? SMOOTHING : 1, (this.definition.dots ? 1 : this.frame.smooth) || 1);
    return points > 1 ? smoothed(values, points) : values;
  }

  #range(axis) {
    return this.frame.zoom[axis] || this.frame.window?.[axis];
  }

  #log() {
    return this.definition.always === "log" || Boolean(this.definition.scalable && this.frame.log);
  }

  /** The data as dense as the screen shows it: in the whole range, or in the one that is zoomed. */
  #binned() {
    const [x] = this.full;
    const [from, to] = this.#range(this.frame.axis(this.definition)) || [x[0], x.at(-1)];
    const width = ((to - from) * BIN_PIXELS) / Math.max(1, this.#size().width - AXIS_WIDTH);
    const steady = 2 ** Math.floor(Math.log2(width)); // so that bins stay as they are while the range grows
    if (this.definition.exact) return this.full;
    return binned(this.full, steady, this.series.map((series) => (series.bars ? total : series.raw ? latest : mean)));
  }

  #drop() {
    this.plot?.destroy();
    this.plot = null;
    this.shape = "";
    this.readings.replaceChildren();
  }

  #size() {
    return { width: Math.max(120, this.canvas.clientWidth), height: this.definition.wide && !this.definition.low ? HIGH : LOW };
  }

  #resize() {
    const size = this.#size();
    if (!this.plot || this.plot.width === size.width) return;
    this.plot.setSize(size);
    this.plot.setData(this.#binned());
  }

  #build(data, shape) {
    this.#drop();
    this.shape = shape;
    this.plot = new uPlot(this.#options(), data, this.canvas);
    followTouch(this.plot);
    this.readings.replaceChildren(...this.series.filter((series) => !series.raw).map((series) => {
      const mark = element("i", {});
      mark.style.background = color(series.color);
      return element("li", { title: series.label }, mark, element("span", { text: series.label }), element("b", { text: "–" }));
    }));
    const reading = element("li", { class: "at" }, element("b", { text: "" }));
    this.readings.append(reading);
  }

  #options() {
    const axis = this.frame.axis(this.definition);
    const log = this.#log();
    const [grid, ink] = [color("grid"), color("muted")];
    const common = { stroke: ink, font: FONT, ticks: { show: false }, grid: { stroke: grid, width: 1 } };
    return {
      ...this.#size(),
      padding: [8, 12, 0, 0],
      legend: { show: false },
      scales: {
        x: { time: false, range: (_, low, high) => this.#range(axis) || [low, high > low ? high : low + 1] },
        y: log ? { distr: 3, range: (_, low, high) => uPlot.rangeLog((low ?? 0.1) / LOG_MARGIN, (high ?? 1) * LOG_MARGIN, 10, false) } : { range: (_, low, high) => linearRange(low, high, this.definition) },
      },
      axes: [
        { ...common, size: 26, gap: 4, space: axis === "seconds" ? 76 : 64, ...(axis === "seconds" ? { incrs: TIME_STEPS, splits: timeSplits } : {}), values: (_, splits) => (axis === "seconds" ? timeTicks(splits) : splits.map(tick)) },
        { ...common, size: AXIS_WIDTH, gap: 6, space: this.definition.wide ? 36 : 28, values: (_, splits) => splits.map(tick) },
      ],
      series: [{}, ...this.series.map((series) => look(series, this.definition))],
      cursor: {
        y: false,
        points: { size: 7, width: 2 },
        sync: { key: axis, scales: ["x", null], setSeries: false },
        drag: { x: true, y: false, setScale: false },
        bind: { dblclick: () => () => { this.frame.setZoom(axis, null); return null; } },
      },
      hooks: {
        drawClear: [(plot) => this.#shade(plot, axis)],
        draw: [(plot) => drawMarks(plot, axis, this.frame.marks, this.definition.wide)],
        setCursor: [(plot) => this.#read(plot.cursor.idx)],
        setSelect: [(plot) => this.#zoom(plot, axis)],
      },
    };
  }

  #zoom(plot, axis) {
    const { left, width } = plot.select;
    if (width < 4) return;
    const range = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (plot.cursor.event) this.frame.setZoom(axis, range); // of this chart, not mirrored from another
  }

  #shade(plot, axis) {
    if (axis !== "seconds") return;
    const { left, top, width, height } = plot.bbox;
    plot.ctx.save();
    plot.ctx.fillStyle = color("outage");
    for (const [from, to] of this.frame.outages) {
      const begin = Math.max(left, plot.valToPos(from, "x", true));
      const end = Math.min(left + width, plot.valToPos(to, "x", true));
      if (end > begin) plot.ctx.fillRect(begin, top, Math.max(1, end - begin), height);
    }
    plot.ctx.restore();
  }

  /** Write the values under the pointer, or the last ones. */
  #read(place) {
    if (!this.plot) return;
    const [x, ...values] = this.plot.data;
    const items = [...this.readings.children];
    const lines = this.series.filter((series) => !series.raw);
    const shown = values.filter((_, number) => !this.series[number].raw);
    shown.forEach((column, number) => {
      const value = place === null || place === undefined ? this.#now(lines[number], column) : column[place];
      put(items[number].lastChild, short(value));
    });
    const now = place === null || place === undefined;
    put(items.at(-1).lastChild, now ? this.definition.window || "" : this.#where(x[place]));
    if (now) this.canvas.setAttribute("aria-label", this.#words(x, shown, lines));
  }

  /** As the tiles tell it, where they tell it; else the end of the line. */
  #now(series, column) {
    const told = series.now && this.frame.status ? series.now(this.frame.status) : null;
    return told ?? lastKnown(column);
  }

  /** The picture in words, for those who do not see it. */
  #words(x, shown, lines) {
    const told = lines.map((series, number) => {
      const known = shown[number].filter((value) => value !== null && value !== undefined);
      return known.length ? `${series.label}: ${short(this.#now(series, known))}, from ${short(known[0])}, between ${short(Math.min(...known))} and ${short(Math.max(...known))}` : null;
    }).filter(Boolean);
    return `${this.definition.title}, ${this.#where(x[0])} to ${this.#where(x.at(-1))}. ${told.join(". ")}.`;
  }

  #where(x) {
    const axis = this.frame.axis(this.definition);
    return axis === "seconds" ? clock(x) : axis === "x" ? `x ${short(x)}` : `event ${short(x, 9)}`;
  }

  saveNumbers() {
    const axis = this.frame.axis(this.definition);
    if (!this.plot) return;
    const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;
    const names = [axis === "seconds" ? "unix_seconds" : axis, ...this.series.map((series) => series.label)];
    const lines = this.full[0].map((_, row) => this.full.map((column) => column[row] ?? "").join(","));
    save(`streammeta-${this.definition.id}.csv`, new Blob([`${names.map(quoted).join(",")}\n${lines.join("\n")}\n`], { type: "text/csv" }));
  }

  savePicture() {
    if (!this.plot) return;
    const source = this.plot.ctx.canvas;
    const ratio = devicePixelRatio || 1;
    const head = 44 * ratio;
    const canvas = element("canvas", { width: source.width, height: source.height + head });
    const pen = canvas.getContext("2d");
    pen.fillStyle = color("card");
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(source, 0, head);
    pen.fillStyle = color("ink");
    pen.font = `600 ${13 * ratio}px system-ui, sans-serif`;
    pen.fillText(this.definition.title, 12 * ratio, 18 * ratio);
    pen.font = `${11 * ratio}px system-ui, sans-serif`;
    let left = 12 * ratio;
    for (const series of this.series.filter((each) => !each.raw)) {
      pen.fillStyle = color(series.color);
      pen.fillRect(left, 30 * ratio, 12 * ratio, 3 * ratio);
      pen.fillStyle = color("muted");
      pen.fillText(series.label, left + 17 * ratio, 35 * ratio);
      left += pen.measureText(series.label).width + 34 * ratio;
    }
    canvas.toBlob((blob) => save(`streammeta-${this.definition.id}.png`, blob), "image/png");
  }
}

function look(series, definition) {
  const stroke = color(series.color);
  const made = { label: series.label, stroke, width: 1.75, spanGaps: false, points: { show: Boolean(definition.dots), size: 6 } };
  if (series.raw) return { ...made, auto: false, paths: () => null, points: { show: true, size: 2.5, width: 0, fill: `${stroke}66`, stroke: "transparent" } };
  if (series.points) return { ...made, paths: () => null, points: { show: true, size: 8, width: 2, stroke, fill: color("card") } };
  if (series.fill) made.fill = `${stroke}22`;
  if (series.bars) return { ...made, width: 0, fill: stroke, paths: uPlot.paths.bars({ size: [0.9, 24], align: -1 }) };
  return made;
}

/** Let a finger read values; vertical swipes still scroll the page. */
function followTouch(plot) {
  plot.over.addEventListener("touchmove", (event) => {
    const box = plot.over.getBoundingClientRect();
    plot.setCursor({ left: event.touches[0].clientX - box.left, top: event.touches[0].clientY - box.top });
  }, { passive: true });
}
