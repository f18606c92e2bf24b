// Every answer to a structure at once, as tables by the keys of nodes: what the figure shows, and what tests compare.
import { Count, Log, Max, SmoothMax, TopK, backpointers, backward, draw, forward, generator, through, total, traceback } from "./recursions.js";
import { graphs } from "./graphs.js";

export const semirings = { log: () => Log, max: () => Max, count: () => Count, topk: ({ k }) => TopK(k), smooth: ({ gamma }) => SmoothMax(gamma) };

/** How often each potential counts in the paths, in its own shape: the gradient of the total where `shares` are those of arcs. */
export function gradient(graph, shares) {
  const zeros = (value) => (Array.isArray(value) ? value.map(zeros) : 0);
  const result = {};
  for (const [name, values] of Object.entries(graph.potentials)) result[name] = zeros(values);
  graph.arcs.forEach((arc, number) => {
    for (const { of, at, factor = 1 } of arc.uses) {
      const inner = at.slice(0, -1).reduce((values, index) => values[index], result[of]);
      inner[at.at(-1)] += factor * shares[number];
    }
  });
  return result;
}

/** { alpha, beta, total } of a semiring, and what follows from them: gradient, best path or paths. */
export function answers(graph, name, options = {}) {
  const semiring = semirings[name](options);
  const [alpha, beta] = [forward(graph, semiring), backward(graph, semiring)];
  const keyed = (values) => Object.fromEntries(graph.nodes.map(({ key }, node) => [key, values[node]]));
  const result = { total: total(alpha), alpha: keyed(alpha), beta: keyed(beta) };
  if (name === "log" || name === "smooth") {
    const shares = through(graph, semiring, alpha, beta).arcs.map((value) => semiring.share(value, result.total));
    result.gradient = gradient(graph, shares);
  }
  if (name === "max" || name === "topk") {
    const paths = traceback(graph, backpointers(graph, semiring, alpha));
    result.paths = paths.map((path) => ({ score: path.score, event: graph.event(path) }));
  }
  return result;
}

/** Events of `count` drawn paths. */
export function draws(graph, count, seed) {
  const [alpha, uniform] = [forward(graph, Log), generator(seed)];
  const paths = Array.from({ length: count }, () => draw(graph, alpha, uniform));
  return paths.filter(Boolean).map(graph.event);
}

// JSON has no infinity.
const read = (_, value) => (value === "-inf" ? -Infinity : value);
const write = (_, value) => (value === -Infinity ? "-inf" : value);

/** Answers to cases written as JSON: [{ kind, potentials, options, semiring: {name, k, gamma}, draws, seed }, ...]. */
export function solve(text) {
  const cases = JSON.parse(text, read);
  return JSON.stringify(
    cases.map(({ kind, potentials, options, semiring, draws: count, seed }) => {
      const graph = graphs[kind](potentials, options);
      return count ? draws(graph, count, seed) : answers(graph, semiring.name, semiring);
    }),
    write,
  );
}
