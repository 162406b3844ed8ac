// A crystal in a canvas: balls, sticks and the ion's way, turned by mouse, finger or arrow keys.

const ELEMENT_INKS = {
  H: "#e8e8e8", N: "#4f6bd8", O: "#d9483b", F: "#8fcf5a", P: "#b06fc4", S: "#e3c52f", Cl: "#4fb84a",
  Se: "#dfa12c", Br: "#9c4a2f", Te: "#b9822a", I: "#7b3fa0", Si: "#c9a37e",
};
const METAL_INKS = ["#7d8fa3", "#5f9ea0", "#a58bb8", "#8c9a5b", "#b08d7a", "#6f7fb5"];
const START = [-1.15, 0.45];

/** A drawing of one scene; `show` chooses the dimension of the way, 0 every hop. */
function crystalView(canvas, scene) {
  const view = { turn: [...START], zoom: 1, dimension: scene.routes.length ? 1 : 0, hop: null };
  const corners = cellCorners(scene.cell);
  const inks = elementInks(scene.elements);

  function paint() {
    const box = canvas.getBoundingClientRect();
    if (!box.width || !canvas.isConnected) return;
    const ratio = Math.min(devicePixelRatio || 1, 2.5);
    // Drawn aside and copied: a print of the canvas repeats its strokes, but not their opacities.
    const sheet = element("canvas", { width: Math.round(box.width * ratio), height: Math.round(box.height * ratio) });
    const context = sheet.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const [middle, reach] = extent();
    const scale = (Math.min(box.width, box.height) / 2 / reach) * view.zoom * 1.12;
    const place = projection(view.turn, middle, scale, box);
    const parts = [...frame(corners), ...bonds(), ...atoms(), ...ways()];
    parts.forEach((part) => { part.depth = Math.max(...part.ends.map((end) => place(end)[2])) + (part.lift ?? 0); });
    parts.sort((a, b) => a.depth - b.depth);
    parts.forEach((part) => part.paint(context, part.ends.map(place), scale));
    axes(context, view.turn, scene.cell, box);
    [canvas.width, canvas.height] = [sheet.width, sheet.height];
    canvas.getContext("2d").drawImage(sheet, 0, 0);
    canvas.dataset.turn = view.turn.map((angle) => angle.toFixed(3)).join(" ");
  }

  const isShown = (part) => part.at(-1) & (1 << view.dimension);

  /** Middle and greatest distance from it of all that is shown. */
  function extent() {
    const points = [...corners, ...[...scene.atoms, ...scene.sites].filter(isShown)];
    const ends = [0, 1, 2].map((k) => points.map((point) => point[k]));
    const middle = ends.map((values) => (Math.min(...values) + Math.max(...values)) / 2);
    return [middle, Math.max(...points.map((point) => Math.hypot(...middle.map((x, k) => point[k] - x)))) + 0.8];
  }

  function atoms() {
    const balls = scene.atoms.filter(isShown).map(([x, y, z, kind]) => {
      const { radius, anion } = scene.elements[kind];
      return { ends: [[x, y, z]], paint: ball(inks[kind], (anion ? 0.42 : 0.36) * radius) };
    });
    const ion = scene.elements.length - 1;
    const used = new Set(shownSteps().flatMap(([a, b, c, d, e, f]) => [key([a, b, c]), key([d, e, f])]));
    return balls.concat(scene.sites.filter(isShown).map((site) => ({
      ends: [site.slice(0, 3)], paint: ball(inks[ion], 0.42, used.has(key(site)) ? 1 : 0.35),
    })));
  }

  function bonds() {
    return scene.bonds.flatMap(([i, j]) => {
      const [a, b] = [scene.atoms[i], scene.atoms[j]];
      if (!isShown(a) || !isShown(b)) return [];
      const half = [0, 1, 2].map((k) => (a[k] + b[k]) / 2);
      return [[a, a[3]], [b, b[3]]].map(([end, kind]) => ({
        ends: [end.slice(0, 3), half], paint: stick(inks[kind], 0.09, 0.75), lift: -0.3,
      }));
    });
  }

  const shownSteps = () => (view.dimension
    ? scene.routes.find((route) => route.dimension === view.dimension).steps
    : scene.hops.map((hop) => [...hop, 0]));

  function ways() {
    const steps = [...shownSteps()];
    if (view.hop !== null) steps.push(...scene.hops.filter((hop) => hop[6] === view.hop).map((hop) => [...hop, 2]));
    return steps.flatMap(([a, b, c, d, e, f, , role]) => {
      const colour = ink(["@s0", "@s1", "@front"][role]);
      return pieces([a, b, c], [d, e, f], 10).map((ends) => ({
        ends, paint: stick(colour, role ? 0.24 : 0.17, view.dimension || role ? 0.95 : 0.6), lift: 0.25,
      }));
    });
  }

  const later = once(paint);
  turning(canvas, view, later);
  themeListeners.push(paint); // at once: printing does not wait for a frame
  new ResizeObserver(later).observe(canvas);
  return {
    show(dimension) { view.dimension = dimension; later(); },
    highlight(hop) { view.hop = hop; later(); },
    zoom(factor) { view.zoom = Math.min(4, Math.max(0.5, view.zoom * factor)); later(); },
    reset() { view.turn = [...START]; view.zoom = 1; later(); },
    inks,
    paint,
  };
}

