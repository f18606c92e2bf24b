// The trellis explorer: what the reader has chosen, what follows from it, and what is shown of it.
import { choices, copyButton, fullScreenButton, make, stepper } from "../shared/controls.js";
import { seldom } from "../shared/later.js";
import { onLink, readLink, writeLink } from "../shared/link.js";
import { fitFrame, followTheme } from "../shared/theme.js";
import { gradient, semirings, solve } from "./answers.js";
import { drawTrellis } from "./draw.js";
import { chance, number } from "./format.js";
import { inner, marginal, name, pointer, recursion } from "./formula.js";
import { distances, graphs } from "./graphs.js";
import presets from "./presets.json";
import { Count, Log, Max, SmoothMax, backpointers, backward, draw, forward, generator, through, total, traceback } from "./recursions.js";
import { drawWeights } from "./weights.js";

const KINDS = [["hmm", "HMM", "Hidden Markov model, or linear-chain CRF"], ["hsmm", "HSMM", "Hidden semi-Markov model: each state lasts a while"], ["ctc", "CTC", "Connectionist temporal classification"], ["dtw", "DTW", "Dynamic time warping"]];
const SEMIRINGS = [["log", "Log", "Adds up all paths"], ["max", "Max", "The best path"], ["count", "Count", "How many paths"], ["topk", "TopK", "The k best paths"], ["sample", "Sample", "Paths drawn at random"], ["smooth", "SmoothMax", "A temperature between Max and Log"]];
const VIEWS = [["alpha", "α forward", "The total of all ways from the start"], ["beta", "β backward", "The total of all ways to the end"], ["marginal", "marginals", "What goes through each node"], ["paths", "paths", "Pointers traced back"]];
const ALLOWED = { log: ["alpha", "beta", "marginal"], max: ["alpha", "beta", "marginal", "paths"], count: ["alpha", "beta", "marginal"], topk: ["alpha", "beta", "paths"], sample: ["alpha", "marginal", "paths"], smooth: ["alpha", "beta", "marginal"] };
const TEMPERATURES = [0.1, 0.2, 0.5, 1, 2, 5, 10]; // those of presets.py
const COUNTS = { k: 8, n: 50 };

const $ = (selector) => document.querySelector(selector);
const byName = (wanted) => presets.find((preset) => preset.name === wanted);
const ofKind = (kind) => presets.filter((preset) => preset.kind === kind);
/** What JSON holds, with its infinities. */
function parsed(values) {
  if (values === "-inf") return -Infinity;
  if (Array.isArray(values)) return values.map(parsed);
  return typeof values === "object" ? Object.fromEntries(Object.entries(values).map(([field, value]) => [field, parsed(value)])) : values;
}

// State: all of it is in the link. `w` are the weights where they were edited, else null.

const STEP = { hmm: 3, hsmm: 6, ctc: 4, dtw: 5 };
const START = { kind: "hmm", preset: "equations", semiring: "log", view: "alpha", step: 3, node: null, k: 3, n: 12, seed: 1, gamma: 0.5, path: 0, w: null, large: false };
let state = { ...START };

/** Weights as one line, and back, in the shape of the preset's. */
const flat = (values) => (Array.isArray(values) ? values.flatMap(flat) : [values]);
const written = (potentials) => Object.values(potentials).flatMap(flat).map((w) => (w === -Infinity ? "x" : String(+w.toFixed(2)))).join(",");
function shaped(text, like) {
  const numbers = text.split(",").map((w) => (w === "x" ? -Infinity : w === "" ? NaN : Number(w)));
  const count = Object.values(like).flatMap(flat).length;
  if (numbers.length !== count || numbers.some(Number.isNaN)) return null;
  const fill = (values) => (Array.isArray(values) ? values.map(fill) : numbers.shift());
  return Object.fromEntries(Object.entries(like).map(([field, values]) => [field, fill(values)]));
}

