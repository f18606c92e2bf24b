// What follows from the state: the graph, its tables, its paths; which node is looked at, and what it says.
import { gradient, semirings } from "./answers.js";
import { chance, number } from "./format.js";
import { distances, graphs } from "./graphs.js";
import { Log, backpointers, backward, draw, forward, generator, through, total, traceback } from "./recursions.js";
import { byName, parsed } from "./state.js";

/**
 * The graph, its tables in the chosen semiring, and its paths. Tables of a preset are Python's; else they are made here. Its
 * `state` is the one that was asked for, with a step and a path that there are.
 */
export function modelled(state) {
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
  const model = { state, graph, semiring, potentials, chosen, alpha, beta, total: total(alpha), paths: [], pointers: null, drawn, exact: Boolean(table) };
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
  const path = Math.max(0, Math.min(state.path, model.paths.length - 1));
  model.state = { ...state, step: Math.min(state.step, graph.columns), path };
  return model;
}

/** How often each potential counts: its posterior, or in the best path. The gradient of the total. */
function weightUses({ state, graph, semiring, shares, paths }) {
  if (state.view !== "marginal") return null;
  if (["log", "smooth", "sample"].includes(semiring.name)) return gradient(graph, shares.arcs);
  if (semiring.name === "max" && paths.length) return gradient(graph, graph.arcs.map((_, arc) => (paths[0].arcs.includes(arc) ? 1 : 0)));
  return null;
}

/** The node whose formula is shown. */
export function focused(model) {
  const { state, graph, paths } = model;
  if (state.view === "paths" && paths.length) {
    const path = paths[state.path];
    const places = [0, ...path.arcs.map((arc) => graph.arcs[arc].to)];
    return places.find((place) => graph.nodes[place].column >= state.step) ?? places.at(-1);
  }
  const here = columnNodes(graph, state.step);
  return here[nodeAt(model, here)];
}

/** Which node of a column: the one that was chosen, else the first of those with the most to add up. */
export function nodeAt({ state, graph }, here) {
  if (state.node !== null) return Math.min(state.node, here.length - 1);
  const arcs = here.map((place) => (state.view === "beta" ? graph.out : graph.into)[place].length);
  return arcs.indexOf(Math.max(...arcs));
}

/** The nodes that a step computes. */
export const columnNodes = (graph, column) => graph.nodes.map((_, place) => place).filter((place) => graph.nodes[place].column === column);

/** Whether the scan has come to a node. */
export function known({ state, graph }, place) {
  const { column } = graph.nodes[place];
  return state.view === "alpha" ? column <= state.step : state.view === "beta" ? column >= state.step : true;
}

const shownValue = (model, value) => (model.semiring.name === "count" ? String(value) : number(value));

/** What stands in a node, line by line. */
export function lines(model, place) {
  const { state, graph, alpha, beta, passing, shares, paths, drawn, semiring } = model;
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

/** Whether a path goes through a node. */
export const visits = (graph, path, place) => path.arcs.some((arc) => graph.arcs[arc].to === place);

/** How dark a node is, from 0 to 1: its share of all paths, or of those that the scan has seen at this step. */
export function heat(model, place) {
  const { state, graph, semiring, shares, paths, drawn } = model;
  const end = place === 0 || place === graph.nodes.length - 1;
  if (end || !known(model, place)) return 0;
  if (state.view === "paths" && drawn) return paths.filter((path) => visits(graph, path, place)).length / Math.max(1, paths.length);
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

/** Which of the k best at a node the chosen path goes on from. */
export function rankAt({ state, graph, pointers }, wanted) {
  let [node, rank] = [graph.nodes.length - 1, state.path];
  while (node !== wanted && node !== 0) {
    const found = pointers[node][rank];
    [node, rank] = [graph.arcs[found.arc].from, found.rank];
  }
  return rank;
}
