// What the reader has chosen. All of it is in the link; `w` are the weights where they were edited, else null.
import presets from "./presets.json";

// What there is to choose from: [value, text, what it is].
export const KINDS = [
  ["hmm", "HMM", "Hidden Markov model, or linear-chain CRF"],
  ["hsmm", "HSMM", "Hidden semi-Markov model: each state lasts a while"],
  ["ctc", "CTC", "Connectionist temporal classification"],
  ["dtw", "DTW", "Dynamic time warping"],
];
export const SEMIRINGS = [
  ["log", "Log", "Adds up all paths"],
  ["max", "Max", "The best path"],
  ["count", "Count", "How many paths"],
  ["topk", "TopK", "The k best paths"],
  ["sample", "Sample", "Paths drawn at random"],
  ["smooth", "SmoothMax", "A temperature between Max and Log"],
];
export const VIEWS = [
  ["alpha", "α forward", "The total of all ways from the start"],
  ["beta", "β backward", "The total of all ways to the end"],
  ["marginal", "marginals", "What goes through each node"],
  ["paths", "paths", "Pointers traced back"],
];
/** What the nodes may show in each semiring. */
export const ALLOWED = {
  log: ["alpha", "beta", "marginal"],
  max: ["alpha", "beta", "marginal", "paths"],
  count: ["alpha", "beta", "marginal"],
  topk: ["alpha", "beta", "paths"],
  sample: ["alpha", "marginal", "paths"],
  smooth: ["alpha", "beta", "marginal"],
};
export const TEMPERATURES = [0.1, 0.2, 0.5, 1, 2, 5, 10]; // those of presets.py
export const COUNTS = { k: 8, n: 50 };

export const byName = (wanted) => presets.find((preset) => preset.name === wanted);
export const ofKind = (kind) => presets.filter((preset) => preset.kind === kind);

/** What JSON holds, with its infinities. */
export function parsed(values) {
  if (values === "-inf") return -Infinity;
  if (Array.isArray(values)) return values.map(parsed);
  return typeof values === "object" ? Object.fromEntries(Object.entries(values).map(([field, value]) => [field, parsed(value)])) : values;
}

/** Where to begin in each structure. */
export const STEP = { hmm: 3, hsmm: 6, ctc: 4, dtw: 5 };
const START = { kind: "hmm", preset: "equations", semiring: "log", view: "alpha", step: 3, node: null, k: 3, n: 12, seed: 1, gamma: 0.5, path: 0, w: null, large: false };

/** All numbers of a nested list. */
export const flat = (values) => (Array.isArray(values) ? values.flatMap(flat) : [values]);
/** Weights as one line. */
const written = (potentials) => Object.values(potentials).flatMap(flat).map((w) => (w === -Infinity ? "x" : String(+w.toFixed(2)))).join(",");
/** Weights of a line, in the shape of others; null if it has others than these could be. */
function shaped(text, like) {
  const numbers = text.split(",").map((w) => (w === "x" ? -Infinity : w === "" ? NaN : Number(w)));
  const count = Object.values(like).flatMap(flat).length;
  const wrong = (w) => (w === -Infinity ? "query" in like : !(Math.abs(w) <= 99)); // a series has numbers alone
  if (numbers.length !== count || numbers.some(wrong)) return null;
  const fill = (values) => (Array.isArray(values) ? values.map(fill) : numbers.shift());
  return Object.fromEntries(Object.entries(like).map(([field, values]) => [field, fill(values)]));
}

/** The state that a link means; what it says wrongly is as at the start. */
export function fromLink(link) {
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

/** What the link says of a state. */
export function toLink({ kind, preset, semiring, view, step, node, k, n, seed, gamma, path, w, large }) {
  const drawn = semiring === "sample";
  return {
    kind, preset, semiring, view, step, node,
    k: semiring === "topk" ? k : null,
    n: drawn ? n : null,
    seed: drawn ? seed : null,
    gamma: semiring === "smooth" ? gamma : null,
    path: view === "paths" && path ? path : null,
    w: w && written(w),
    large: large ? 1 : null,
  };
}