function fromLink(link) {
  const inside = (value, low, high, fallback) => (/^\d+$/.test(value ?? "") ? Math.max(low, Math.min(high, Number(value))) : fallback);
  const one = (value, options, fallback) => (options.includes(value) ? value : fallback);
  const kind = one(link.kind, KINDS.map(([value]) => value), byName(link.preset)?.kind ?? START.kind);
  const preset = byName(link.preset)?.kind === kind ? link.preset : ofKind(kind)[0].name;
  const semiring = one(link.semiring, SEMIRINGS.map(([value]) => value), START.semiring);
  return {
    kind, preset, semiring,
    view: one(link.view, ALLOWED[semiring], "alpha"),
    step: inside(link.step, 0, 99, STEP[kind]),
    node: inside(link.node, 0, 99, null),
    k: inside(link.k, 1, COUNTS.k, START.k),
    n: inside(link.n, 1, COUNTS.n, START.n),
    seed: inside(link.seed, 1, 1e6, START.seed),
    gamma: one(Number(link.gamma), TEMPERATURES, START.gamma),
    path: inside(link.path, 0, 99, 0),
    w: link.w ? shaped(link.w, parsed(byName(preset).potentials)) : null,
    large: link.large === "1",
  };
}

function toLink() {
  const { kind, preset, semiring, view, step, node, k, n, seed, gamma, path, w, large } = state;
  const drawn = semiring === "sample";
  writeLink({
    kind, preset, semiring, view, step,
    node,
    k: semiring === "topk" ? k : null,
    n: drawn ? n : null,
    seed: drawn ? seed : null,
    gamma: semiring === "smooth" ? gamma : null,
    path: view === "paths" && path ? path : null,
    w: w && written(w),
    large: large ? 1 : null,
  });
  controls.alone.href = location.href;
}

// What follows from the state.

/** The graph, its tables in the chosen semiring, and its paths. Tables of a preset are Python's; else they are made here. */
function modelled() {
  const preset = byName(state.preset);
  const chosen = state.w ?? parsed(preset.potentials);
  const potentials = state.kind === "dtw" ? { cost: distances(chosen.query, chosen.reference) } : chosen;
  const graph = graphs[state.kind](potentials, preset);
  const drawn = state.semiring === "sample";
  const semiring = drawn ? { ...Log, name: "sample" } : semirings[state.semiring](state);
  const kept = { sample: "log", smooth: `smooth ${state.gamma}` }[state.semiring] ?? state.semiring;
  const table = state.w ? null : parsed(preset.tables[kept]);
  const cut = (value) => (Array.isArray(value) ? value.slice(0, state.k) : value);
  const last = graph.nodes.length - 1;
  const alpha = table ? graph.nodes.map(({ key }, at) => (at === 0 ? semiring.one : cut(at === last ? table.total : table.alpha[key]))) : forward(graph, semiring);
  const beta = table ? graph.nodes.map(({ key }, at) => (at === last ? semiring.one : cut(at === 0 ? table.total : table.beta[key]))) : backward(graph, semiring);
  const model = { graph, semiring, potentials, chosen, alpha, beta, total: total(alpha), paths: [], pointers: null, drawn, exact: Boolean(table) };
  if (state.semiring !== "topk") {
    const passing = through(graph, semiring, alpha, beta);
    const share = (value) => (model.total === semiring.zero ? 0 : (semiring.share ?? ((x, all) => (x === -Infinity ? 0 : Math.exp(x - all))))(value, model.total));
    Object.assign(model, { passing, shares: { nodes: passing.nodes.map(share), arcs: passing.arcs.map(share) } });
  }
  if (state.semiring === "max" || state.semiring === "topk") {
    // Pointers must not depend on the last digit of a table: they are made of the weights themselves.
    const own = forward(graph, semiring);
    model.pointers = backpointers(graph, semiring, own);
    model.paths = traceback(graph, model.pointers);
  }
  const logs = ["log", "sample"].includes(state.semiring) ? alpha : forward(graph, Log);
  if (drawn) {
    const uniform = generator(state.seed);
    model.paths = Array.from({ length: state.n }, () => draw(graph, logs, uniform)).filter(Boolean);
  }
  model.probability = (path) => (path.score === -Infinity ? 0 : Math.exp(path.score - total(logs)));
  model.uses = weightUses(model);
  return model;
}

/** How often each potential counts: its posterior, or in the best path. The gradient of the total. */
function weightUses({ graph, semiring, shares, paths }) {
  if (state.view !== "marginal") return null;
  if (["log", "smooth", "sample"].includes(semiring.name)) return gradient(graph, shares.arcs);
  if (semiring.name === "max" && paths.length) return gradient(graph, graph.arcs.map((_, arc) => (paths[0].arcs.includes(arc) ? 1 : 0)));
  return null;
}

