// What is computed at this step: in the symbols of any semiring, then with the numbers of this one filled in.
import { chance, number, symbol } from "./format.js";
import { Log } from "./recursions.js";

/** How a node is written: α₃(2). */
export function name(graph, node, letter) {
  const { nodes } = graph;
  if (node === 0) return `<i>${letter}</i>(start)`;
  if (node === nodes.length - 1) return `<i>${letter}</i>(end)`;
  return symbol(letter, graph.symbol(nodes[node]));
}

const same = (a) => (b) => a.of === b.of && String(a.at) === String(b.at);
const value = (graph, { of, at, factor = 1 }) => factor * at.reduce((inner, index) => inner[index], graph.potentials[of]);

/** Terms of uses, [{ text, value }, ...]; the emissions of a segment are one term, e₂₋₃(1). */
function terms(graph, uses) {
  const emissions = uses.filter(({ of }) => of === "emission");
  const single = (use) => {
    const [letter, below, inside] = graph.term(use);
    return { text: `${use.factor < 0 ? "−" : ""}${symbol(letter, [null, below, inside])}`, value: value(graph, use) };
  };
  if (emissions.length < 2) return uses.map(single);
  const [first, last] = [emissions[0], emissions.at(-1)];
  const [letter, below, inside] = graph.term(first);
  const text = symbol(letter, [null, `${below}–${last.at[0] + 1}`, inside]);
  const sum = emissions.reduce((all, use) => all + value(graph, use), 0);
  return [...uses.filter(({ of }) => of !== "emission").map(single), { text, value: sum }];
}

const signed = (x) => (x === -Infinity ? " − ∞" : x < 0 ? ` − ${number(-x)}` : ` + ${number(x)}`);
const list = (values) => `{${number(values)}}`;
const lifted = (x) => (x === -Infinity ? "0" : "1");

/** The sum of a value and weights, in the numbers of a semiring. */
function product(semiring, start, weights) {
  if (semiring.name === "count") return [start, ...weights.map(lifted)].join(" · ");
  return (Array.isArray(start) ? list(start) : number(start)) + weights.map(signed).join("");
}

function sum(semiring, parts) {
  if (!parts.length) return number(semiring.zero);
  const power = (part) => `<i>e</i><sup>${part}</sup>`;
  if (semiring.name === "count") return parts.join(" + ");
  if (semiring.name === "max") return `max( ${parts.join(" ,&ensp;")} )`;
  if (semiring.name === "topk") return `best ${semiring.k} of ( ${parts.join(" ,&ensp;")} )`;
  if (semiring.name === "smooth") return `${semiring.gamma} log( ${parts.map((part) => power(`(${part})&thinsp;/&thinsp;${semiring.gamma}`)).join(" + ")} )`;
  return `log( ${parts.map(power).join(" + ")} )`;
}

/** What all arcs into a node have in common, as the emission there: it stands outside of the sum. */
function shared(graph, node) {
  const [first, ...others] = graph.into[node].map((arc) => graph.arcs[arc].uses);
  return others.length ? first.filter((use) => others.every((uses) => uses.some(same(use)))) : [];
}

/** The weight of an arc inside of the sum of α, or null where all of it stands outside. */
export function inner(graph, arc) {
  const outside = shared(graph, graph.arcs[arc].to);
  const own = graph.arcs[arc].uses.filter((use) => !outside.some(same(use)));
  return own.length ? own.reduce((sum, use) => sum + value(graph, use), 0) : null;
}

