// Light and dark: as the system has it until the reader chooses, and figures follow.

const page = document.documentElement;
const darkSystem = matchMedia("(prefers-color-scheme: dark)");
const probe = page.appendChild(element("span", { hidden: true }));
const themeListeners = [];
let inks = new Map();

const isDark = () => (page.style.colorScheme ? page.style.colorScheme === "dark" : darkSystem.matches);

/** The colour of a name such as `@s0` or `@s0:40`, opacity as two hex digits. */
function ink(token) {
  if (!inks.has(token)) {
    const [name, alpha] = token.slice(1).split(":");
    probe.style.color = `var(--${name})`;
    const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g);
    inks.set(token, alpha ? `rgba(${r},${g},${b},${(parseInt(alpha, 16) / 255).toFixed(3)})` : `rgb(${r},${g},${b})`);
  }
  return inks.get(token);
}

function themeChanged() {
  inks = new Map();
  const button = one("#theme");
  button.textContent = isDark() ? "Light" : "Dark";
  button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
  themeListeners.forEach((listener) => listener());
}

function setTheme(name) {
  page.style.colorScheme = name;
  themeChanged();
}

function startTheme() {
  let kept = null;
  try { kept = localStorage.getItem("ionscreen-theme"); } catch { /* not in every file: page */ }
  if (kept === "light" || kept === "dark") page.style.colorScheme = kept;
  darkSystem.addEventListener("change", themeChanged);
  one("#theme").addEventListener("click", () => {
    setTheme(isDark() ? "light" : "dark");
    try { localStorage.setItem("ionscreen-theme", page.style.colorScheme); } catch { /* likewise */ }
  });
  themeChanged();
}