/** The node whose formula is shown. */
function focused(model) {
  const { graph, paths } = model;
  if (state.view === "paths" && paths.length) {
    const path = paths[Math.min(state.path, paths.length - 1)];
    const places = [0, ...path.arcs.map((arc) => graph.arcs[arc].to)];
    return places.find((place) => graph.nodes[place].column >= state.step) ?? places.at(-1);
  }
  const here = columnNodes(graph, state.step);
  return here[nodeAt(model, here)];
}

/** Which node of a column: the one that was chosen, else the first of those with the most to add up. */
function nodeAt({ graph }, here) {
  if (state.node !== null) return Math.min(state.node, here.length - 1);
  const arcs = here.map((place) => (state.view === "beta" ? graph.out : graph.into)[place].length);
  return arcs.indexOf(Math.max(...arcs));
}

const columnNodes = (graph, column) => graph.nodes.map((_, place) => place).filter((place) => graph.nodes[place].column === column);

/** Whether the scan has come to a node. */
function known(model, place) {
  const { column } = model.graph.nodes[place];
  return state.view === "alpha" ? column <= state.step : state.view === "beta" ? column >= state.step : true;
}

const shownValue = (model, value) => (model.semiring.name === "count" ? String(value) : number(value));

/** What stands in a node, line by line. */
function lines(model, place) {
  const { graph, alpha, beta, passing, shares, paths, drawn, semiring } = model;
  const end = place === 0 || place === graph.nodes.length - 1;
  if (!known(model, place)) return [end ? "" : "·"];
  if (state.view === "marginal") {
    if (end) return [""];
    return [["max", "count"].includes(semiring.name) ? shownValue(model, passing.nodes[place]) : chance(shares.nodes[place])];
  }
  if (state.view === "paths" && drawn) return [end ? "" : String(paths.filter((path) => visits(graph, path, place)).length || "·")];
  const value = (state.view === "beta" ? beta : alpha)[place];
  if (!Array.isArray(value)) return [shownValue(model, value)];
  const most = Math.min(state.k, 4);
  const written = value.slice(0, most).map((each) => number(each));
  if (value.length > most) written[most - 1] += " …";
  return written.length ? written : ["∅"];
}

const visits = (graph, path, place) => path.arcs.some((arc) => graph.arcs[arc].to === place);

/** How dark a node is, from 0 to 1: its share of all paths, or of those that the scan has seen at this step. */
function heat(model, place) {
  const { graph, semiring, shares, paths, drawn } = model;
  const end = place === 0 || place === graph.nodes.length - 1;
  if (end || !known(model, place)) return 0;
  if (state.view === "paths" && drawn) return paths.filter((path) => visits(graph, path, place)).length / paths.length;
  if (state.view === "marginal") return shares.nodes[place];
  const values = state.view === "beta" ? model.beta : model.alpha;
  const beside = columnNodes(graph, graph.nodes[place].column).filter((other) => Boolean(graph.nodes[other].begun) === Boolean(graph.nodes[place].begun));
  const first = (other) => (Array.isArray(values[other]) ? values[other][0] ?? -Infinity : values[other]);
  if (semiring.name === "count") return first(place) / Math.max(1, ...beside.map(first));
  if (first(place) === -Infinity) return 0;
  const mixed = semiring.plus === Log.plus || semiring.name === "smooth" || semiring.name === "sample";
  if (!mixed) return Math.exp(first(place) - Math.max(...beside.map(first)));
  return semiring.share(first(place), semiring.plus(beside.map(first)));
}

// What is shown.

