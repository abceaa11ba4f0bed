// Where the numbers come from: a running daemon, or a report that carries them along.

const LIVE = "api/v1/";
const PATIENCE_MS = 5000; // without a message for so long, the daemon counts as gone

async function ask(path) {
  const answer = await fetch(LIVE + path, { cache: "no-store" });
  if (answer.status === 401) throw new Error("the token is missing or wrong: open /?token=… once");
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

/** The answers to a list of asks. */
async function predict(asks) {
  const answer = await fetch(`${LIVE}predict`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(asks) });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.detail);
  return told;
}

/** A daemon at this address. */
export class LiveSource {
  history() { return ask("history"); }
  configuration() { return ask("config"); }
  facts() { return null; }
  learners() { return ask("learners"); }
  runs() { return []; }
  task(name) { return ask(`tasks/${encodeURIComponent(name)}`); }
  about(name) { return ask(`predict?${new URLSearchParams({ task: name })}`); }
  predict(asks) { return predict(asks); }
  tasks({ sort, order = "descending", limit, search }) {
    return ask(`tasks?${new URLSearchParams({ sort, order, limit, search })}`);
  }

  /** Call `onMessage` for each message, `onLost` when none comes any more; tries again for ever. */
  listen(onMessage, onLost) {
    let stream = null;
    let heard = 0;
    const open = () => {
      heard = Date.now();
      stream = new EventSource(`${LIVE}stream`);
      stream.addEventListener("state", (event) => { heard = Date.now(); onMessage(JSON.parse(event.data)); });
    };
    const again = () => {
      const broken = stream.readyState === EventSource.CLOSED || Date.now() - heard > PATIENCE_MS;
      if (stream.readyState !== EventSource.OPEN || broken) onLost();
      if (broken) { stream.close(); open(); }
    };
    open();
    setInterval(again, 1000);
    addEventListener("pagehide", () => stream.close());
    addEventListener("pageshow", (event) => { if (event.persisted) open(); });
  }
}

const SORTS = {
  task: (task) => task.task,
  loss: (task) => task.loss,
  events: (task) => task.events,
  seen: (task) => Date.parse(task.last_seen),
  staleness: (task) => task.staleness_events,
  drift: (task) => task.drift_event,
  quarantine: (task) => task.quarantined_event,
};

/** In that order; what is not known comes last. */
function ranked(of, sign) {
  return (first, second) => {
    const [one, other] = [of(first), of(second)];
    if (one === other) return 0;
    if (one === null || other === null) return one === null ? 1 : -1;
    return one < other ? -sign : sign;
  };
}

/** A report: everything is in the page. */
export class ReportSource {
  constructor(data) { this.data = data; }

  async history() { return this.data.history; }
  async configuration() { return this.data.settings; }
  async task(name) { return this.data.tasks.find((task) => task.task === name) || null; }
  async tasks({ sort, order, limit, search }) {
    const wanted = search.toLowerCase();
    const found = this.data.tasks.filter((task) => task.task.toLowerCase().includes(wanted) && (sort !== "drift" || task.drifts) && (sort !== "quarantine" || task.quarantined_event !== null));
    found.sort(ranked(SORTS[sort], order === "ascending" ? 1 : -1));
    return { known: this.data.known, matching: found.length, tasks: found.slice(0, limit) };
  }

  async learners() { return this.data; }
  runs() { return this.data.learners; }
  async about() { return null; }
  facts() { return this.data.facts; }
  listen(onMessage) { onMessage({ status: this.data.status, rows: null }); }
}

/** What this page shows. */
export function findSource() {
  const report = document.getElementById("report-data");
  return report ? new ReportSource(JSON.parse(report.textContent)) : new LiveSource();
}
