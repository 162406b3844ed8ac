// Plotly figures, drawn when they come into view, in the colours of the page.

const drawn = new Map();
const PRINT_WIDTH = 780; // what A4 and Letter have room for at the zoom of the style sheet

/** The same JSON with colours for their names. */
function coloured(value, key = "") {
  if (Array.isArray(value)) return value.map((entry) => coloured(entry, key));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, coloured(entry, name)]));
  }
  return typeof value === "string" && value[0] === "@" && /color/i.test(key) ? ink(value) : value;
}

function layoutOf(figure, width) {
  const narrow = width < 520;
  const keyed = figure.data.filter((trace) => trace.name && trace.showlegend !== false).length > 1;
  const own = coloured(figure.layout);
  const axis = {
    gridcolor: ink("@grid"), linecolor: ink("@line"), zerolinecolor: ink("@line"),
    tickcolor: ink("@line"), automargin: true, ticks: "outside", ticklen: 4,
  };
  const title = (given) => (given ? { ...given, standoff: 12, font: { size: narrow ? 12 : 13 } } : given);
  return {
    font: { family: getComputedStyle(document.body).fontFamily, size: narrow ? 11 : 12.5, color: ink("@ink") },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: narrow ? 44 : 60, r: narrow ? 10 : 24, t: keyed ? 34 : 14, b: 48 },
    legend: { orientation: "h", traceorder: "normal", x: 0, y: 1.01, yanchor: "bottom", font: { size: narrow ? 11 : 12 } },
    hoverlabel: { bgcolor: ink("@surface"), bordercolor: ink("@line"), font: { color: ink("@ink") }, align: "left" },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: ink("@muted"), activecolor: ink("@accent") },
    hovermode: "closest",
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    ...own,
    xaxis: { ...axis, ...own.xaxis, title: title(own.xaxis?.title) },
    yaxis: { ...axis, ...own.yaxis, title: title(own.yaxis?.title) },
    width,
  };
}

function draw(place, width = place.clientWidth) {
  const key = place.dataset.figure;
  const figure = data.figures[key];
  const config = {
    displaylogo: false,
    displayModeBar: width < 520 ? false : "hover",
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]], // and none that sends data away
    toImageButtonOptions: { format: "svg", filename: `ionscreen-${key}` },
  };
  drawn.set(place, width);
  return Plotly.react(place, coloured(figure.data), layoutOf(figure, width), config);
}

function startCharts() {
  const places = all("[data-figure]");
  for (const place of places) {
    place.style.minHeight = `${data.figures[place.dataset.figure].layout.height}px`;
    whenSeen(place, () => draw(place));
  }
  themeListeners.push(() => drawn.forEach((_, place) => draw(place)));
  addEventListener("resize", once(() => drawn.forEach((width, place) => {
    if (place.clientWidth && place.clientWidth !== width) draw(place);
  })));
  let before = "";
  addEventListener("beforeprint", () => {
    before = page.style.colorScheme;
    setTheme("light");
    places.forEach((place) => draw(place, PRINT_WIDTH));
  });
  addEventListener("afterprint", () => {
    setTheme(before);
    places.forEach((place) => draw(place));
  });
}
