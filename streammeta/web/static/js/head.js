// The top of the page: names, state, troubles, and the row of numbers.

import { byId, element, put, spark, sparkPath } from "./dom.js";
import { perSecond } from "./panels.js";
import { bytes, change, count, duration, percent, short } from "./format.js";

const WORDS = { learning: "learning", disconnected: "no broker", restoring: "restoring", starting: "starting", stopped: "stopped", recorded: "report" };

/** State of the daemon, and of this page's connection to it; `replayed` is the share applied of what is applied again. */
export function showState(state, replayed = null) {
  const progress = replayed !== null && replayed < 1 ? ` ${Math.floor(100 * replayed)} %` : "";
  put(byId("state"), (WORDS[state] || state) + progress);
  byId("state").dataset.state = state;
}

export function showNames(status) {
  put(byId("names"), `${status.algorithm} · topic ${status.topic}`);
  put(byId("uptime"), status.uptime_seconds === null ? "" : `up ${duration(status.uptime_seconds)}`);
  put(byId("versions"), [`streammeta ${status.version}`, `torch ${status.torch}`, ...steps(status.engine)].join(" · "));
  document.title = `${short(status.losses.adapted.now, 3)} · ${status.topic} · streammeta`;
}

/** Who computes the steps, in words; nothing before the first. */
function steps(engine) {
  if (!engine || !(engine.compiled + engine.traced + engine.eager)) return [];
  const kinds = [["as machine code", engine.compiled], ["traced", engine.traced], ["eager", engine.eager]].filter(([, shapes]) => shapes);
  const words = kinds.length === 1 ? `steps ${kinds[0][0]}` : `steps of ${kinds.map(([kind, shapes]) => `${plural(shapes, "shape")} ${kind}`).join(", ")}`;
  const compiling = engine.compiling ? [`${count(engine.compiling)} being compiled`] : [];
  const failed = engine.compile_failures ? [`${count(engine.compile_failures)} could not be compiled`] : [];
  return [words, ...compiling, ...failed, ...(engine.making ? [engine.making] : [])];
}

/** What is wrong and what to do; nothing when nothing is. */
export function showTroubles(troubles) {
  const banner = byId("banner");
  const key = JSON.stringify(troubles);
  if (banner.dataset.key === key) return;
  banner.dataset.key = key;
  banner.replaceChildren(...troubles.map((trouble) => element("div", { class: `trouble ${trouble.level}`, "data-code": trouble.code },
    element("b", { text: trouble.text }), element("p", { text: trouble.remedy }))));
}

/** The page cannot reach the daemon. */
export const UNREACHABLE = {
  code: "unreachable", level: "error", text: "The daemon does not answer: reconnecting",
  remedy: "The numbers below are the last that it told. It may be restarting; this page goes on by itself when it is back.",
};

const plural = (number, one) => `${count(number)} ${one}${number === 1 ? "" : "s"}`;

/** What a hover over a mean says. */
const windowed = (mean) => `Fading mean over the last 100 events or so; over the last 1,000: ${short(mean.window)}`;

const TILES = [
  { id: "loss", title: "Loss after adaptation", help: (s) => windowed(s.losses.adapted), curve: (time) => time.fading_adapted, of: (s) => [short(s.losses.adapted.now), `${change(s.losses.adapted.now, s.losses.adapted.first)} ${s.losses.adapted.first === null ? "" : `from ${short(s.losses.adapted.first, 3)}`}`] },
  { id: "accuracy", title: "Adapted accuracy", when: (s) => s.accuracies.adapted.now !== null, help: (s) => windowed(s.accuracies.adapted), curve: (time) => time.fading_accuracy_adapted, of: (s) => [percent(s.accuracies.adapted.now), `before: ${percent(s.accuracies.meta.now)}`] },
  { id: "gain", title: "Adaptation gain", of: (s) => [short(s.adaptation_gain), s.adaptation_gain === null ? "" : s.adaptation_gain > 0 ? "adapting helps" : "adapting does not help"] },
  { id: "events", title: "Events", curve: perSecond, of: (s) => [count(s.events), s.events_per_second === null ? "" : `${short(s.events_per_second, 3)} per second`] },
  { id: "lag", title: "Lag", live: true, curve: (time) => time.lag, of: (s) => [count(s.lag.total), `records, ${plural(Object.keys(s.lag.partitions).length, "partition")}`] },
  { id: "tasks", title: "Tasks", of: (s) => (s.tasks ? [count(s.tasks.stored), s.tasks.cached === null ? "" : `${count(s.tasks.cached)} in memory`] : ["–", "after the first checkpoint"]) },
  { id: "letters", title: "Dead letters", of: (s) => [count(s.outcomes.dead_letter), worst(s.dead_letters, s.examples_dropped)] },
  { id: "checkpoint", title: "Checkpoint", live: true, of: (s) => checkpoint(s.checkpoint) },
];

function worst(counts, dropped) {
  const lost = Object.values(dropped).reduce((sum, number) => sum + number, 0);
  const reasons = Object.entries(counts).filter(([, number]) => number).sort((one, other) => other[1] - one[1]);
  if (lost) reasons.push(["examples dropped", lost]);
  if (!reasons.length) return "every record was used";
  return reasons.slice(0, 2).map(([reason, number]) => `${reason.replaceAll("_", " ")} ${count(number)}`).join(", ");
}

function checkpoint(saved) {
  if (!saved) return ["–", "none yet"];
  if (!saved.ok) return ["failed", ""];
  return [`${duration(saved.age_seconds)} ago`, `${bytes(saved.bytes)} in ${short(saved.duration_seconds * 1000, 2)} ms`];
}

/** The row of numbers; made once, then only its texts change. */
export function showTiles(status, time) {
  const host = byId("tiles");
  const tiles = TILES.filter((tile) => (status.state !== "recorded" || !tile.live) && (!tile.when || tile.when(status)));
  if (host.children.length !== tiles.length) {
    host.replaceChildren(...tiles.map((tile) => element("div", { class: "card tile", "data-tile": tile.id },
      element("h3", { text: tile.title }), element("b", {}), element("small", {}), tile.curve ? spark([]) : null)));
  }
  tiles.forEach((tile, place) => {
    const [, value, detail, curve] = host.children[place].children;
    const [now, more] = tile.of(status);
    put(value, now);
    put(detail, more);
    detail.title = more;
    if (tile.help) host.children[place].title = tile.help(status);
    if (curve) curve.firstChild.setAttribute("d", sparkPath((tile.curve(time) || []).slice(-120), 96, 24));
  });
}
