// The ranked table: sorted, searched, paged, and as CSV what it then holds.

const PAGE_ROWS = 25;
const state = { sort: 0, down: false, page: 0, rows: [] };
let searched = [];

const columnAt = (key) => data.table.columns.findIndex((column) => column.key === key);

function startTable() {
  if (!data.table.rows.length) return;
  const { columns, rows } = data.table;
  const words = columns.flatMap((column, n) => (column.kind === "text" ? [n] : []));
  searched = rows.map((row) => words.map((n) => row[n] ?? "").join("\n").toLowerCase());
  one("#ranking thead").append(element("tr", {}, ...columns.map(heading)));
  const refresh = () => { state.page = 0; arrange(); };
  for (const id of ["search", "ion-filter", "em-filter", "dimension-filter"]) {
    one(`#${id}`)?.addEventListener("input", refresh);
  }
  one("#previous").addEventListener("click", () => { state.page -= 1; showRows(); });
  one("#next").addEventListener("click", () => { state.page += 1; showRows(); });
  one("#csv").addEventListener("click", saveCsv);
  arrange();
}

function heading(column, n) {
  const unit = column.unit ? element("small", {}, ` ${column.unit}`) : null;
  const sort = () => {
    state.down = state.sort === n && !state.down;
    state.sort = n;
    state.page = 0;
    arrange();
  };
  const button = element("button", { type: "button", title: column.title, onclick: sort }, column.label, unit);
  return element("th", { scope: "col", class: column.kind, "data-key": column.key }, button);
}

/** Filter and sort; what is null comes last either way. */
function arrange() {
  const words = one("#search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const ion = one("#ion-filter")?.value ?? "";
  const most = parseFloat(one("#em-filter").value);
  const dimension = Number(one("#dimension-filter").value);
  const [ionAt, emAt, wayAt] = [columnAt("ion"), columnAt(`em_${Math.max(1, dimension)}d_ev`), columnAt("dimension")];
  state.rows = data.table.rows.flatMap((row, n) => {
    const fits = words.every((word) => searched[n].includes(word))
      && (!ion || row[ionAt] === ion)
      && (Number.isNaN(most) || (row[emAt] !== null && row[emAt] <= most))
      && row[wayAt] >= dimension;
    return fits ? [row] : [];
  });
  const way = state.down ? -1 : 1;
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  state.rows.sort((a, b) => {
    const [x, y] = [a[state.sort], b[state.sort]];
    if (x === null || y === null) return (x === null) - (y === null) || a[0] - b[0];
    return (typeof x === "number" ? x - y : compare(x, y)) * way || a[0] - b[0];
  });
  all("#ranking th").forEach((cell, n) => {
    cell.setAttribute("aria-sort", n !== state.sort ? "none" : state.down ? "descending" : "ascending");
  });
  showRows();
}

function showRows() {
  const pages = Math.max(1, Math.ceil(state.rows.length / PAGE_ROWS));
  state.page = Math.min(Math.max(0, state.page), pages - 1);
  const first = state.page * PAGE_ROWS;
  const some = state.rows.slice(first, first + PAGE_ROWS);
  one("#ranking tbody").replaceChildren(...some.map(rowOf));
  const count = state.rows.length;
  one("#range").textContent = count
    ? `${(first + 1).toLocaleString("en")}–${(first + some.length).toLocaleString("en")} of ${count.toLocaleString("en")}`
    : "nothing matches";
  one("#previous").disabled = state.page === 0;
  one("#next").disabled = state.page >= pages - 1;
}

function rowOf(row) {
  const detail = row[0] <= data.n_details ? row[0] - 1 : null;
  const cells = data.table.columns.map((column, n) => cellOf(column, row, n, detail));
  return element("tr", {}, ...cells);
}

function cellOf(column, row, n, detail) {
  const value = row[n];
  if (column.key === "formula") {
    const name = formula(value ?? row[columnAt("material_id")]);
    const open = () => openMaterial(detail, true);
    const inside = detail === null ? name : element("button", { type: "button", class: "open", onclick: open }, name);
    return element("th", { scope: "row", class: "text" }, inside);
  }
  if (column.key === "material_id") {
    return element("td", { class: "text" }, link(data.table.urls[row[0] - 1], value ?? "–"));
  }
  if (column.key === "em_1d_ev") {
    const ends = [value, row[columnAt("em_1d_low_ev")], row[columnAt("em_1d_high_ev")]];
    const words = value === null ? "no way through" : `${shown(ends[1])} to ${shown(ends[2])} eV`;
    return element("td", { class: "number em", title: words }, strip(ends, 2), shown(value));
  }
  return element("td", { class: column.kind }, column.kind === "number" ? shown(value, column.digits) : value ?? "–");
}

/** A cell of a CSV file; text that a spreadsheet would run as a formula gets an apostrophe. */
function csvCell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function saveCsv() {
  const head = [...data.table.columns.map((column) => column.key), "url"];
  const lines = state.rows.map((row) => [...row, data.table.urls[row[0] - 1]]);
  const text = [head, ...lines].map((cells) => cells.map(csvCell).join(",")).join("\n");
  const url = URL.createObjectURL(new Blob([`${text}\n`], { type: "text/csv" }));
  element("a", { href: url, download: "ionscreen-ranking.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