function scene(model) {
  const { graph, shares, paths, pointers, semiring, drawn } = model;
  const focus = focused(model);
  const active = new Set(state.view === "paths" ? [] : state.view === "beta" ? graph.out[focus] : state.view === "alpha" ? graph.into[focus] : []);
  const winners = new Set();
  if (pointers && state.view === "alpha") pointers.forEach((found, place) => known(model, place) && found.forEach(({ arc }) => winners.add(arc)));
  const count = paths.length;
  const chosen = Math.min(state.path, count - 1);
  const tracing = state.view === "paths" && count;
  const seen = (path) => path.arcs.filter((arc) => graph.nodes[graph.arcs[arc].to].column > state.step || graph.nodes[graph.arcs[arc].from].column >= state.step || state.step === 0);
  const order = tracing ? [...paths.keys()].filter((at) => at !== chosen).concat(chosen) : [];
  const values = [...flat(model.chosen.query ?? [0]), ...flat(model.chosen.reference ?? [0])];
  const label = (arc) => (active.has(arc) ? weightText(model, arc) : null);
  return {
    graph,
    column: graph.nodes[focus].column,
    lines: state.semiring === "topk" && state.view !== "marginal" ? Math.min(state.k, 4) : 1,
    text: (place) => lines(model, place),
    fill: (place) => heat(model, place),
    nodeClass: (place) => `${place === focus ? "focus" : ""} ${known(model, place) ? "" : "unknown"} ${tracing && visits(graph, paths[chosen], place) && graph.nodes[place].column >= state.step ? "on-path" : ""}`,
    spoken: (place) => spoken(model, place),
    arcClass: (arc) => {
      if (active.has(arc)) return winners.has(arc) && pointers[focus].some((found) => found.arc === arc) ? "active winner" : "active";
      if (winners.has(arc)) return "winner";
      if (state.view === "marginal") return shares.arcs[arc] ? "shared" : "ahead";
      const { from, to } = graph.arcs[arc];
      return known(model, from) && known(model, to) && !tracing ? "known" : "ahead";
    },
    arcWidth: (arc) => (state.view === "marginal" && shares ? 0.6 + 9 * shares.arcs[arc] : null),
    arcLabel: label,
    paths: order.map((at) => ({ arcs: seen(paths[at]), class: at === chosen ? "chosen" : "other", offset: at === chosen ? 0 : drawn ? 0 : (((at % 5) + 1) * (at % 2 ? 3 : -3)) / 1.4 })),
    series: model.chosen.query ? model.chosen : null,
    range: [Math.min(-0.5, ...values), Math.max(3, ...values)],
  };
}

/** The weight of an arc as it stands in the formula. */
function weightText({ graph, semiring }, arc) {
  const weight = state.view === "alpha" ? inner(graph, arc) : graph.arcs[arc].weight;
  if (weight === null) return null;
  return semiring.name === "count" ? (weight === -Infinity ? "0" : "1") : number(weight);
}

const plain = (html) => {
  const box = document.createElement("div");
  box.innerHTML = html.replaceAll(/<\/?su[bp]>/g, " ");
  return box.textContent.replaceAll(/\s+/g, " ").trim();
};

function spoken(model, place) {
  const letter = { alpha: "alpha", beta: "beta", marginal: "marginal", paths: "alpha" }[state.view];
  const at = place === 0 ? "start" : place === model.graph.nodes.length - 1 ? "end" : plain(name(model.graph, place, "node"));
  const text = lines(model, place).join(", ");
  return `${at}: ${text === "·" ? "not computed yet" : text === "" ? "no number" : `${letter} ${text}`}`;
}

function formula(model) {
  const { graph, semiring, alpha, beta, passing, shares, paths, pointers, drawn } = model;
  const node = focused(model);
  if (state.view === "marginal") {
    return marginal({ graph, semiring, alpha: alpha[node], beta: beta[node], total: model.total, node, passing: passing.nodes[node], share: shares.nodes[node] });
  }
  if (state.view === "paths") {
    const path = paths[Math.min(state.path, paths.length - 1)];
    if (!path) return { symbols: "There is no path.", numbers: "", left: "" };
    const taken = path.arcs.find((arc) => graph.arcs[arc].to === node);
    return pointer({ graph, semiring, alpha, node, taken, rank: pointers ? rankAt(model, node) : 0, drawn });
  }
  const chosen = pointers && state.view === "alpha" ? pointers[node].map(({ arc }) => arc) : [];
  return recursion({ graph, semiring, values: state.view === "alpha" ? alpha : beta, node, letter: state.view === "alpha" ? "α" : "β", chosen });
}

/** Which of the k best at a node the chosen path goes on from. */
function rankAt({ graph, pointers }, wanted) {
  let [node, rank] = [graph.nodes.length - 1, state.path];
  while (node !== wanted && node !== 0) {
    const found = pointers[node][rank];
    [node, rank] = [graph.arcs[found.arc].from, found.rank];
  }
  return rank;
}

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