/** α or β of one node. `values` are those of all nodes, `chosen` the arcs that won, if there are such. */
export function recursion({ graph, semiring, values, node, letter, chosen = [] }) {
  const ahead = letter === "β";
  const arcs = ahead ? graph.out[node] : graph.into[node];
  const left = name(graph, node, letter);
  if (!arcs.length) {
    const edge = node === (ahead ? graph.nodes.length - 1 : 0);
    const why = edge ? "the empty product, one of the semiring" : "no arc, so zero of the semiring";
    const shown = semiring.name === "topk" ? list(values[node]) : number(values[node]);
    return { symbols: `${left} = <b>${edge ? "1" : "0"}</b>&ensp;<span class="faint">${why}</span>`, numbers: `${left} = ${shown}` };
  }
  const common = ahead ? [] : shared(graph, node);
  const outer = terms(graph, common);
  const parts = arcs.map((arc) => {
    const own = terms(graph, graph.arcs[arc].uses.filter((use) => !common.some(same(use))));
    const other = ahead ? graph.arcs[arc].to : graph.arcs[arc].from;
    const [symbols, weights] = [own.map(({ text }) => text), own.map((term) => term.value)];
    const recalled = name(graph, other, letter);
    const won = chosen.includes(arc) ? ' class="won"' : "";
    return {
      symbols: `<span${won}>${(ahead ? [...symbols, recalled] : [recalled, ...symbols]).join(" ⊗ ")}</span>`,
      numbers: `<span${won}>${product(semiring, values[other], weights)}</span>`,
    };
  });
  const inside = parts.map((part) => part.symbols).join(" ⊕ ");
  const outside = outer.map(({ text }) => ` ⊗ ${text}`).join("");
  let numbers = sum(semiring, parts.map((part) => part.numbers));
  if (outer.length && semiring.name === "count" && parts.length > 1) numbers = `( ${numbers} )`;
  const after = outer.map((term) => (semiring.name === "count" ? ` · ${lifted(term.value)}` : signed(term.value))).join("");
  const result = semiring.name === "topk" ? list(values[node]) : semiring.name === "count" ? values[node] : number(values[node]);
  return {
    symbols: `${left} = ${outside && parts.length > 1 ? `( ${inside} )` : inside}${outside}`,
    numbers: `${left} = ${numbers}${after} = <b>${result}</b>`,
  };
}

/** What goes through one node: a probability, a best score or a number of paths. */
export function marginal({ graph, semiring, alpha, beta, total, node, passing, share }) {
  const [a, b] = [name(graph, node, "α"), name(graph, node, "β")];
  const [left, Z] = [name(graph, node, { max: "m", count: "n" }[semiring.name] ?? "p"), "log <i>Z</i>"];
  if (semiring.name === "count") {
    return { symbols: `${left} = ${a} · ${b}`, numbers: `${left} = ${alpha} · ${beta} = <b>${passing}</b> of ${total} paths` };
  }
  if (semiring.name === "max") {
    return { symbols: `${left} = ${a} + ${b}`, numbers: `${left} = ${number(alpha)}${signed(beta)} = <b>${number(passing)}</b>&ensp;<span class="faint">the best path through here; the best of all: ${number(total)}</span>` };
  }
  if (semiring.name === "smooth") {
    const gamma = semiring.gamma;
    return { symbols: `${left} = exp( ( ${a} + ${b} − <i>α</i>(end) ) / γ )`, numbers: `${left} = exp( ( ${number(alpha)}${signed(beta)}${signed(-total)} ) / ${gamma} ) = <b>${chance(share)}</b>` };
  }
  return { symbols: `${left} = exp( ${a} + ${b} − ${Z} )`, numbers: `${left} = exp( ${number(alpha)}${signed(beta)}${signed(-total)} ) = <b>${chance(share)}</b>` };
}

/** Where a path comes from at one node: by the pointer of Max and TopK, or by a draw. */
export function pointer({ graph, semiring, alpha, node, taken, rank, drawn }) {
  const left = name(graph, node, "ψ");
  const arcs = graph.into[node];
  if (!arcs.length) return { symbols: `${name(graph, node, "α")}&ensp;<span class="faint">the path is traced back to the start</span>`, numbers: "" };
  const from = (arc) => name(graph, graph.arcs[arc].from, "α");
  const parts = arcs.map((arc) => {
    const { weight, from: other } = graph.arcs[arc];
    const won = arc === taken ? ' class="won"' : "";
    if (drawn) return `<span${won}>${from(arc)}: ${chance(Log.share(alpha[other] + weight, alpha[node]))}</span>`;
    return `<span${won}>${from(arc)}: ${product(semiring, alpha[other], [weight])}</span>`;
  });
  const origin = `<b>${from(taken)}</b>`;
  if (drawn) {
    return {
      symbols: `${left} ~ exp( <i>α</i>(from) + weight − ${name(graph, node, "α")} )`,
      numbers: `${left} ∈ { ${parts.join(" ,&ensp;")} }&ensp;drawn: ${origin}`,
    };
  }
  const which = rank ? `, number ${rank + 1}` : "";
  return { symbols: `${left} = argmax ( <i>α</i>(from) + weight )${which}`, numbers: `${left} ∈ { ${parts.join(" ,&ensp;")} }&ensp;→ ${origin}` };
}
