// Elements. What comes from the stream is set as text or as an attribute's value, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with properties (class, text, on…, data-…) and children. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

export const byId = (id) => document.getElementById(id);

/** Replace the rows of a table; who stands on a link stays on it. */
export function refill(body, rows) {
  const held = body.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  body.replaceChildren(...rows);
  if (held) [...body.querySelectorAll("a")].find((link) => link.getAttribute("href") === held)?.focus({ preventScroll: true });
}

/** Set the text of an element, only when it differs: no layout for nothing. */
export function put(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** A small curve without axes; null where nothing is known. */
export function spark(values, width = 96, height = 24) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "spark");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", sparkPath(values, width, height));
  svg.append(path);
  return svg;
}

export function sparkPath(values, width, height) {
  const known = values.filter((value) => value !== null && value !== undefined);
  if (known.length < 2) return "";
  const low = Math.min(...known);
  const span = Math.max(...known) - low || 1;
  const step = width / (values.length - 1);
  let path = "";
  let pen = "M";
  values.forEach((value, place) => {
    if (value === null || value === undefined) { pen = "M"; return; }
    path += `${pen}${(place * step).toFixed(1)},${(height - 2 - ((height - 4) * (value - low)) / span).toFixed(1)}`;
    pen = "L";
  });
  return path;
}

/** Offer a file for download. */
export function save(name, blob) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
