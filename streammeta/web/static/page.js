"use strict";
// Shows /api/v1/status once a second. What it shows is set as text, never as markup.

const PHASES = ["meta", "adapted", "memory"];
const KEPT = 600;
const samples = [];

const put = (id, text) => { document.getElementById(id).textContent = text; };
const whole = (value) => value.toLocaleString("en");
const short = (value) => (value === null ? "–" : Number(value.toPrecision(4)).toString());

function duration(seconds) {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

function showState(state) {
  put("state", state);
  document.getElementById("state").dataset.state = state;
}

function showNumbers(now) {
  put("names", `${now.algorithm} · topic ${now.topic} · up ${duration(now.uptime_seconds)}`);
  put("events", whole(now.events));
  put("rate", `${whole(Math.round(now.events_per_second))} per second`);
  put("lag", whole(now.lag.total));
  const partitions = Object.keys(now.lag.partitions).length;
  put("partitions", `in ${partitions} ${partitions === 1 ? "partition" : "partitions"}`);
  put("tasks", now.tasks ? whole(now.tasks.stored) : "–");
  put("cached", now.tasks ? `${whole(now.tasks.cached)} in memory` : "");
  const reasons = Object.entries(now.dead_letters).filter(([, count]) => count).sort((a, b) => b[1] - a[1]);
  put("letters", whole(now.outcomes.dead_letter));
  put("reasons", reasons.slice(0, 3).map(([reason, count]) => `${reason} ${whole(count)}`).join(", "));
  put("versions", `streammeta ${now.version} · torch ${now.torch}`);
}

function showCheckpoint(saved) {
  put("checkpoint", saved ? (saved.ok ? `${duration(saved.age_seconds)} ago` : "failed") : "none yet");
  const detail = saved && `${whole(Math.round(saved.bytes / 1000))} kB in ${Math.round(saved.duration_seconds * 1000)} ms`;
  put("size", detail || "");
}

function showLosses(losses) {
  for (const phase of PHASES) {
    const { now, first } = losses[phase];
    const [nowCell, firstCell, changeCell] = document.querySelectorAll(`[data-phase="${phase}"] td`);
    nowCell.textContent = short(now);
    firstCell.textContent = short(first);
    const change = now === null || !first ? null : now / first - 1;
    changeCell.textContent = change === null ? "" : `${change < 0 ? "▼" : "▲"} ${Math.abs(change * 100).toFixed(0)} %`;
    changeCell.className = change < 0 ? "fell" : "rose";
  }
}

function line(phase, low, high) {
  const width = 600 / Math.max(samples.length - 1, 1);
  let path = "";
  let pen = "M";
  samples.forEach((sample, index) => {
    const loss = sample[phase];
    if (loss === null) { pen = "M"; return; }
    path += `${pen}${(index * width).toFixed(1)},${(155 - (150 * (loss - low)) / (high - low || 1)).toFixed(1)}`;
    pen = "L";
  });
  return path;
}

function drawChart(losses) {
  samples.push(Object.fromEntries(PHASES.map((phase) => [phase, losses[phase].now])));
  if (samples.length > KEPT) samples.shift();
  const known = samples.flatMap((sample) => PHASES.map((phase) => sample[phase])).filter((loss) => loss !== null);
  if (!known.length) return;
  const low = Math.min(...known);
  const high = Math.max(...known);
  for (const phase of PHASES) document.querySelector(`#chart .${phase}`).setAttribute("d", line(phase, low, high));
  put("high", short(high));
  put("low", short(low));
  put("since", samples.length < KEPT ? "since this page was opened" : "the last 10 minutes");
}

async function turn() {
  try {
    const answer = await fetch("api/v1/status", { cache: "no-store" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const now = await answer.json();
    showState(now.state);
    showNumbers(now);
    showCheckpoint(now.checkpoint);
    showLosses(now.losses);
    drawChart(now.losses);
  } catch (error) {
    showState("unreachable");
  }
  setTimeout(turn, 1000);
}

turn();
