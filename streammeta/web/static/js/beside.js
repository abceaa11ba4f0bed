// Challengers beside their champion: a table of where each stands, and their losses in one picture.

import { Chart } from "./chart.js";
import { byId, element, put } from "./dom.js";
import { count, short } from "./format.js";

const COLORS = ["adapted", "meta", "memory", "first", "fourth"]; // the champion's, then the challengers'
const PICTURES = [
  { id: "beside-adapted", phase: "adapted", title: "Loss after one adaptation" },
  { id: "beside-memory", phase: "memory", title: "Loss at the task's memory" },
];
const HELP = "Prequential: each event is predicted before it is learned from. Fading means over the last 100 events or so, over the champion's events.";
const COLUMNS = [
  { title: "Learner" },
  { title: "State" },
  { title: "Events", minor: true, help: "Learned in the life of its state" },
  { title: "Per second", minor: true },
  { title: "Behind", help: "Records between it and the champion" },
  { title: "Loss adapted", help: "After one adaptation; mean over the last 1,000 events", of: (s) => s.losses?.adapted.window },
  { title: "Loss memory", help: "At the task's memory; mean over the last 1,000 events", of: (s) => s.losses?.memory.window },
  { title: "Gain", minor: true, help: "Loss at the meta-parameters minus loss after adaptation; above 0, adapting helps" },
  { title: "Dead letters", minor: true, help: "Records that it could not use; a challenger writes none" },
];

export class Beside {
  constructor(source, frame) {
    this.source = source;
    this.learners = [];
    this.columns = {};
    const own = Object.setPrototypeOf({ axis: () => "events" }, frame);
    this.charts = PICTURES.map((picture) => new Chart({
      ...picture, help: HELP, half: true, scalable: true, unit: "loss",
      series: () => this.learners.map((name, place) => ({ label: name, color: COLORS[place % COLORS.length], from: (columns) => columns[`${picture.phase} ${name}`] || [] })),
    }, own));
    this.body = element("tbody");
    byId("beside-table").append(element("table", {},
      element("thead", {}, element("tr", {}, ...COLUMNS.map((column) => element("th", { scope: "col", class: column.minor ? "minor" : null, text: column.title, title: column.help })))),
      this.body));
    byId("beside-charts").append(...this.charts.map((chart) => chart.panel));
  }

  /** The table; the whole section only where there are challengers. */
  show(status) {
    const recorded = this.source.runs();
    const challengers = recorded.length ? recorded.slice(1) : status.challengers || [];
    byId("beside").hidden = !challengers.length;
    if (!challengers.length) return;
    const champion = recorded[0] || { ...status, name: "champion", behind: 0, reason: "" };
    if (recorded.length) put(byId("beside").querySelector("h2"), "Runs beside one another");
    const learners = [champion, ...challengers];
    const best = new Map(COLUMNS.filter((column) => column.of).map((column) => [column, Math.min(...learners.map((one) => column.of(one) ?? Infinity))]));
    this.body.replaceChildren(...learners.flatMap((one, place) => row(one, place, best)));
  }

  /** Ask for the curves. */
  async refresh() {
    if (byId("beside").hidden) return;
    let answer;
    try { answer = await this.source.learners(); } catch { return; }
    if (!answer) return;
    this.learners = answer.learners.map((learner) => learner.name);
    this.columns = together(answer.learners);
    this.draw();
  }

  draw() {
    if (!byId("beside").hidden) for (const chart of this.charts) chart.show(this.columns);
  }
}

function row(one, place, best) {
  const mark = element("i", { "data-color": COLORS[place % COLORS.length] });
  const cells = [
    element("td", {}, mark, element("b", { text: one.name, title: one.config || "" }), element("small", { text: one.algorithm })),
    element("td", {}, element("span", { class: "state", "data-state": one.state, text: one.state })),
    element("td", { class: "number minor", text: count(one.events) }),
    element("td", { class: "number minor", text: short(one.events_per_second, 3) }),
    element("td", { class: "number", text: place ? count(one.behind) : "–" }),
    ...COLUMNS.filter((column) => column.of).map((column) => element("td", { class: column.of(one) === best.get(column) ? "number strong" : "number", text: short(column.of(one)) })),
    element("td", { class: "number minor", text: short(one.adaptation_gain, 3) }),
    element("td", { class: "number minor", text: count(one.outcomes?.dead_letter) }),
  ];
  const rows = [element("tr", { "data-learner": one.name }, ...cells)];
  const words = one.reason || (one.deaths ? `begun again ${one.deaths === 1 ? "once" : `${count(one.deaths)} times`}` : "");
  if (words) rows.push(element("tr", { class: "words" }, element("td", { colspan: String(COLUMNS.length), text: words })));
  return rows;
}

/** The curves of all over the events of the first. */
function together(learners) {
  const [champion, ...others] = learners;
  if (!champion) return {};
  const { events } = champion.columns;
  const columns = { events };
  for (const { phase } of PICTURES) {
    columns[`${phase} ${champion.name}`] = champion.columns[`fading_${phase}`];
    for (const other of others) columns[`${phase} ${other.name}`] = resampled(other.columns.events, other.columns[`fading_${phase}`], events);
  }
  return columns;
}

/** Values known at `from`, read at `to`; null beyond. Both rise. */
function resampled(from, values, to) {
  let place = 0;
  return to.map((at) => {
    while (place < from.length && from[place] < at) place += 1;
    if (place >= from.length || (place === 0 && from[0] > at)) return null;
    if (from[place] === at || values[place] === null || values[place - 1] === null) return values[place];
    const share = (at - from[place - 1]) / (from[place] - from[place - 1]);
    return values[place - 1] + share * (values[place] - values[place - 1]);
  });
}
