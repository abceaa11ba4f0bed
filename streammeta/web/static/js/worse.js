// The tasks that got worse, the last first: the level of their losses before, of the visits that told, and now.

import { element, put, refill } from "./dom.js";
import { count, short } from "./format.js";

const MOST = 8;
const COLUMNS = ["Task", "Before", "Then", "Now", "At event", "Times"];

export class WorseList {
  constructor(host, source) {
    this.host = host;
    this.source = source;
    this.number = element("span", { class: "count" });
    this.body = element("tbody");
    host.append(
      element("div", { class: "bar" }, element("h2", { text: "Got worse" }), this.number),
      element("table", {}, element("thead", {}, element("tr", {}, ...COLUMNS.map((text) => element("th", { scope: "col", text })))), this.body));
  }

  async refresh() {
    let answer;
    try { answer = await this.source.tasks({ sort: "drift", limit: MOST, search: "" }); } catch { return; }
    this.host.hidden = !answer?.tasks.length;
    if (this.host.hidden) return;
    put(this.number, answer.matching > MOST ? `the last ${MOST} of ${count(answer.matching)}` : "");
    refill(this.body, answer.tasks.map((task) => element("tr", {},
      element("td", {}, element("a", { href: `#/tasks/${encodeURIComponent(task.task)}`, text: task.task, title: task.task })),
      ...[task.loss_before, task.loss_after, task.loss].map((loss) => element("td", { class: "number", text: short(loss) })),
      element("td", { class: "number", text: count(task.drift_event) }),
      element("td", { class: "number", text: count(task.drifts) }))));
  }
}
