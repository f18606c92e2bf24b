// The answers beside the trellis: the total, what the view says, the paths.
import { make } from "../shared/controls.js";
import { number } from "./format.js";
import { Count, Log, Max, SmoothMax, forward, total } from "./recursions.js";
import { byName } from "./state.js";

const MEANING = {
  log: "The log-partition: log of the sum of e<sup>score</sup> over all paths, in nats.",
  max: "The score of the best path (Viterbi).",
  count: "How many paths there are that no weight of −∞ forbids.",
  topk: "The scores of the k best paths, best first.",
  sample: "Sample adds up as Log does; then each step back is drawn with its posterior probability.",
  smooth: "γ log Σ e<sup>score / γ</sup>: near 0 it is Max, at 1 it is Log.",
};
const SAYS = {
  alpha: "Each node holds the total of all ways from the start to it. A step on computes the next column from the arcs that lead into it.",
  beta: "Each node holds the total of all ways from it to the end. A step back computes the column before from the arcs that leave it.",
  marginal: "What goes through each node: all that comes in, α, times all that goes on, β. Under each weight: the gradient of the total.",
  paths: "From the end, each step back follows where the value came from.",
};

/** The elements of the panel; `change` takes what a click on a path changes. */
export function answers(model, change) {
  const { state, graph, paths, semiring } = model;
  const value = semiring.name === "count" ? String(model.total) : semiring.name === "topk" ? number(model.total) : number(model.total, 3);
  const meaning = make("p", { class: "faint" });
  meaning.innerHTML = MEANING[state.semiring];
  const says = make("p", {}, state.view === "marginal" && state.semiring === "max" ? "The score of the best path through each node: max-marginals. Under each weight: how often the best path uses it." : state.view === "marginal" && state.semiring === "count" ? "How many paths go through each node: those that lead to it, times those that lead on." : SAYS[state.view]);
  const parts = [make("h2", {}, "Total"), make("p", { class: "total number" }, value), meaning, make("h2", {}, { alpha: "Forward", beta: "Backward", marginal: "Marginals", paths: "Traced back" }[state.view]), says];
  if (paths.length) parts.push(pathTable(model, change));
  parts.push(make("h2", {}, "One chain, other totals"), otherTotals(graph, state.gamma));
  return parts;
}

function pathTable(model, change) {
  const { state, graph, paths, drawn } = model;
  const rows = new Map(); // draws of the same path share a row
  paths.forEach((path, at) => {
    const event = graph.show(graph.event(path));
    const key = drawn ? event : at;
    if (!rows.has(key)) rows.set(key, { event, at, path, times: 0, chosen: false });
    rows.get(key).times += 1;
    rows.get(key).chosen ||= at === state.path;
  });
  const sorted = [...rows.values()];
  if (drawn) sorted.sort((a, b) => b.times - a.times || b.path.score - a.path.score);
  const heads = drawn ? ["drawn", "p", "path"] : ["", "score", "p", "path"];
  const body = sorted.map(({ event, at, path, times, chosen: here }, place) => {
    const probability = model.probability(path);
    const p = probability > 0 && probability < 5e-4 ? "<.001" : probability.toFixed(3).replace(/^0/, "");
    const cells = drawn ? [`${times}×`, p] : [String(place + 1), number(path.score), p];
    const button = make("button", { type: "button", class: "event", "aria-pressed": String(here), title: "Show this path", onclick: () => change({ path: at, view: "paths" }) }, event);
    return make("tr", { class: here && state.view === "paths" ? "here" : "" }, ...cells.map((text) => make("td", { class: "number" }, text)), make("td", {}, button));
  });
  const table = make("table", { class: "paths" }, make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)))), make("tbody", {}, ...body));
  const what = { hmm: "the state of each step", hsmm: "state × steps", ctc: `the token of each frame, ${byName(state.preset).letters?.[0]} the blank`, dtw: "cells i,j" }[state.kind];
  return make("div", {}, make("div", { class: "scroller list", tabindex: 0, role: "group", "aria-label": "paths" }, table), make("p", { class: "faint hint" }, `A path: ${what}.`));
}

function otherTotals(graph, gamma) {
  const of = (semiring) => total(forward(graph, semiring));
  const rows = [["Log", number(of(Log))], [`SmoothMax(${gamma})`, number(of(SmoothMax(gamma)))], ["Max", number(of(Max))], ["Count", String(of(Count))]];
  return make("table", { class: "totals" }, ...rows.map(([title, value]) => make("tr", {}, make("th", { scope: "row" }, title), make("td", { class: "number" }, value))));
}