const key = (place) => place.slice(0, 3).map((x) => x.toFixed(1)).join();

/** Turning by pointer and keys; a vertical stroke of a finger still scrolls the page. */
function turning(canvas, view, changed) {
  const turn = (x, y) => {
    view.turn[0] += x;
    view.turn[1] = Math.min(1.57, Math.max(-1.57, view.turn[1] + y));
    changed();
  };
  let last = null;
  canvas.addEventListener("pointerdown", (event) => {
    last = [event.clientX, event.clientY];
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    turn((event.clientX - last[0]) * 0.01, (event.clientY - last[1]) * 0.01);
    last = [event.clientX, event.clientY];
  });
  ["pointerup", "pointercancel"].forEach((name) => canvas.addEventListener(name, () => { last = null; }));
  const steps = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in steps)) return;
    event.preventDefault();
    turn(...steps[event.key]);
  });
}

/** From Å to pixels and a depth that grows towards the reader; slightly in perspective. */
function projection([yaw, pitch], middle, scale, box) {
  const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  const far = Math.min(box.width, box.height) * 2.6;
  return (point) => {
    const [x, y, z] = point.map((value, k) => (value - middle[k]) * scale);
    const [right, away] = [x * cy - y * sy, x * sy + y * cy];
    const [up, near] = [z * cp + away * sp, z * sp - away * cp];
    const size = far / (far - near);
    return [box.width / 2 + right * size, box.height / 2 - up * size, near / scale, size];
  };
}

function ball(colour, radius, opacity = 1) {
  return (context, [[x, y, , size]], scale) => {
    const r = Math.max(1.5, radius * scale * size);
    const shade = context.createRadialGradient(x - r * 0.35, y - r * 0.4, r * 0.1, x, y, r);
    shade.addColorStop(0, mixed(colour, "#ffffff", 0.55, opacity));
    shade.addColorStop(0.45, mixed(colour, colour, 0, opacity));
    shade.addColorStop(1, mixed(colour, "#000000", 0.35, opacity));
    context.fillStyle = shade;
    context.beginPath();
    context.arc(x, y, r, 0, 2 * Math.PI);
    context.fill();
  };
}

function stick(colour, width, opacity = 1) {
  return (context, [[x, y, , size], [u, v]], scale) => {
    context.strokeStyle = mixed(colour, colour, 0, opacity);
    context.lineWidth = Math.max(1, width * scale * size);
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(u, v);
    context.stroke();
  };
}

function frame(corners) {
  const edges = corners.flatMap((_, i) => [1, 2, 4].filter((bit) => !(i & bit)).map((bit) => [i, i | bit]));
  return edges.flatMap(([i, j]) => pieces(corners[i], corners[j], 8).map((ends) => ({
    ends, paint: stick(ink("@muted"), 0, 0.7), lift: -0.2,
  })));
}

function axes(context, turn, cell, box) {
  const [x, y] = [46, box.height - 46];
  context.font = "600 12px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  const [yaw, pitch] = turn;
  const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  cell.forEach((vector, k) => {
    const length = Math.hypot(...vector);
    const [u, v, w] = vector.map((value) => value / length);
    const dx = u * cy - v * sy;
    const dy = -(w * cp + (u * sy + v * cy) * sp);
    context.strokeStyle = ink("@muted");
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + dx * 24, y + dy * 24);
    context.stroke();
    context.fillStyle = ink("@ink");
    context.fillText("abc"[k], x + dx * 34, y + dy * 34);
  });
}

function pieces(from, to, count) {
  const at = (share) => from.map((value, k) => value + (to[k] - value) * share);
  return Array.from({ length: count }, (_, n) => [at(n / count), at((n + 1) / count)]);
}

function cellCorners([a, b, c]) {
  return Array.from({ length: 8 }, (_, n) => [0, 1, 2].map(
    (k) => (n & 1 ? a[k] : 0) + (n & 2 ? b[k] : 0) + (n & 4 ? c[k] : 0)));
}

/** A colour for each element: known ones for anions, the others in their order, blue for the ion. */
function elementInks(elements) {
  let metals = 0;
  return elements.map(({ symbol, ion }) => {
    if (ion) return "#2b8fd0";
    return ELEMENT_INKS[symbol] ?? METAL_INKS[metals++ % METAL_INKS.length];
  });
}

/** One colour with a share of another. */
function mixed(colour, other, share, opacity) {
  const parts = (text) => (text[0] === "#"
    ? [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16))
    : text.match(/[\d.]+/g).slice(0, 3).map(Number));
  const [own, added] = [parts(colour), parts(other)];
  const mix = own.map((value, k) => Math.round(value * (1 - share) + added[k] * share));
  return `rgba(${mix.join(",")},${opacity})`;
}
