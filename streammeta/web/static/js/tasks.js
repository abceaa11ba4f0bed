// The table of tasks: search, sort, a sparkline each.

import { element, put, refill, spark } from "./dom.js";
import { clock, count, duration, short } from "./format.js";

const COLUMNS = [
  { title: "Task", sort: "task", ascending: true, help: "By name" },
  { title: "Loss", sort: "loss", help: "Fading mean of the task's loss before each visit: at its memory where it has one, else after one adaptation" },
  { title: "Last visits", help: "The loss at each of the last visits" },
  { title: "Events", sort: "events", help: "Events learned from" },
  { title: "Last seen", sort: "seen", minor: true, help: "Event time of its last event" },
  { title: "Events since", sort: "staleness", help: "Events of other tasks since then" },
];
const FIRST = 25;
const MOST = 1000;

/** That a task is held back; nothing where it is not. */
function held(task) {
  if (task.quarantined_event === null) return null;
  return element("small", { class: "held", text: "in quarantine", title: `since event ${count(task.quarantined_event)}; its page tells how to release it` });
}

export class TaskTable {
  constructor(host, source) {
    this.source = source;
    this.query = { sort: "loss", order: "descending", limit: FIRST, search: "" };
    this.asked = 0;
    this.known = null;
    this.count = element("span", { class: "count" });
    this.held = element("button", { type: "button", class: "quiet", title: "Show these alone", hidden: true, onclick: () => this.#change({ sort: "quarantine", order: "descending", limit: FIRST, search: "" }) });
    this.body = element("tbody");
    this.more = element("button", { type: "button", class: "quiet", text: "Show more", hidden: true, onclick: () => this.#change({ limit: Math.min(MOST, this.query.limit * 4) }) });
    this.heads = COLUMNS.map((column) => this.#head(column));
    const search = element("input", { type: "search", placeholder: "Search tasks", "aria-label": "Search tasks", spellcheck: "false", autocomplete: "off", oninput: (event) => this.#change({ search: event.target.value, limit: FIRST }) });
    host.classList.toggle("recorded", Boolean(source.facts()));
    host.append(
      element("div", { class: "bar" }, element("h2", { text: "Tasks" }), this.count, this.held, search),
      element("table", {}, element("thead", {}, element("tr", {}, ...this.heads)), this.body),
      this.more);
  }

  /** Say which loss is listed: at the memory, or where the learner keeps none, after one adaptation; and how many are held back. */
  name(status) {
    const held = status.tasks?.quarantined || 0;
    put(this.held, `${count(held)} in quarantine`);
    this.held.hidden = !held;
    put(this.heads[1].firstChild, status.losses.memory.now === null ? "Loss, adapted" : "Loss, at memory");
  }

  #head({ title, sort, ascending, help, minor }) {
    const first = ascending ? "ascending" : "descending";
    const other = { ascending: "descending", descending: "ascending" };
    const turn = () => this.#change({ sort, order: sort === this.query.sort ? other[this.query.order] : first });
    const content = sort ? element("button", { type: "button", class: "quiet", text: title, title: help, onclick: turn }) : element("span", { text: title, title: help });
    return element("th", { scope: "col", class: minor ? "minor" : null }, content);
  }

  #change(changes) {
    this.query = { ...this.query, ...changes };
    this.refresh();
  }

  /** Ask again; an answer that a later question has overtaken is dropped. */
  async refresh() {
    const number = (this.asked += 1);
    let answer;
    try { answer = await this.source.tasks(this.query); } catch { return; }
    if (number !== this.asked || !answer) return;
    COLUMNS.forEach((column, place) => {
      if (column.sort) this.heads[place].setAttribute("aria-sort", column.sort === this.query.sort ? this.query.order : "none");
    });
    this.known = answer.known;
    put(this.count, answer.matching === answer.known ? count(answer.known) : `${count(answer.matching)} of ${count(answer.known)}`);
    this.more.hidden = answer.tasks.length >= answer.matching || this.query.limit >= MOST;
    this.#fill(answer.tasks);
  }

  /** How long ago; in a report, when. */
  #seen(at) {
    if (at === null) return "–";
    const seconds = Date.parse(at) / 1000;
    return this.source.facts() ? clock(seconds, { date: true }) : `${duration(Math.max(0, Date.now() / 1000 - seconds))} ago`;
  }

  #fill(tasks) {
    const rows = tasks.map((task) => {
      return element("tr", {},
        element("td", {}, element("a", { href: `#/tasks/${encodeURIComponent(task.task)}`, text: task.task, title: task.task }), held(task)),
        element("td", { class: "number strong", text: short(task.loss) }),
        element("td", { class: "curve" }, spark(task.recent, 96, 20)),
        element("td", { class: "number", text: count(task.events) }),
        element("td", { class: "number minor", text: this.#seen(task.last_seen) }),
        element("td", { class: "number", text: count(task.staleness_events) }));
    });
    const nothing = element("tr", {}, element("td", { colspan: "6", class: "none", text: this.query.search ? "no task matches" : "no task yet" }));
    refill(this.body, rows.length ? rows : [nothing]);
  }
}
