// The group of ranks that this daemon learns in, where it does.

import { element } from "./dom.js";
import { count, duration, short } from "./format.js";

const COLUMNS = [
  ["Rank", "Which process"],
  ["Events", "Learned from in the life of its state"],
  ["Lag", "Records between it and the ends of its partitions"],
  ["Weight", "Events that it learned in the last round"],
  ["Distance", "Of its meta-parameters from the mean, at the end of the round before"],
  ["", ""],
];

/** A row a rank, as each told of itself at the end of the last round. */
export function showRanks(host, group) {
  host.hidden = !group;
  if (!group) return;
  const waits = new Set(group.waiting_for);
  const rows = group.ranks.map((rank) => element("tr", {},
    element("td", { text: rank.rank === group.rank ? `${rank.rank} (this)` : String(rank.rank) }),
    element("td", { class: "number strong", text: count(rank.events) }),
    element("td", { class: "number", text: rank.lag === null ? "–" : count(rank.lag) }),
    element("td", { class: "number", text: count(rank.weight) }),
    element("td", { class: "number", text: short(rank.distance) }),
    element("td", { class: "number", text: waits.has(rank.rank) ? "waited for" : rank.ended ? "at its end" : "" })));
  host.replaceChildren(
    element("div", { class: "bar" },
      element("h2", { text: "Ranks" }),
      element("span", { class: "count", text: `round ${count(group.round)}, waited ${duration(group.waited_seconds)}, exchanged in ${short(group.exchange_seconds * 1000, 3)} ms` })),
    element("table", {},
      element("thead", {}, element("tr", {}, ...COLUMNS.map(([title, help]) => element("th", { scope: "col", text: title, title: help })))),
      element("tbody", {}, ...rows)));
}
