// Wires the page: source -> curves -> panels; what the reader chose; which view is open.

import { Beside } from "./beside.js";
import { Chart } from "./chart.js";
import { Curves } from "./curves.js";
import { byId, element } from "./dom.js";
import { UNREACHABLE, showNames, showState, showTiles, showTroubles } from "./head.js";
import { MarkList } from "./marks.js";
import { LEARNING, OPERATION } from "./panels.js";
import { showRanks } from "./ranks.js";
import { showSettings } from "./settings.js";
import { findSource } from "./source.js";
import { TaskPage } from "./task.js";
import { TaskTable } from "./tasks.js";
import { startTheme } from "./theme.js";
import { hashOf, readView } from "./view.js";
import { WorseList } from "./worse.js";

const TASKS_EVERY_MS = 3000;

const source = findSource();
const curves = new Curves();
const frame = { ...readView(location.hash), status: null, outages: [], marks: [], axis: (definition) => (OPERATION.includes(definition) ? "seconds" : frame.over), setZoom };
const learning = LEARNING.map((definition) => new Chart(definition, frame));
const operation = OPERATION.map((definition) => new Chart(definition, frame));
const markList = new MarkList(byId("marks"));
const worse = new WorseList(byId("worse"), source);
const beside = new Beside(source, frame);
const table = new TaskTable(byId("tasks"), source);
const taskPage = new TaskPage(byId("task"), source, frame);
let fetching = null;
let status = null;
let routed = location.hash; // what is shown; a link just followed differs, until its event comes

function setZoom(axis, range) {
  if (range) frame.zoom[axis] = range;
  else delete frame.zoom[axis];
  drawCharts();
}

/** The last so many seconds, on both axes; a zoom replaces it. */
function follow() {
  const end = curves.time.seconds?.at(-1);
  if (!frame.last || !end) { frame.window = {}; return; }
  const from = end - frame.last;
  frame.window = { seconds: [from, end], events: [curves.eventsAt(from), Math.max(curves.eventsAt(from) + 1, curves.eventsAt(end))] };
}

function drawCharts() {
  byId("reset-zoom").hidden = !Object.keys(frame.zoom).length;
  if (byId("overview").hidden) return;
  if (location.hash === routed) history.replaceState(null, "", routed = hashOf(frame));
  follow();
  frame.outages = curves.outages();
  frame.marks = curves.marks;
  markList.show(curves.marks);
  const [learned, operated] = [curves.learning(frame.over), curves.operation()];
  for (const chart of learning) chart.show(learned);
  for (const chart of operation) chart.show(operated);
  beside.draw();
}

async function fetchHistory() {
  fetching ??= source.history();
  try { curves.load(await fetching); } catch { /* the stream tells that the daemon is away */ } finally { fetching = null; }
}

async function onMessage(message) {
  if (status && message.status.started_at_seconds !== status.started_at_seconds) curves.rows = -1;
  status = frame.status = message.status;
  table.name(status);
  showState(status.state, status.replayed);
  showNames(status);
  showTroubles(status.troubles);
  if (message.rows && !curves.append(message.rows)) await fetchHistory();
  curves.mark(message.marks || []);
  showTiles(status, curves.time, { tasks: table.known, refused: curves.refused() });
  showRanks(byId("ranks"), status.group);
  beside.show(status);
  if (!document.hidden) drawCharts();
}

function onLost() {
  showState("reconnecting");
  showTroubles([UNREACHABLE]);
}

function choice(name, options, chosen, onChange) {
  const buttons = options.map(([value, title]) => element("button", { type: "button", text: title, "aria-pressed": String(value === chosen), onclick: () => {
    buttons.forEach((button, place) => button.setAttribute("aria-pressed", String(options[place][0] === value)));
    onChange(value);
    drawCharts();
  } }));
  return element("div", { class: "choice", role: "group", "aria-label": name }, ...buttons);
}

/** A list of which one is chosen. */
function pick(name, options, key) {
  const list = element("select", { class: "pick", "aria-label": name, onchange: () => {
    frame[key] = options[list.selectedIndex][0];
    if (key === "last") frame.zoom = {};
    drawCharts();
  } }, ...options.map(([, text]) => element("option", { text })));
  list.selectedIndex = options.findIndex(([value]) => value === frame[key]);
  return list;
}

function addControls() {
  byId("controls").replaceChildren(
    element("button", { id: "reset-zoom", type: "button", class: "quiet", text: "Reset zoom", hidden: true, onclick: () => { frame.zoom = {}; drawCharts(); } }),
    pick("Smoothing", [[1, "No smoothing"], [10, "Smooth 10"], [100, "Smooth 100"]], "smooth"),
    pick("Time range", [[0, "All time"], [300, "Last 5 min"], [3600, "Last hour"], [21600, "Last 6 h"], [86400, "Last day"], [604800, "Last week"]], "last"),
    choice("Raw losses", [[true, "Raw"], [false, "Means only"]], frame.raw, (value) => { frame.raw = value; }),
    choice("Scale", [[false, "Linear"], [true, "Log"]], frame.log, (value) => { frame.log = value; }),
    choice("Axis", [["events", "Events"], ["seconds", "Time"]], frame.over, (value) => { frame.over = value; }));
}

function route() {
  routed = location.hash;
  const match = /^#\/tasks\/(.+)$/.exec(location.hash);
  let name = null;
  try { name = match && decodeURIComponent(match[1]); } catch { /* not an address of ours */ }
  byId("overview").hidden = name !== null;
  byId("task").hidden = name === null;
  if (name === null) {
    if (location.hash.includes("?") && location.hash !== hashOf(frame)) { Object.assign(frame, readView(location.hash)); addControls(); }
    drawCharts();
  }
  else { taskPage.open(name); scrollTo(0, 0); }
}

function everyNowAndThen() {
  if (document.hidden) return;
  if (byId("overview").hidden) taskPage.refresh();
  else { table.refresh(); worse.refresh(); beside.refresh(); }
}

byId("learning").append(...learning.map((chart) => chart.panel));
byId("operation").append(...operation.map((chart) => chart.panel));
addControls();
startTheme(byId("theme"), () => { for (const chart of [...learning, ...operation, ...beside.charts, ...taskPage.charts]) chart.rebuild(); });
addEventListener("hashchange", route);
byId("settings").addEventListener("toggle", async (event) => {
  if (event.target.open) showSettings(byId("settings").lastElementChild, await source.configuration());
});
if (source.facts()) {
  byId("facts").hidden = false;
  showSettings(byId("facts").appendChild(element("div")), source.facts());
  document.querySelector("footer nav").remove();
  byId("settings").open = true;
}
fetchHistory().then(async () => {
  drawCharts();
  source.listen(onMessage, onLost);
  if (source.runs().length) await beside.refresh();
});
table.refresh();
worse.refresh();
route();
if (!source.facts()) setInterval(everyNowAndThen, TASKS_EVERY_MS);
