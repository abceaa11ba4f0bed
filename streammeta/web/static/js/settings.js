// The configuration in force.

import { element } from "./dom.js";

/** One list a section. */
export function showSettings(host, settings) {
  host.replaceChildren(...Object.entries(settings).map(([section, table]) => element("section", {},
    element("h3", { text: section }),
    element("dl", {}, ...Object.entries(table).flatMap(([key, value]) => [
      element("dt", { text: key }),
      element("dd", { text: value === null ? "not set" : typeof value === "string" ? value || '""' : JSON.stringify(value) }),
    ])))));
}
