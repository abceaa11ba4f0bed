// Numbers as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** 4 significant digits; an en dash for what is not known. */
export function short(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(Math.max(0, digits - 2)).replace("e+", "e");
  if (size >= 10 ** digits) return whole.format(value);
  return Number(value.toPrecision(digits)).toLocaleString("en", { maximumSignificantDigits: digits });
}

/** A count with thousands separated. */
export function count(value) {
  return value === null || value === undefined ? "–" : whole.format(value);
}

/** Axis ticks: 1200000 -> 1.2M. */
export function tick(value) {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  for (const [unit, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (size >= unit) return `${Number((value / unit).toPrecision(4))}${letter}`;
  }
  return size && size < 1e-3 ? value.toExponential(0) : String(Number(value.toPrecision(4)));
}

/** Seconds -> 42 s, 3 min, 2 h, 5 d. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 10) return `${Number(Math.max(0, seconds).toFixed(1))} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

/** Bytes -> 195 kB, 1.2 MB. */
export function bytes(value) {
  return value < 1e6 ? `${count(value / 1e3)} kB` : `${short(value / 1e6, 3)} MB`;
}

/** A share -> 87.3 %. */
export function percent(share) {
  return share === null || share === undefined ? "–" : `${short(100 * share, 3)} %`;
}

/** A change against a first value: ▼ 89 %. */
export function change(now, first) {
  if (now === null || first === null || !first) return "";
  const percent = (now / first - 1) * 100;
  return `${percent < 0 ? "▼" : "▲"} ${short(Math.abs(percent), 2)} %`;
}

const two = (number) => String(number).padStart(2, "0");

/** Unix seconds as the local clock shows them; the date where `date` says so. */
export function clock(seconds, { date = false, exact = true } = {}) {
  const at = new Date(seconds * 1000);
  const time = `${two(at.getHours())}:${two(at.getMinutes())}${exact ? `:${two(at.getSeconds())}` : ""}`;
  return date ? `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}` : time;
}
