// The page of one task.

import { Asking } from "./asking.js";
import { Chart } from "./chart.js";
import { element, put } from "./dom.js";
import { clock, count, short } from "./format.js";
import { VISITS } from "./panels.js";

const FACTS = [
  ["Loss", (task) => short(task.loss), (task) => `${remembered(task) ? "at its memory" : "adapted"}, fading mean`],
  ["Events", (task) => count(task.events), () => "learned from"],
  ["Events since", (task) => count(task.staleness_events), () => "of other tasks"],
  ["Last seen", (task) => seen(task, 1), (task) => `event time, ${seen(task, 0)}`],
  ["Got worse", (task) => count(task.drifts), (task) => (task.drifts ? `times, last at event ${count(task.drift_event)}` : "times")],
  ["Memory", (task) => short(task.memory_norm), () => "norm at the checkpoint"],
];

/** Whether its losses are those at a memory. */
const remembered = (task) => (task.visits?.memory.length ? task.visits.memory.some((loss) => loss !== null) : task.memory_norm !== null);

/** Date (0) or time (1) of its last event. */
function seen(task, part) {
  return task.last_seen === null ? "–" : clock(Date.parse(task.last_seen) / 1000, { date: true }).split(" ")[part];
}

/** Why its records are set aside, and what releases it; a report has no command. */
function heldBack(task) {
  const since = `In quarantine since event ${count(task.quarantined_event)}, which would have taken the norm of its parameters to ${short(task.quarantined_norm)}. Its records are dead letters.`;
  return task.release ? `${since} To learn from it again: ${task.release}` : since;
}

export class TaskPage {
  constructor(host, source, frame) {
    this.host = host;
    this.source = source;
    this.name = null;
    this.title = element("h1");
    this.values = FACTS.map(([title]) => element("div", { class: "card tile" }, element("h3", { text: title }), element("b", { text: "–" }), element("small")));
    this.chart = new Chart(VISITS, { ...frame, raw: true, log: false, zoom: {}, axis: () => "events", setZoom: () => {} });
    this.held = element("p", { class: "held", hidden: true });
    this.unknown = element("p", { class: "nothing", text: "This task is not known.", hidden: true });
    this.known = element("div", {}, element("section", { class: "tiles" }, ...this.values), element("section", { class: "grid" }, this.chart.panel));
    this.asking = new Asking(source, frame);
    this.known.append(this.asking.panel);
    host.append(element("p", {}, element("a", { class: "back", href: "#/", text: "← All tasks" })), this.title, this.held, this.unknown, this.known);
  }

  get charts() { return [this.chart, this.asking.chart]; }

  /** Show the task of this name. */
  open(name) {
    this.name = name;
    put(this.title, name);
    this.asking.open(name);
    return this.refresh();
  }

  async refresh() {
    const name = this.name;
    let task;
    try { task = await this.source.task(name); } catch { return; }
    if (name !== this.name) return;
    this.unknown.hidden = Boolean(task);
    this.known.hidden = !task;
    this.held.hidden = !task || task.quarantined_event === null;
    if (!task) return;
    if (!this.held.hidden) put(this.held, heldBack(task));
    FACTS.forEach(([, of, detail], place) => {
      put(this.values[place].children[1], of(task));
      put(this.values[place].children[2], detail(task));
    });
    const visits = task.visits || { at: [], meta: [], adapted: [], memory: [] };
    this.asking.refresh();
    this.chart.show({ ...visits, events: visits.at });
  }
}
