// Light, dark, or as the system says. Colours live in page.css; charts read them from there.

const MODES = ["auto", "light", "dark"];
const NAMES = { auto: "◐ Auto", light: "○ Light", dark: "● Dark" };
const KEY = "streammeta-theme";

/** Show the mode that was chosen last, and let the button change it. */
export function startTheme(button, onChange) {
  let mode = MODES.includes(remembered()) ? remembered() : "auto";
  const show = () => {
    document.documentElement.dataset.theme = mode;
    button.textContent = NAMES[mode];
    button.title = "Colours: as the system, light, dark";
  };
  show();
  button.addEventListener("click", () => {
    mode = MODES[(MODES.indexOf(mode) + 1) % MODES.length];
    try { localStorage.setItem(KEY, mode); } catch { /* storage may be forbidden: then it is not remembered */ }
    show();
    onChange();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", onChange);
}

function remembered() {
  try { return localStorage.getItem(KEY); } catch { return null; }
}

/** The value of a colour of page.css, in the theme that is shown. */
export function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
