// What a chart does to its numbers before it draws them: smoothing, ranges, ticks.

import { clock } from "./format.js";

/** A fading mean over the points, for numbers of which the daemon keeps none. */
export function smoothed(values, points) {
  const kept = 1 - 1 / points;
  let [total, weight] = [0, 0];
  return values.map((value) => {
    if (value === null || value === undefined) return null;
    [total, weight] = [value + kept * total, 1 + kept * weight];
    return total / weight;
  });
}

export function linearRange(low, high, { zero = false, most = Infinity }) {
  if (low === null || low === undefined) return [0, 1];
  const bottom = zero ? Math.min(0, low) : low;
  const span = high - bottom || Math.abs(high) || 1;
  return [bottom === 0 || (bottom > 0 && bottom < span) ? 0 : bottom - 0.06 * span, Math.min(most, high + 0.06 * span)];
}

const [MINUTE, HOUR, DAY] = [60, 3600, 86400];
export const TIME_STEPS = [1, 2, 5, 10, 15, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY, 84 * DAY, 365 * DAY];

/** Ticks on whole units of the local clock. */
export function timeSplits(_, __, from, to, step) {
  const ahead = -60 * new Date(from * 1000).getTimezoneOffset();
  const found = [];
  for (let at = Math.ceil((from + ahead) / step) * step - ahead; at <= to; at += step) found.push(at);
  return found;
}

export function timeTicks(splits) {
  const step = splits.length > 1 ? splits[1] - splits[0] : 1;
  return splits.map((second) => (step >= 86400 ? clock(second, { date: true }).slice(5, 10) : clock(second, { exact: step < 60 })));
}

export function lastKnown(column) {
  for (let row = column.length - 1; row >= 0; row -= 1) if (column[row] !== null && column[row] !== undefined) return column[row];
  return null;
}
