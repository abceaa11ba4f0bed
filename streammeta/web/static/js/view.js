// What the reader chose to see, kept in the address, so that a link shows the same.

const CHOICES = { over: ["events", "seconds"], log: [false, true], raw: [true, false], smooth: [1, 10, 100], last: [0, 300, 3600, 21600, 86400, 604800] };

/** What the address says; what it does not, is as usual. */
export function readView(hash) {
  const told = new URLSearchParams(hash.split("?")[1] || "");
  const view = Object.fromEntries(Object.entries(CHOICES).map(([name, values]) => [name, values.find((value) => String(value) === told.get(name)) ?? values[0]]));
  view.zoom = {};
  for (const axis of CHOICES.over) {
    const range = (told.get(`zoom_${axis}`) || "").split("~").map(Number);
    if (range.length === 2 && range[0] < range[1]) view.zoom[axis] = range;
  }
  return view;
}

/** The address of the overview as it is shown now. */
export function hashOf(view) {
  const told = new URLSearchParams();
  for (const [name, values] of Object.entries(CHOICES)) if (view[name] !== values[0]) told.set(name, String(view[name]));
  for (const [axis, range] of Object.entries(view.zoom)) told.set(`zoom_${axis}`, range.map((value) => Number(value.toPrecision(12))).join("~"));
  const text = told.toString();
  return text ? `#/?${text}` : "#/";
}
