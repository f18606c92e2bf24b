// Forward, backward, marginals and paths, once for every structure and every semiring.
//
// A structure is a graph without cycles, whose nodes come in the order in which a scan reaches them:
//   nodes  [{...}, ...]: the first is the start, the last is the end
//   arcs   [{ from, to, weight }, ...]: `from` and `to` are places in `nodes`, `weight` is a log-weight in nats
//   into   for each node, the arcs that lead to it; of equal ones the first wins
//   out    for each node, the arcs that leave it
// A path goes from the start to the end, and its score is the sum of its weights.

const { exp, log, max } = Math;

function logSumExp(values, temperature = 1) {
  const peak = max(...values);
  if (peak === -Infinity) return -Infinity; // nothing to add up
  return peak + temperature * log(values.reduce((sum, value) => sum + exp((value - peak) / temperature), 0));
}

// What ⊕ (`plus`, of a list) and ⊗ (`times`) mean, and which value a log-weight lifts to.
// `share(through, total)`: which part of the total goes through a node or an arc.

/** Adds up e^score of all paths: the total is log Z. */
export const Log = {
  name: "log",
  zero: -Infinity,
  one: 0,
  lift: (weight) => weight,
  times: (a, b) => a + b,
  plus: (values) => logSumExp(values),
  share: (through, total) => (through === -Infinity ? 0 : exp(through - total)),
};

/** γ log Σ e^(score / γ): Log where γ is 1, Max as γ goes to 0. */
export const SmoothMax = (gamma) => ({
  ...Log,
  name: "smooth",
  gamma,
  plus: (values) => logSumExp(values, gamma),
  share: (through, total) => (through === -Infinity ? 0 : exp((through - total) / gamma)),
});

/** The best score. */
export const Max = {
  name: "max",
  zero: -Infinity,
  one: 0,
  lift: (weight) => weight,
  times: (a, b) => a + b,
  plus: (values) => max(-Infinity, ...values),
  choose: (values) => TopK(1).choose(values.map((value) => [value])),
};

/** How many paths there are. */
export const Count = {
  name: "count",
  zero: 0,
  one: 1,
  lift: (weight) => (weight === -Infinity ? 0 : 1),
  times: (a, b) => a * b,
  plus: (values) => values.reduce((sum, value) => sum + value, 0),
  share: (through, total) => (total ? through / total : 0),
};

/** The k best scores, best first: a value is a list. */
export const TopK = (k) => ({
  name: "topk",
  k,
  zero: [],
  one: [0],
  lift: (weight) => (weight === -Infinity ? [] : [weight]),
  times: (a, b) => a.flatMap((x) => b.map((y) => x + y)).sort((x, y) => y - x).slice(0, k),
  plus(values) {
    return this.choose(values).map(({ argument, rank }) => values[argument][rank]);
  },
  /** Where each of the k best comes from. The lists are merged head by head; of equal heads the first wins. */
  choose(values) {
    const heads = values.map(() => 0);
    const chosen = [];
    while (chosen.length < k) {
      let best = -1;
      values.forEach((list, at) => {
        if (heads[at] >= list.length || list[heads[at]] === -Infinity) return;
        if (best < 0 || list[heads[at]] > values[best][heads[best]]) best = at;
      });
      if (best < 0) break; // there are fewer than k
      chosen.push({ argument: best, rank: heads[best]++ });
    }
    return chosen;
  },
});

/** α of every node: the total of all ways from the start to it. */
export function forward({ nodes, arcs, into }, semiring) {
  const alpha = [];
  nodes.forEach((_, node) => {
    const terms = into[node].map((arc) => semiring.times(alpha[arcs[arc].from], semiring.lift(arcs[arc].weight)));
    alpha.push(node === 0 ? semiring.one : semiring.plus(terms));
  });
  return alpha;
}

/** β of every node: the total of all ways from it to the end. */
export function backward({ nodes, arcs, out }, semiring) {
  const beta = [];
  for (let node = nodes.length - 1; node >= 0; node--) {
    const terms = out[node].map((arc) => semiring.times(semiring.lift(arcs[arc].weight), beta[arcs[arc].to]));
    beta[node] = node === nodes.length - 1 ? semiring.one : semiring.plus(terms);
  }
  return beta;
}

/** The total of all paths: α of the end. */
export const total = (alpha) => alpha[alpha.length - 1];

/** What goes through each node, α ⊗ β, and through each arc, α ⊗ weight ⊗ β. */
export function through({ arcs }, semiring, alpha, beta) {
  const { times, lift } = semiring;
  return {
    nodes: alpha.map((value, node) => times(value, beta[node])),
    arcs: arcs.map(({ from, to, weight }) => times(times(alpha[from], lift(weight)), beta[to])),
  };
}

/** Where each value of each node comes from: [{ arc, rank }, ...], best first. `semiring` is Max or TopK. */
export function backpointers({ nodes, arcs, into }, semiring, alpha) {
  return nodes.map((_, node) => {
    const terms = into[node].map((arc) => semiring.times(alpha[arcs[arc].from], semiring.lift(arcs[arc].weight)));
    return semiring.choose(terms).map(({ argument, rank }) => ({ arc: into[node][argument], rank }));
  });
}

/** The paths that the pointers lead back to, best first: { score, arcs } each, its arcs from start to end. */
export function traceback({ nodes, arcs }, pointers) {
  const last = nodes.length - 1;
  return pointers[last].map((_, asked) => {
    const path = [];
    for (let [node, rank] = [last, asked]; node !== 0; ) {
      const pointer = pointers[node][rank];
      path.unshift(pointer.arc);
      [node, rank] = [arcs[pointer.arc].from, pointer.rank];
    }
    return { score: path.reduce((sum, arc) => sum + arcs[arc].weight, 0), arcs: path };
  });
}

/** One path, drawn with its posterior probability: α is that of Log, and each step back draws where to come from. */
export function draw({ nodes, arcs, into }, alpha, uniform) {
  if (total(alpha) === -Infinity) return null; // there is no path
  const path = [];
  for (let node = nodes.length - 1; node !== 0; node = arcs[path[0]].from) {
    const chances = into[node].map((arc) => Log.share(alpha[arcs[arc].from] + arcs[arc].weight, alpha[node]));
    path.unshift(into[node][pick(chances, uniform())]);
  }
  return { score: path.reduce((sum, arc) => sum + arcs[arc].weight, 0), arcs: path };
}

/** The argument at which the running sum of the chances passes u, a number from 0 to 1. */
export function pick(chances, u) {
  const point = u * chances.reduce((sum, chance) => sum + chance, 0);
  let [sum, last] = [0, 0];
  for (let at = 0; at < chances.length; at++) {
    if (!(chances[at] > 0)) continue;
    last = at;
    sum += chances[at];
    if (point < sum) break;
  }
  return last;
}

/** Uniform numbers from 0 to 1 that a seed decides (mulberry32). */
export function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
