// The recordings of a corpus as a table that every column sorts, the worst first.
import { button, clock, element } from "./element.js";
import { SCORES, shades } from "./scores.js";
import { themeButton } from "./theme.js";

const two = (value) => value.toFixed(2).replace("-", "−");
// Which end of a column is bad: 1 if low numbers are, -1 if high ones.
const COLUMNS = [
  { key: "name", title: "recording", text: (value) => value, bad: 1 },
  { key: "duration", title: "duration", text: clock, bad: -1 },
  { key: "match", title: "match", text: two, bad: 1, help: SCORES.match.meaning },
  { key: "confidence", title: "confidence", text: two, bad: 1, help: SCORES.confidence.meaning },
  { key: "suspicious", title: "suspicious", text: String, bad: -1, help: "stretches to listen to" },
  { key: "per_frame", title: "nats a frame", text: two, bad: 1, help: "log-likelihood per frame" },
];

function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null); // what is not known comes last
  return typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
}

export function overview(page, rows, title) {
  let [sorted, direction] = [COLUMNS[2], 1];
  const body = element("tbody");
  const head = element("tr");
  const filter = element("input", { type: "search", placeholder: "find a recording", "aria-label": "find a recording" });
  const shade = Object.fromEntries(Object.keys(SCORES).map((name) => [name, shades(name)]));

  function cell(row, column) {
    if (column.key === "name") {
      return element("th", { scope: "row" }, element("a", { href: row.address }, row.name));
    }
    const value = row[column.key];
    const made = element("td", {}, value === null ? "–" : column.text(value));
    const tint = shade[column.key]?.(row);
    if (tint) made.style.background = tint;
    return made;
  }

  function fill() {
    const asked = filter.value.trim().toLowerCase();
    const found = rows.filter((row) => row.name.toLowerCase().includes(asked));
    const unknown = (row) => row[sorted.key] === null;
    found.sort(
      (a, b) =>
        unknown(a) - unknown(b) ||
        direction * sorted.bad * compare(a[sorted.key], b[sorted.key]) ||
        compare(a.per_frame, b.per_frame) ||
        compare(a.name, b.name),
    );
    body.replaceChildren(...found.map((row) => element("tr", {}, ...COLUMNS.map((column) => cell(row, column)))));
    head.replaceChildren(
      ...COLUMNS.map((column) => {
        const rising = direction * column.bad > 0;
        const order = column === sorted ? (rising ? "ascending" : "descending") : "none";
        const sign = order === "none" ? "" : rising ? " ▲" : " ▼";
        const label = `sort by ${column.help ?? column.title}`;
        const choose = () => {
          direction = column === sorted ? -direction : 1;
          sorted = column;
          fill();
          head.children[COLUMNS.indexOf(column)].firstChild.focus();
        };
        const part = column.key === "name" ? "name" : "number";
        return element("th", { scope: "col", "aria-sort": order, class: part }, button(column.title + sign, label, choose));
      }),
    );
  }

  filter.addEventListener("input", fill);
  const total = rows.reduce((sum, row) => sum + row.duration, 0);
  const doubtful = rows.filter((row) => row.suspicious).length;
  page.append(
    element("header", {}, element("h1", {}, title), element("div", { class: "tools" }, filter, themeButton())),
    element(
      "p",
      { class: "summary" },
      `${rows.length} recordings, ${clock(total)}; ${doubtful} with something suspicious. The worst match comes first.`,
    ),
    element("div", { class: "scroller" }, element("table", { class: "overview" }, element("thead", {}, head), body)),
  );
  fill();
  return { close() {} };
}
