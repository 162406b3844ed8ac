// One material: its barriers, the crystal with the ion's way, its hops.

let opened = null;

function startMaterials() {
  const list = one("#material-list");
  if (!list) return;
  all("button", list).forEach((button, n) => button.addEventListener("click", () => openMaterial(n)));
  whenSeen(one("#material"), () => { if (opened === null) openMaterial(0); });
}

function openMaterial(n, scroll = false) {
  opened = n;
  const material = JSON.parse(one(`#material-${n}`).textContent);
  all("#material-list button").forEach((button, k) => button.setAttribute("aria-pressed", String(k === n)));
  one("#material").replaceChildren(...panel(material));
  if (scroll) one("#materials").scrollIntoView({ behavior: "smooth" });
  const chosen = one('#material-list [aria-pressed="true"]');
  const list = one("#material-list");
  list.scrollTop = chosen.offsetTop - list.clientHeight / 2;
  list.scrollLeft = chosen.offsetLeft - list.clientWidth / 2;
}

function panel(material) {
  const name = material.formula ?? material.material_id;
  const way = material.mechanism === "vacancy" ? "by vacancies" : `by the ${material.mechanism} mechanism`;
  const head = element("header", {},
    element("h3", {}, formula(name), " ", element("span", { class: "muted" }, `${material.ion} ${way}`)),
    element("p", { class: "muted" }, `Rank ${shown(material.rank, 0)} · `, link(material.url, material.material_id),
      ` · ${material.space_group ?? "space group not known"}`,
      material.note ? ` · ${material.note}` : ""));
  const [picture, view] = crystalPart(material);
  return [
    head,
    element("div", { class: "split" }, picture, element("div", {}, barrierPart(material), factPart(material))),
    hopPart(material, view),
  ];
}

function barrierPart(material) {
  const highs = material.barriers.flatMap(([value, , high]) => [value ?? 0, Math.min(high ?? 0, 2 * (value ?? 0) + 1)]);
  const top = Math.max(1, ...highs) * 1.05;
  const rows = material.barriers.map((barrier, n) => {
    const [value, low, high] = barrier;
    const limit = material.limiting[n];
    const words = value === null ? "the hops do not percolate"
      : low === null ? "" : `${shown(low)} to ${shown(high)} eV`;
    return element("tr", {},
      element("th", { scope: "row" }, `${n + 1}D`),
      element("td", { class: "number strong" }, value === null ? "–" : `${shown(value)} eV`),
      element("td", { class: "wide" }, strip(barrier, top, 130, 16), element("small", {}, words)),
      element("td", {}, element("small", { title: limit ?? "" }, (material[`directions_${n + 1}d`] ?? "").replaceAll(",", ", "))));
  });
  const head = element("tr", {}, ...["", "Em", "90 % interval", "along"].map((word) => element("th", { scope: "col" }, word)));
  return element("table", { class: "barriers" },
    element("caption", {}, "Barrier of the easiest way through, and where it leads ([uvw] of the conventional cell)"),
    element("thead", {}, head), element("tbody", {}, ...rows));
}

