// What happened to the run at one moment: thin labelled lines on the charts, and the same as a list of words.

import { element, put } from "./dom.js";
import { clock, count } from "./format.js";
import { color } from "./theme.js";

const KINDS = {
  restart: { label: () => "restart", color: "faint" },
  rates: { label: () => "rates", color: "second" },
  executor: { label: () => "steps", color: "first" },
  stream: { label: () => "drift", color: "bad" },
  tasks: { label: (mark) => `${count(mark.tasks)} worse`, color: "meta" },
};
const FONT_PIXELS = 10;
const GAP = 6; // pixels between two labels

/** Draw the marks within the range of a plot; labels where there is room for them. */
export function drawMarks(plot, axis, marks, labelled) {
  const { left, top, width, height } = plot.bbox;
  const ratio = devicePixelRatio || 1;
  const pen = plot.ctx;
  let free = left;
  pen.save();
  pen.lineWidth = ratio;
  pen.setLineDash([3 * ratio, 3 * ratio]);
  pen.font = `${FONT_PIXELS * ratio}px system-ui, -apple-system, "Segoe UI", sans-serif`;
  pen.textBaseline = "top";
  pen.textAlign = "left";
  for (const mark of [...marks].sort((one, other) => one[axis] - other[axis])) {
    const at = Math.round(plot.valToPos(mark[axis], "x", true)) + 0.5;
    if (!(at >= left && at <= left + width)) continue;
    const kind = KINDS[mark.kind] || KINDS.restart;
    pen.strokeStyle = color(kind.color);
    pen.beginPath();
    pen.moveTo(at, top);
    pen.lineTo(at, top + height);
    pen.stroke();
    const text = kind.label(mark);
    const long = pen.measureText(text).width;
    const begin = at + 3 * ratio + long <= left + width ? at + 3 * ratio : at - 3 * ratio - long;
    if (!labelled || begin < free) continue;
    pen.fillStyle = color("muted");
    pen.fillText(text, begin, top + 2 * ratio);
    free = begin + long + GAP * ratio;
  }
  pen.restore();
}

/** The list below the charts, the newest first; not there while nothing happened. */
export class MarkList {
  constructor(host) {
    this.host = host;
    this.shown = "";
    this.number = element("span", {});
    this.list = element("ol", {});
    host.append(element("summary", {}, element("h2", { text: "Marks" }), this.number), this.list);
  }

  show(marks) {
    const now = JSON.stringify(marks);
    if (now === this.shown) return;
    this.shown = now;
    this.host.hidden = !marks.length;
    put(this.number, `${marks.length} on the curves`);
    this.list.replaceChildren(...[...marks].reverse().map((mark) => {
      const sign = element("i", { "aria-hidden": "true" });
      sign.style.background = `var(--${(KINDS[mark.kind] || KINDS.restart).color})`;
      return element("li", {}, sign,
        element("time", { datetime: new Date(mark.seconds * 1000).toISOString(), text: clock(mark.seconds, { date: true }) }),
        element("span", { class: "number", text: `event ${count(mark.events)}` }),
        element("span", { text: mark.words }));
    }));
  }
}
