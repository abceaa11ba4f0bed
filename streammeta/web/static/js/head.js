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
const windowed = (mean) => `Fading mean over the last 100 events or so, as in the chart; over the last 1,000: ${short(mean.window)}`;

/** What a loss was at first, and how it changed since. */
const since = (loss) => (loss.now === null || loss.first === null ? "" : `, ${change(loss.now, loss.first)}`);

const TILES = [
  { id: "loss", title: "Loss after adaptation", help: (s) => `${windowed(s.losses.adapted)}; over the first 50: ${short(s.losses.adapted.first)}`, curve: (time) => time.fading_adapted, of: (s) => [short(s.losses.adapted.now), `last ~100${since(s.losses.adapted)}`] },
  { id: "accuracy", title: "Adapted accuracy", when: (s) => s.accuracies.adapted.now !== null, help: (s) => windowed(s.accuracies.adapted), curve: (time) => time.fading_accuracy_adapted, of: (s) => [percent(s.accuracies.adapted.now), `last ~100, before: ${percent(s.accuracies.meta.now)}`] },
  { id: "gain", title: "Adaptation gain", of: (s) => [short(s.adaptation_gain), s.adaptation_gain === null ? "" : s.adaptation_gain > 0 ? "last ~100, helps" : "last ~100, does not help"] },
  { id: "events", title: "Events", curve: perSecond, of: (s) => [count(s.events), s.events_per_second === null ? "" : `${short(s.events_per_second, 3)} per second`] },
  { id: "lag", title: "Lag", live: true, curve: (time) => time.lag, help: (s) => `Records between the learner and the end of the topic, in ${plural(Object.keys(s.lag.partitions).length, "partition")}; how old the next one is; until nothing is behind`, of: (s) => [count(s.lag.total), behind(s.lag)] },
  { id: "tasks", title: "Tasks", of: (s, past) => (s.tasks ? [count(s.tasks.stored), s.tasks.cached === null ? "" : `${count(s.tasks.cached)} in memory`] : [count(past.tasks), "none saved since the start"]) },
  { id: "letters", title: "Dead letters", of: (s, past) => letters(s, past.refused) },
  { id: "checkpoint", title: "Checkpoint", live: true, of: (s) => checkpoint(s.checkpoint) },
];

/** Of the whole life: what the curves hold, or what this process told since. */
function letters(status, refused) {
  const life = Object.fromEntries(Object.keys({ ...status.dead_letters, ...refused }).map((reason) => [reason, Math.max(status.dead_letters[reason] || 0, refused[reason] || 0)]));
  const total = Object.values(life).reduce((sum, number) => sum + number, 0);
  return [count(Math.max(total, status.outcomes.dead_letter)), worst(life, status.examples_dropped)];
}

/** Lag in seconds, and until when it is gone. */
function behind({ total, seconds, eta_seconds: eta }) {
  if (total === null) return "records";
  const parts = ["records", seconds === null ? null : `${duration(seconds)}`, total && eta !== null ? `ETA ${duration(eta)}` : null];
  return parts.filter(Boolean).join(", ");
}

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
  if (!saved.bytes) return [`${duration(saved.age_seconds)} ago`, "by another process"];
  return [`${duration(saved.age_seconds)} ago`, `${bytes(saved.bytes)} in ${short(saved.duration_seconds * 1000, 2)} ms`];
}

/** The row of numbers; made once, then only its texts change. */
export function showTiles(status, time, past) {
  const host = byId("tiles");
  const tiles = TILES.filter((tile) => (status.state !== "recorded" || !tile.live) && (!tile.when || tile.when(status)));
  if (host.children.length !== tiles.length) {
    host.replaceChildren(...tiles.map((tile) => element("div", { class: "card tile", "data-tile": tile.id },
      element("h3", { text: tile.title }), element("b", {}), element("small", {}), tile.curve ? spark([]) : null)));
  }
  tiles.forEach((tile, place) => {
    const [, value, detail, curve] = host.children[place].children;
    const [now, more] = tile.of(status, past);
    put(value, now);
    put(detail, more);
    detail.title = more;
    if (tile.help) host.children[place].title = tile.help(status);
    if (curve) curve.firstChild.setAttribute("d", sparkPath((tile.curve(time) || []).slice(-120), 96, 24));
  });
}
