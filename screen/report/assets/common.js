// Small helpers. Text from data only ever becomes text: nothing here parses markup.

const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const data = JSON.parse(one("#report-data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const GOOD_EV = data.good_ev;

/** An element with attributes, listeners (`onclick`) and children; strings become text. */
function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(key, value);
    }
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** A number for people; a dash where there is none. */
function shown(value, digits = 2) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  return digits === 0 ? Math.round(value).toLocaleString("en") : value.toFixed(digits);
}

/** A chemical formula with its numbers set low; anything else as text. */
function formula(text) {
  if (!/^(?:[A-Z][a-z]?|[()[\]]|\d+(?:\.\d+)?)+$/.test(text)) return document.createTextNode(text);
  const parts = text.split(/((?<=[A-Za-z)\]])\d+(?:\.\d+)?)/);
  return element("span", {}, ...parts.map((part, n) => (n % 2 ? element("sub", {}, part) : part)));
}

/** A link to a page of the web; the label alone where the address is none. */
function link(url, label) {
  if (typeof url !== "string" || !/^https?:\/\//i.test(url)) return document.createTextNode(label);
  return element("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, label);
}

/** An interval with its value and the 0.65 eV line, 0 to `top` eV. */
function strip([value, low, high], top, width = 96, height = 14) {
  if (value === null) return document.createTextNode("");
  const x = (ev) => (Math.min(Math.max(ev, 0), top) / top) * (width - 8) + 4;
  const middle = height / 2;
  const picture = svg("svg", { class: "strip", width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  picture.append(svg("line", { class: "strip-good", x1: x(GOOD_EV), x2: x(GOOD_EV), y1: 0, y2: height }));
  if (low !== null && high !== null) {
    picture.append(svg("line", { class: "strip-interval", x1: x(low), x2: x(high), y1: middle, y2: middle }));
  }
  const shape = value > top
    ? svg("path", { class: "strip-value", d: `M${width - 8},${middle - 4} l7,4 l-7,4 z` })
    : svg("circle", { class: "strip-value", cx: x(value), cy: middle, r: 3.6 });
  picture.append(shape);
  return picture;
}

/** The action at the next frame only, however often it is called. */
function once(action) {
  let due = 0;
  return () => {
    if (!due) due = requestAnimationFrame(() => { due = 0; action(); });
  };
}

/** Call when an element is about to be seen, once. */
function whenSeen(node, action) {
  const watch = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) {
      watch.disconnect();
      action();
    }
  }, { rootMargin: "300px" });
  watch.observe(node);
}
