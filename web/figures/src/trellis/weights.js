// Weights as bars that are dragged, or typed: a slider each.
import { make } from "../shared/controls.js";
import { number } from "./format.js";

const { min, max, round } = Math;
const PIXELS = 26; // per nat
const WIDEST = 99; // what may be typed

const rounded = (value, unit) => round(value / unit) * unit;

/** What was typed: a number, "-inf", or null. */
function read(text, infinite) {
  const plain = text.trim().replace("−", "-").replace(",", ".");
  if (/^-(inf|∞)/i.test(plain)) return infinite ? -Infinity : null;
  const value = Number(plain);
  return plain && Math.abs(value) <= WIDEST ? rounded(value, 0.01) : null;
}

/** One weight, as an element with `update(value, used)`; `changed(value)` is called for what the reader does. */
function bar({ range: [low, high], infinite, label, place }, changed) {
  let value = 0;
  const fill = make("span", { class: "fill" });
  const well = make("span", { class: "well" }, fill);
  const text = make("span", { class: "text" });
  const used = make("span", { class: "used" });
  const box = make(
    "div",
    { class: "weight-bar", role: "slider", tabindex: 0, "data-place": place, "aria-label": label, "aria-valuemin": low, "aria-valuemax": high, title: `${label}: drag, or press Enter and type` },
    text, well, used,
  );
  box.update = (now, count) => {
    value = now;
    fill.style.height = `${max(0, min(1, (now - low) / (high - low))) * 100}%`;
    text.textContent = number(now);
    used.textContent = count === undefined ? "" : number(count);
    box.setAttribute("aria-valuenow", max(low, now));
    box.setAttribute("aria-valuetext", now === -Infinity ? "minus infinity, forbidden" : now.toFixed(2));
  };
  const clamp = (to) => (to < low - 0.4 && infinite ? -Infinity : max(low, min(high, to)));
  const shown = () => max(low, value); // minus infinity is at the bottom
  box.onpointerdown = (event) => {
    if (event.button || event.target.matches("input")) return;
    box.setPointerCapture(event.pointerId);
    const [from, start] = [event.clientY, shown()];
    box.onpointermove = (move) => Math.abs(from - move.clientY) > 2 && changed(clamp(rounded(start + (from - move.clientY) / PIXELS, 0.05)));
    box.onpointerup = box.onpointercancel = () => (box.onpointermove = null);
  };
  const type = (first) => {
    const input = make("input", { type: "text", "aria-label": label });
    input.value = first ?? (value === -Infinity ? "-inf" : String(rounded(value, 0.01).toFixed(2)));
    const close = (keep) => {
      input.onblur = null;
      const to = keep ? read(input.value, infinite) : null;
      input.remove();
      box.focus();
      if (to !== null) changed(to);
    };
    input.onkeydown = (event) => {
      event.stopPropagation();
      if (event.key === "Enter") close(true);
      if (event.key === "Escape") close(false);
    };
    input.onblur = () => close(true);
    box.append(input);
    input.focus();
    if (first === undefined) input.select();
  };
  box.ondblclick = () => type();
  box.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const nothing = infinite ? -Infinity : low;
    const step = { ArrowUp: 0.1, ArrowDown: -0.1, ArrowRight: 0.1, ArrowLeft: -0.1, PageUp: 1, PageDown: -1 }[event.key];
    const to = { Home: low, End: high, Delete: nothing, Backspace: nothing }[event.key];
    if (event.key === "Enter") type();
    else if (step) changed(clamp(rounded(shown() + step, 0.01)));
    else if (to !== undefined) changed(to);
    else if (/^[-−0-9.]$/.test(event.key)) type(event.key);
    else return;
    event.preventDefault();
  };
  return box;
}

function table({ title, hint, rows, columns, label, range, name, infinite }, changed) {
  const head = make("tr", {}, make("th", {}), ...columns.map((text) => make("th", { scope: "col" }, text)));
  const body = rows.map((text, row) => {
    const cells = columns.map((_, column) =>
      make("td", {}, bar({ range, infinite, label: label(row, column), place: `${name} ${row} ${column}` }, (to) => changed(name, row, column, to))),
    );
    return make("tr", {}, make("th", { scope: "row" }, text), ...cells);
  });
  const heading = make("h3", {});
  heading.innerHTML = title;
  const grid = make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
  return make("div", { class: "weight-table" }, heading, make("p", { class: "faint hint" }, hint), make("div", { class: "scroller" }, grid));
}

/**
 * Puts tables of bars into `root`: { name, title, hint, rows, columns, label(row, column), range, infinite, values, uses }.
 * `values` are rows of numbers, and so are `uses`, how often each counts, if that is known. `changed(name, row, column, value)`.
 */
export function drawWeights(root, tables, changed) {
  const shape = JSON.stringify(tables.map(({ title, rows, columns }) => [title, rows, columns]));
  if (root.dataset.shape !== shape) {
    root.dataset.shape = shape;
    root.replaceChildren(...tables.map((one) => table(one, changed)));
  }
  for (const { name, values, uses } of tables) {
    root.querySelectorAll(`[data-place^="${name} "]`).forEach((box) => {
      const [, row, column] = box.dataset.place.split(" ");
      box.update(values[row][column], uses?.[row][column]);
    });
  }
  root.classList.toggle("with-uses", tables.some(({ uses }) => uses));
}