function factPart(material) {
  const rate = material.log10_d_300k_cm2_s;
  const facts = [
    ["Probability that Em ≤ 0.65 eV in 1D", shown(material.p_good_1d)],
    ["Applicability (0 to 1)", shown(material.applicability)],
    ["log10 of D at 300 K (cm²/s), 90 % interval", rate === null ? "–"
      : `${shown(rate, 1)} (${shown(material.log10_d_300k_low_cm2_s, 1)} to ${shown(material.log10_d_300k_high_cm2_s, 1)})`],
    ["Energy above hull (eV/atom)", shown(material.energy_above_hull_ev, 3)],
    ["Band gap (eV)", shown(material.band_gap_ev)],
    ["Average voltage (V)", shown(material.voltage_v)],
    ["Capacity (mAh/g)", shown(material.capacity_mah_g, 0)],
    ["Largest particle filled in 2 h at 300 K (µm)", material.max_particle_nm_c2 === null ? "–"
      : Number((material.max_particle_nm_c2 / 1000).toPrecision(2)).toLocaleString("en")],
    ["Dimensions with Em ≤ 0.65 eV", shown(material.dimension_at_065, 0)],
    ["Hops left out by the limit on their number", material.n_cut || ""],
    ["Hops predicted", `${material.n_predicted} of ${material.n_hops} within ${shown(material.cutoff_a, 1)} Å`],
    ["Sites of the ion", material.sites_source ?? ""],
  ].filter(([, value]) => value !== "–" && value !== "");
  return element("dl", {}, ...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

function crystalPart(material) {
  if (!material.scene) {
    return [element("p", { class: "empty" }, `No picture of the crystal: ${material.no_scene}.`), null];
  }
  const { scene } = material;
  const canvas = element("canvas", {
    id: "crystal", tabindex: "0", role: "img",
    "aria-label": `Crystal of ${material.formula ?? material.material_id} with the way of ${material.ion}; arrow keys turn it`,
  });
  const view = crystalView(canvas, scene);
  const choices = [...scene.routes.map((route) => [route.dimension, `${route.dimension}D`]), [0, "all hops"]];
  const buttons = choices.map(([dimension, label], n) => element("button", {
    type: "button", "aria-pressed": String(n === 0), onclick: ({ target }) => {
      buttons.forEach((button) => button.setAttribute("aria-pressed", String(button === target)));
      view.show(dimension);
    },
  }, label));
  const tools = [["−", "Smaller", () => view.zoom(1 / 1.25)], ["+", "Larger", () => view.zoom(1.25)], ["↺", "As at first", () => view.reset()]]
    .map(([sign, label, onclick]) => element("button", { type: "button", "aria-label": label, title: label, onclick }, sign));
  const legend = scene.elements.map(({ symbol, ion }, n) => {
    const dot = element("i", {});
    dot.style.background = view.inks[n];
    return element("span", {}, dot, ion ? `${symbol} sites` : symbol);
  });
  const lines = [["way", "way through"], ["limit", "hop that limits it"]]
    .map(([kind, label]) => element("span", {}, element("b", { class: kind }), label));
  const left = scene.n_left_out ? ` ${scene.n_left_out} atoms or hops are left out.` : "";
  const caption = `Primitive cell and what lies along the way; straight chords. Shows up to ${scene.atoms.length} framework atoms.${left} Drag to turn.`;
  return [element("figure", { class: "crystal" },
    element("div", { class: "bar" }, element("div", { class: "group", role: "group", "aria-label": "Way through in" }, ...buttons),
      element("div", { class: "group" }, ...tools)),
    canvas,
    element("div", { class: "key" }, ...legend, ...lines),
    element("figcaption", {}, caption)), view];
}

function hopPart(material, view) {
  const columns = ["Hop", "Em eV", "90 % interval", "P(good)", "appl.", "length Å", "mult.", "clearance Å", "bond valence eV", "nearest"];
  const used = ["nearest", "bond_valence_ev"].filter((name) => material.hops.some((hop) => hop[name] !== null));
  const kept = columns.filter((name) => (name !== "nearest" || used.includes("nearest")) && (name !== "bond valence eV" || used.includes("bond_valence_ev")));
  const rows = material.hops.map((hop, n) => {
    const cells = {
      "Hop": hop.short, "Em eV": shown(hop.em_ev),
      "90 % interval": hop.em_low_ev === null ? "–" : `${shown(hop.em_low_ev)} to ${shown(hop.em_high_ev)}`,
      "P(good)": shown(hop.p_good), "appl.": shown(hop.applicability), "length Å": shown(hop.length_a),
      "mult.": shown(hop.multiplicity, 0), "clearance Å": shown(hop.clearance_a),
      "bond valence eV": shown(hop.bond_valence_ev), "nearest": hop.nearest ?? "–",
    };
    const on = material.limiting.flatMap((id, k) => (id === hop.id ? [`${k + 1}D`] : []));
    const limits = on.length ? element("span", { class: "badge" }, `limits ${on.join(", ")}`) : null;
    const flags = hop.flags.length ? element("small", {}, hop.flags.join(", ").replaceAll("_", " ")) : null;
    const mark = () => view?.highlight(hop.em_ev === null ? null : n);
    const clear = () => view?.highlight(null);
    return element("tr", { onpointerenter: mark, onpointerleave: clear, class: limits ? "limiting" : "" },
      ...kept.map((name) => element(name === "Hop" ? "th" : "td",
        { class: ["Hop", "nearest"].includes(name) ? "text" : "number", scope: name === "Hop" ? "row" : null },
        cells[name], ...(name === "Hop" ? [limits, flags] : []))));
  });
  const more = material.n_hops_all - material.hops.length;
  const caption = `Hops, lowest barrier first: shows ${material.hops.length} of ${material.n_hops_all}${more ? `; ${more} of higher barrier left out` : ""}. Point at one to see it in the crystal.`;
  return element("div", { class: "scroll", tabindex: "0" }, element("table", { class: "hops" },
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...kept.map((name) => element("th", { scope: "col", class: ["Hop", "nearest"].includes(name) ? "text" : "number" }, name)))),
    element("tbody", {}, ...rows)));
}
