// What is said of a step.
import { cost } from "./schedule.js";

const PHASES = {
  steps: "one step after another",
  matrices: "each map becomes a matrix: the unit vectors, moved by it",
  up: "up-sweep: neighbours are multiplied in pairs",
  down: "down-sweep: the prefixes in between",
  inside: "all chunks side by side, each one's matrix a step longer",
  across: "from chunk to chunk",
  vectors: "",
  rest: "the steps after the last chunk",
};
const SHORT = {
  steps: "steps",
  matrices: "matrices",
  up: "up",
  down: "down",
  inside: "inside",
  across: "across",
  vectors: "vectors",
  rest: "rest",
};
const sub = (text) => `<sub>${text}</sub>`;

export const shortPhase = (phase) => SHORT[phase];
export const number = (value) => value.toLocaleString("en-US");
export const plural = (many, what) => `${number(many)} ${what}${many === 1 ? "" : "s"}`;

export function phaseText({ strategy }, phase) {
  if (phase !== "vectors") return PHASES[phase];
  return strategy === "associative"
    ? "the vector in front, through every product"
    : "inside all chunks, from the vector in front of each";
}

export function nameOf(value) {
  if (value.kind === "vector") return `<i>v</i>${sub(value.last)}`;
  return `<i>M</i>${sub(value.first === value.last ? value.last : `${value.first}…${value.last}`)}`;
}

// v4 = v3 M4, of ids and (where negative) maps.
export function equation(values, id) {
  const operand = (of) => (of < 0 ? `<i>M</i>${sub(-of)}` : nameOf(values[of]));
  const { from } = values[id];
  return `${nameOf(values[id])} = ${from.length === 1 ? "<i>I</i>&hairsp;" : ""}${from.map(operand).join("&hairsp;")}`;
}

export const formula = (kind, states) =>
  kind === "vector"
    ? `2<i>S</i><sup>2</sup> − <i>S</i> = ${number(cost(kind, states))}`
    : `2<i>S</i><sup>3</sup> − <i>S</i><sup>2</sup> = ${number(cost(kind, states))}`;

function costText(kind, states, many) {
  const each = `of ${formula(kind, states)} operations`;
  return many === 1 ? each : `${each} each, ${number(many * cost(kind, states))} together`;
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// A sentence or two about a tick.
export function sentence(run, at) {
  const { ticks, rounds, values, states, passes } = run;
  if (at < 0) {
    return `Nothing is multiplied yet: there are the vector <i>v</i>${sub(0)} and ${run.length} maps. Press <kbd>→</kbd> for the next step, <kbd>space</kbd> to play.`;
  }
  const { round, kind, products } = ticks[at];
  const { phase, products: all } = rounds[round];
  const slots = ticks.filter((tick) => tick.round === round);
  const slot = slots.length > 1 ? `, part ${slots.indexOf(ticks[at]) + 1} of ${slots.length}` : "";
  const pass = passes.findLast((one) => one.round <= round);
  const again =
    passes.indexOf(pass) > 0 ? ` <b>Steps ${pass.bounds[0] + 1} to ${pass.bounds[1]} again</b>, for the backward pass:` : "";
  const shown = products.slice(0, 4).map((id) => equation(values, id));
  const what = kind === "vector" ? "vector–matrix product" : "matrix–matrix product";
  const beside = products.length > 1 ? ", side by side" : "";
  const count =
    products.length === all.length ? plural(products.length, what) : `${products.length} of ${plural(all.length, what)}`;
  const said = phaseText(run, phase);
  return (
    `<b>Round ${round + 1} of ${rounds.length}${slot}.</b>${again} ${again ? said : capital(said)}. ${count}${beside}: ` +
    `${shown.join(", ")}${products.length > 4 ? ", …" : ","} ` +
    `<span class="ops number">${costText(kind, states, products.length)}</span>`
  );
}

export const plain = (html) => html.replace(/<[^>]+>/g, "").replaceAll("&hairsp;", " ");
