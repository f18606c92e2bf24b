// What the trellis and the formula show of a model.
import { inner, marginal, name, pointer, recursion } from "./formula.js";
import { number } from "./format.js";
import { focused, heat, known, lines, rankAt, visits } from "./model.js";
import { flat } from "./state.js";

/** What `drawTrellis` draws. */
export function scene(model) {
  const { state, graph, shares, paths, pointers, semiring, drawn } = model;
  const focus = focused(model);
  const active = new Set(state.view === "paths" ? [] : state.view === "beta" ? graph.out[focus] : state.view === "alpha" ? graph.into[focus] : []);
  const winners = new Set();
  if (pointers && state.view === "alpha") pointers.forEach((found, place) => known(model, place) && found.forEach(({ arc }) => winners.add(arc)));
  const chosen = state.path;
  const tracing = state.view === "paths" && paths.length > 0;
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
function weightText({ state, graph, semiring }, arc) {
  const weight = state.view === "alpha" ? inner(graph, arc) : graph.arcs[arc].weight;
  if (weight === null) return null;
  return semiring.name === "count" ? (weight === -Infinity ? "0" : "1") : number(weight);
}

const plain = (html) => {
  const box = document.createElement("div");
  box.innerHTML = html.replaceAll(/<\/?su[bp]>/g, " ");
  return box.textContent.replaceAll(/\s+/g, " ").trim();
};

/** What a screen reader says of a node. */
export function spoken(model, place) {
  const letter = { alpha: "alpha", beta: "beta", marginal: "marginal", paths: "alpha" }[model.state.view];
  const at = place === 0 ? "start" : place === model.graph.nodes.length - 1 ? "end" : plain(name(model.graph, place, "node"));
  const text = lines(model, place).join(", ");
  return `${at}: ${text === "·" ? "not computed yet" : text === "" ? "no number" : `${letter} ${text}`}`;
}

/** The formula of this step: { symbols, numbers }, in HTML. */
export function formula(model) {
  const { state, graph, semiring, alpha, beta, passing, shares, paths, pointers, drawn } = model;
  const node = focused(model);
  if (state.view === "marginal" && model.total === semiring.zero) return { symbols: "There is no path.", numbers: "" };
  if (state.view === "marginal") {
    return marginal({ graph, semiring, alpha: alpha[node], beta: beta[node], total: model.total, node, passing: passing.nodes[node], share: shares.nodes[node] });
  }
  if (state.view === "paths") {
    const path = paths[state.path];
    if (!path) return { symbols: "There is no path.", numbers: "" };
    const taken = path.arcs.find((arc) => graph.arcs[arc].to === node);
    return pointer({ graph, semiring, alpha, node, taken, rank: pointers ? rankAt(model, node) : 0, drawn });
  }
  const chosen = pointers && state.view === "alpha" ? pointers[node].map(({ arc }) => arc) : [];
  return recursion({ graph, semiring, values: state.view === "alpha" ? alpha : beta, node, letter: state.view === "alpha" ? "α" : "β", chosen });
}
