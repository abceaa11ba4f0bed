// The history as columns: what the daemon keeps, and the rows that came since.

const MOST_LIVE_ROWS = 900; // then the daemon's own resolution is fetched again
const LEAST_GAP_SECONDS = 10;

export class Curves {
  constructor() {
    this.events = {};
    this.time = {};
    this.marks = [];
    this.rows = -1; // number of the last row known; -1: the history must be fetched
    this.live = 0;
  }

  /** Take over a whole history. */
  load(history) {
    this.events = history.events.columns;
    this.time = history.time.columns;
    this.marks = history.marks || [];
    this.rows = history.rows;
    this.live = 0;
  }

  /** Append what a message brought; false when rows are missing, so that the history must be fetched. */
  append({ to, columns }) {
    const length = columns.seconds.length;
    const missing = to - this.rows;
    if (this.rows < 0 || missing < 0 || missing > length) return false;
    for (let row = length - missing; row < length; row += 1) {
      this.#push(this.time, columns, row);
      if (columns.fading_adapted[row] !== null) this.#push(this.events, columns, row);
    }
    this.rows = to;
    this.live += missing;
    return this.live < MOST_LIVE_ROWS;
  }

  /** Take over marks that are new, or have grown. */
  mark(marks) {
    const known = new Map(this.marks.map((mark) => [mark.id, mark]));
    for (const mark of marks) known.set(mark.id, mark);
    this.marks = [...known.values()];
  }

  #push(target, columns, row) {
    const before = target.seconds ? target.seconds.length : 0;
    const known = target === this.time ? Object.keys(columns) : Object.keys(target);
    for (const name of known) target[name] ??= new Array(before).fill(0); // only counts come later than the rest
    for (const name of Object.keys(target)) target[name].push(columns[name] ? columns[name][row] : 0);
  }

  /** Columns for charts of learning: rows in which something was learned, over "events" or "seconds". */
  learning(axis) {
    if (axis === "events") return this.events.events ? this.events : EMPTY;
    const kept = places(this.time, (row) => this.time.fading_adapted[row] !== null);
    return broken(picked(this.time, kept));
  }

  /** Columns for charts of operation, over seconds. */
  operation() {
    return this.time.seconds ? broken(this.time) : EMPTY;
  }

  /** How many events had been learned at that time. */
  eventsAt(at) {
    const { seconds = [], events = [] } = this.time;
    const row = seconds.findIndex((second) => second >= at);
    return row < 0 ? events.at(-1) ?? 0 : events[row];
  }

  /** What the daemon refused in the life of its state, by reason. */
  refused() {
    const prefix = "dead_letters_";
    const sum = (values) => values.reduce((total, value) => total + (value || 0), 0);
    return Object.fromEntries(Object.entries(this.time).filter(([name]) => name.startsWith(prefix)).map(([name, values]) => [name.slice(prefix.length), sum(values)]));
  }

  /** Spans of time without a broker, as [from, to]. */
  outages() {
    const { seconds = [], connected = [], covered_seconds: covered = [] } = this.time;
    const found = [];
    connected.forEach((value, row) => {
      if (value !== 0) return;
      // Not back to the row before: in between the daemon itself may have been away.
      const from = Math.max(row ? seconds[row - 1] : -Infinity, seconds[row] - covered[row]);
      const last = found.at(-1);
      if (last && from - last[1] < 1) last[1] = seconds[row];
      else found.push([from, seconds[row]]);
    });
    return found;
  }
}

const EMPTY = { events: [], seconds: [] };

function places(columns, keep) {
  const kept = [];
  (columns.seconds || []).forEach((_, row) => { if (keep(row)) kept.push(row); });
  return kept;
}

function picked(columns, kept) {
  return Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, kept.map((row) => values[row])]));
}

/** With an empty row where the daemon was away, so that no line crosses the gap. */
function broken(columns) {
  const { seconds } = columns;
  if (!seconds || seconds.length < 3) return columns.seconds ? columns : EMPTY;
  const gaps = [];
  for (let row = 2; row < seconds.length; row += 1) {
    const step = seconds[row] - seconds[row - 1];
    if (step > LEAST_GAP_SECONDS && step > 8 * (seconds[row - 1] - seconds[row - 2] || 1)) gaps.push(row);
  }
  if (!gaps.length) return columns;
  return Object.fromEntries(Object.entries(columns).map(([name, values]) => {
    const copy = values.slice();
    for (const row of [...gaps].reverse()) {
      copy.splice(row, 0, name === "seconds" ? (seconds[row] + seconds[row - 1]) / 2 : null);
    }
    return [name, copy];
  }));
}