function answers(model) {
  const { graph, paths, semiring } = model;
  const value = semiring.name === "count" ? String(model.total) : semiring.name === "topk" ? number(model.total) : number(model.total, 3);
  const meaning = make("p", { class: "faint" });
  meaning.innerHTML = MEANING[state.semiring];
  const says = make("p", {}, state.view === "marginal" && state.semiring === "max" ? "The score of the best path through each node: max-marginals. Under each weight: how often the best path uses it." : state.view === "marginal" && state.semiring === "count" ? "How many paths go through each node: those that lead to it, times those that lead on." : SAYS[state.view]);
  const parts = [make("h2", {}, "Total"), make("p", { class: "total number" }, value), meaning, make("h2", {}, { alpha: "Forward", beta: "Backward", marginal: "Marginals", paths: "Traced back" }[state.view]), says];
  if (paths.length) parts.push(pathTable(model));
  parts.push(make("h2", {}, "One chain, other totals"), otherTotals(graph));
  return parts;
}

function pathTable(model) {
  const { graph, paths, drawn } = model;
  const chosen = Math.min(state.path, paths.length - 1);
  const rows = new Map(); // draws of the same path share a row
  paths.forEach((path, at) => {
    const event = graph.show(graph.event(path));
    const key = drawn ? event : at;
    if (!rows.has(key)) rows.set(key, { event, at, path, times: 0, chosen: false });
    rows.get(key).times += 1;
    rows.get(key).chosen ||= at === chosen;
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

function otherTotals(graph) {
  const of = (semiring) => total(forward(graph, semiring));
  const rows = [["Log", number(of(Log))], [`SmoothMax(${state.gamma})`, number(of(SmoothMax(state.gamma)))], ["Max", number(of(Max))], ["Count", String(of(Count))]];
  return make("table", { class: "totals" }, ...rows.map(([title, value]) => make("tr", {}, make("th", { scope: "row" }, title), make("td", { class: "number" }, value))));
}

/** What can be edited, as tables of bars. */
function weightTables(model) {
  const { chosen, uses, graph } = model;
  const numbers = (count, from = 1) => Array.from({ length: count }, (_, at) => String(at + from));
  const column = (values) => values.map((value) => [value]);
  const turned = (values) => values[0].map((_, row) => values.map((each) => each[row]));
  const range = [-4, 2];
  const all = { range, infinite: true };
  const found = (field, shape) => (uses?.[field] ? shape(uses[field]) : undefined);
  if (state.kind === "dtw") {
    const series = { range: [-1, 4], infinite: false };
    return [
      { ...series, name: "query", title: "query <i>x</i>", hint: "down the grid", rows: [""], columns: numbers(chosen.query.length), values: [chosen.query], label: (_, i) => `query ${i + 1}` },
      { ...series, name: "reference", title: "reference <i>y</i>", hint: "along the grid; a cell costs c = | x − y |, and weighs −c", rows: [""], columns: numbers(chosen.reference.length), values: [chosen.reference], label: (_, j) => `reference ${j + 1}` },
    ];
  }
  if (state.kind === "ctc") {
    const { letters } = byName(state.preset);
    const shown = letters.map((letter, at) => (at ? letter : `${letter} blank`));
    return [{ ...all, range: [-4, 0.5], name: "emission", title: "emission <i>y</i>", hint: "[token, frame]", rows: shown, columns: numbers(chosen.emission.length), values: turned(chosen.emission), uses: found("emission", turned), label: (v, t) => `token ${letters[v]}, frame ${t + 1}` }];
  }
  const states = numbers(chosen.initial.length);
  const same = (values) => values;
  const tables = [
    { ...all, name: "initial", title: "initial <i>ι</i>", hint: "[state]", rows: states, columns: [""], values: column(chosen.initial), uses: found("initial", column), label: (j) => `initial weight of state ${j + 1}` },
    { ...all, name: "transition", title: "transition <i>A</i>", hint: "[from, to]", rows: states, columns: states, values: chosen.transition, uses: found("transition", same), label: (i, j) => `transition from ${i + 1} to ${j + 1}` },
  ];
  if (state.kind === "hsmm") tables.push({ ...all, name: "duration", title: "duration <i>δ</i>", hint: "[state, steps]", rows: states, columns: numbers(chosen.duration[0].length), values: chosen.duration, uses: found("duration", same), label: (j, d) => `state ${j + 1} lasts ${d + 1}` });
  tables.push({ ...all, name: "emission", title: "emission <i>e</i>", hint: "[state, step]", rows: states, columns: numbers(chosen.emission.length), values: turned(chosen.emission), uses: found("emission", turned), label: (j, t) => `emission of step ${t + 1}, state ${j + 1}` });
  return tables;
}

function edit(name, row, column, value) {
  const w = structuredClone(state.w ?? parsed(byName(state.preset).potentials));
  if (state.kind === "dtw") w[name][column] = value;
  else if (name === "initial") w.initial[row] = value;
  else if (name === "emission") w.emission[column][row] = value;
  else w[name][row][column] = value;
  change({ w });
}

function shuffle() {
  const uniform = generator(Date.now());
  const low = state.kind === "dtw" ? 0 : -2;
  const one = (value) => (Array.isArray(value) ? value.map(one) : value === -Infinity ? value : Math.round((low + 3 * uniform()) * 20) / 20);
  const like = parsed(byName(state.preset).potentials);
  change({ w: Object.fromEntries(Object.entries(like).map(([field, values]) => [field, one(values)])) });
}

// Controls.

const full = fullScreenButton((large) => large !== state.large && change({ large }));
const controls = {
  kind: choices("structure", KINDS, (kind) => change({ kind, preset: ofKind(kind)[0].name, w: null, path: 0, step: STEP[kind], node: null })),
  semiring: choices("semiring", SEMIRINGS, (semiring) => change({ semiring, path: 0, view: ALLOWED[semiring].includes(state.view) ? state.view : ["topk", "sample"].includes(semiring) ? "paths" : "marginal" })),
  view: choices("what the nodes show", VIEWS, (view) => change({ view })),
  preset: make("select", { "aria-label": "preset", onchange: (event) => change({ preset: event.target.value, w: null, path: 0 }) }),
  alone: make("a", { class: "alone", target: "_blank", rel: "noopener" }, "Open by itself"),
  reset: make("button", { type: "button", class: "reset", title: "Back to the weights of the preset", onclick: () => change({ w: null }) }, "Reset weights"),
  shuffle: make("button", { type: "button", class: "shuffle", title: "Random weights", onclick: shuffle }, "Random weights"),
  gamma: make("input", { type: "range", min: 0, max: TEMPERATURES.length - 1, step: 1, "aria-label": "temperature", oninput: (event) => change({ gamma: TEMPERATURES[event.target.value] }) }),
  k: make("input", { type: "number", min: 1, max: COUNTS.k, "aria-label": "how many paths", oninput: (event) => counted("k", event.target) }),
  n: make("input", { type: "number", min: 1, max: COUNTS.n, "aria-label": "how many draws", oninput: (event) => counted("n", event.target) }),
  again: make("button", { type: "button", class: "again", onclick: () => change({ seed: state.seed + 1, path: 0 }) }, "Draw again"),
  steps: stepper({ changed: (step) => change({ step }), describe: (step) => describe(step), direction: () => (["beta", "paths"].includes(state.view) ? -1 : 1) }),
};
const gammaText = make("output", { class: "number" });
const options = {
  smooth: make("label", { class: "field" }, make("span", { class: "name" }, "temperature γ"), controls.gamma, gammaText),
  topk: make("label", { class: "field" }, make("span", { class: "name" }, "k"), controls.k),
  sample: make("span", { class: "field" }, make("label", { class: "field" }, make("span", { class: "name" }, "draws"), controls.n), controls.again),
};

function counted(which, input) {
  const value = Math.round(Number(input.value));
  if (value >= 1 && value <= COUNTS[which]) change({ [which]: value, path: 0 });
}

function describe(step) {
  const { graph } = model;
  if (step === 0) return "start";
  if (step >= graph.columns) return "end";
  return `column ${step} of ${graph.columns}`;
}

function place() {
  const copy = copyButton();
  copy.addEventListener("click", keepLink.now, { capture: true });
  $(".tools").append(controls.alone, copy, full);
  $(".edited").append(controls.reset, controls.shuffle);
  $(".chosen").append(make("span", { class: "field" }, make("span", { class: "name" }, "structure"), controls.kind), make("label", { class: "field preset" }, make("span", { class: "name" }, "preset"), controls.preset));
  $(".chosen").append(make("span", { class: "field" }, make("span", { class: "name" }, "semiring"), controls.semiring), ...Object.values(options));
  $(".views").append(make("span", { class: "field" }, make("span", { class: "name" }, "show"), controls.view));
  $(".steps-here").append(controls.steps);
  $(".trellis").addEventListener("keydown", (event) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const here = columnNodes(model.graph, state.step);
    change({ node: Math.max(0, Math.min(here.length - 1, nodeAt(model, here) + by)) });
  });
}

const keepLink = seldom(toLink);
let model;

function show() {
  if (document.documentElement.classList.contains("large") !== state.large) full.set(state.large); // before anything is drawn
  model = modelled();
  state.step = Math.min(state.step, model.graph.columns);
  const { kind, semiring, view, preset } = state;
  controls.kind.set(kind);
  controls.semiring.set(semiring);
  controls.view.set(view);
  controls.view.allow(ALLOWED[semiring]);
  if (controls.preset.dataset.kind !== kind) {
    controls.preset.dataset.kind = kind;
    controls.preset.replaceChildren(...ofKind(kind).map(({ name: value, title }) => make("option", { value }, title)));
  }
  controls.preset.value = preset;
  controls.reset.disabled = !state.w;
  for (const [name_, option] of Object.entries(options)) option.hidden = name_ !== semiring;
  controls.gamma.value = TEMPERATURES.indexOf(state.gamma);
  gammaText.textContent = String(state.gamma);
  for (const which of ["k", "n"]) if (document.activeElement !== controls[which]) controls[which].value = state[which];
  controls.steps.set(state.step, model.graph.columns);
  drawTrellis($(".trellis"), scene(model), {
    node: (at) => change({ step: model.graph.nodes[at].column, node: columnNodes(model.graph, model.graph.nodes[at].column).indexOf(at) }),
    series: (series, at, value) => edit(series, 0, at, Math.round(value * 20) / 20),
  });
  follow(focused(model));
  const { symbols, numbers } = formula(model);
  $(".formula").replaceChildren(make("p", { class: "symbols" }), make("p", { class: "numbers number" }));
  $(".symbols").innerHTML = symbols;
  $(".numbers").innerHTML = numbers;
  $(".spoken").textContent = spoken(model, focused(model));
  $(".answers").replaceChildren(...answers(model));
  showChosen();
  drawWeights($(".weights"), weightTables(model), edit);
  $(".source").textContent = model.exact
    ? "These tables were computed by semihmm, in Python; this page traces the paths. Where a weight is changed, it computes the tables too."
    : "Weights were changed: this page computes the tables, by recursions that are tested against semihmm.";
  keepLink();
}

/** The chosen path is in view in its list. */
function showChosen() {
  const [list, row] = [$(".answers .list"), $(".answers .here")];
  if (list && row) list.scrollTop += row.getBoundingClientRect().top - list.getBoundingClientRect().top - list.clientHeight / 2;
}

/** Where the trellis is wider than its place, the node that is looked at is in view. */
function follow(at) {
  const scroller = $(".trellis").parentNode;
  if (scroller.scrollWidth <= scroller.clientWidth) return;
  const box = $(".trellis").querySelectorAll("g.node")[at].getBoundingClientRect();
  const here = scroller.getBoundingClientRect();
  if (box.left < here.left + 90 || box.right > here.right - 20) scroller.scrollLeft += box.left - here.left - 0.6 * here.width;
}

/** Everything that happens comes here. */
function change(changes) {
  const focus = document.activeElement?.closest?.(".answers") ? document.activeElement.textContent : null;
  state = { ...state, ...changes };
  show();
  if (focus) [...document.querySelectorAll(".answers button")].find((button) => button.textContent === focus)?.focus();
}

followTheme();
place();
state = fromLink(readLink());
show();
fitFrame();
$(".editing").open = window.parent === window || Boolean(state.w); // in a page there is less place
onLink((link) => {
  state = fromLink(link);
  show();
});
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width && !state.large) return; // a phone's address bar comes and goes
  width = innerWidth;
  show();
});
window.figure = { solve, link: () => (keepLink.now(), location.hash.slice(1)), get state() { return state; }, get model() { return model; } };
