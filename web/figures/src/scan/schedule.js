// Which products a strategy makes, in which order: what semihmm/engine/strategies/ does, product by product.
//
// A chain is a start vector v0 and maps M1 ... MT. A product gives either a vector, v0 M1 ... Mt, or a matrix,
// Mi ... Mj. Products of one round do not depend on one another. One operation is a semiring's "plus" or "times".

export const STRATEGIES = ["sequential", "associative", "chunked"];
export const KEEPS = ["total", "all", "checkpoints"];

// Operations of one product with S states: S (or S²) entries, each the sum of S products.
export const cost = (kind, states) => (2 * states - 1) * (kind === "vector" ? states : states ** 2);
export const size = (kind, states) => (kind === "vector" ? states : states ** 2);
export const rootOf = (length) => Math.floor(Math.sqrt(length + 1e-9));

// The blocks that checkpoint=True cuts a chain into: ceil(sqrt(T)) of them, all but the last of the same length.
export function blocksOf(length, keep) {
  const blocks = keep === "checkpoints" && length > 1 ? rootOf(length - 1) + 1 : 1;
  const long = Math.ceil(length / blocks);
  const bounds = [];
  for (let begin = 0; begin < length; begin += long) bounds.push([begin, Math.min(begin + long, length)]);
  return bounds;
}

// values[0] is v0. A value is {id, kind, first, last, from, phase, round}: `from` has ids of values, and -t for the map Mt.
class Products {
  values = [{ id: 0, kind: "vector", first: 0, last: 0, from: [], phase: "start", round: -1, kept: -1 }];
  rounds = [];

  round(phase, products) {
    if (!products.length) return [];
    const made = products.map((product, at) => ({
      ...product,
      id: this.values.length + at,
      phase,
      round: this.rounds.length,
      kept: -1, // until the end of which round somebody keeps it, beyond what reads it
    }));
    this.values.push(...made);
    this.rounds.push({ phase, kind: made[0].kind, products: made.map(({ id }) => id) });
    return made;
  }

  keep(values, until) {
    for (const value of values) value.kept = Math.max(value.kept, until);
  }

  vector(of, by) {
    const last = typeof by === "number" ? by : by.last;
    return { kind: "vector", first: 0, last, from: [of.id, typeof by === "number" ? -by : by.id] };
  }

  matrix(a, b) {
    if (a === null) return { kind: "matrix", first: b, last: b, from: [-b] }; // unit vectors, moved by one map
    const last = typeof b === "number" ? b : b.last;
    return { kind: "matrix", first: a.first, last, from: [a.id, typeof b === "number" ? -b : b.id] };
  }
}

const range = (begin, end) => Array.from({ length: Math.max(end - begin, 0) }, (_, at) => begin + at);

// Each takes the vector in front of step `begin` (0 for the first), and returns the vectors that it made, in order of time.

function sequential(products, begin, end, front, keep, chunk, phase = "steps") {
  const vectors = [];
  for (const t of range(begin + 1, end + 1)) {
    const [next] = products.round(phase, [products.vector(front, t)]);
    vectors.push((front = next));
  }
  return vectors;
}

// Blelloch (1990): products of pairs, all prefixes of those, then the prefixes in between.
function prefixes(products, items) {
  if (items.length === 1) return items;
  const pairs = products.round(
    "up",
    range(0, items.length >> 1).map((i) => products.matrix(items[2 * i], items[2 * i + 1])),
  );
  const odd = prefixes(products, pairs);
  const even = range(1, Math.ceil(items.length / 2)).map((i) => products.matrix(odd[i - 1], items[2 * i]));
  const later = products.round("down", even);
  return items.map((item, at) => (at === 0 ? item : at % 2 ? odd[at >> 1] : later[(at >> 1) - 1]));
}

function reduce(products, items) {
  while (items.length > 1) {
    const pairs = products.round(
      "up",
      range(0, items.length >> 1).map((i) => products.matrix(items[2 * i], items[2 * i + 1])),
    );
    items = items.length % 2 ? [...pairs, items.at(-1)] : pairs;
  }
  return items;
}

function associative(products, begin, end, front, keep) {
  const steps = products.round(
    "matrices",
    range(begin + 1, end + 1).map((t) => products.matrix(null, t)),
  );
  const found = keep ? prefixes(products, steps) : reduce(products, steps);
  return products.round(
    "vectors",
    found.map((matrix) => products.vector(front, matrix)),
  );
}

function chunked(products, begin, end, front, keep, chunk) {
  const length = end - begin;
  const long = Math.min(chunk || rootOf(length), length);
  if (long < 2) return sequential(products, begin, end, front, keep);
  const firsts = range(0, Math.floor(length / long)).map((at) => begin + at * long);
  let matrices = firsts.map(() => null);
  for (const i of range(1, long + 1)) {
    matrices = products.round(
      "inside",
      firsts.map((first, at) => products.matrix(matrices[at], first + i)),
    );
  }
  const entries = [];
  const borders = [];
  for (const matrix of matrices) {
    entries.push(front);
    [front] = products.round("across", [products.vector(front, matrix)]);
    borders.push(front);
  }
  let vectors = borders;
  if (keep) {
    const byStep = [];
    let now = entries;
    for (const i of range(1, long + 1)) {
      now = products.round(
        "vectors",
        firsts.map((first, at) => products.vector(now[at], first + i)),
      );
      byStep.push(now);
    }
    vectors = firsts.flatMap((_, at) => byStep.map((row) => row[at]));
  }
  const rest = sequential(products, begin + firsts.length * long, end, front, keep, 0, "rest");
  return [...vectors, ...rest];
}

const BY_NAME = { sequential, associative, chunked };

// Everything about one run: values, rounds, and ticks, in each of which `processors` make one product each at most.
// `keep`: the total alone; every state vector, as the gradient needs them; or those in front of each block, whose
// others are made a second time when the backward pass gets there.
export function schedule({ strategy, length, states, processors = Infinity, chunk = 0, keep = "all" }) {
  const products = new Products();
  const run = BY_NAME[strategy];
  const bounds = blocksOf(length, keep);
  const [start] = products.values;
  const fronts = [];
  const passes = [{ round: 0, bounds: [0, length] }]; // where a part of the chain is gone through, and from which round on
  let front = start;
  for (const [begin, end] of bounds) {
    fronts.push(front);
    const vectors = run(products, begin, end, front, keep === "all", chunk);
    if (keep === "all") products.keep([front, ...vectors], Infinity);
    front = vectors.at(-1);
  }
  products.keep([front], Infinity);
  if (keep === "checkpoints") {
    for (const at of [...bounds.keys()].reverse()) {
      passes.push({ round: products.rounds.length, bounds: bounds[at] });
      const vectors = run(products, ...bounds[at], fronts[at], true, chunk);
      products.keep([fronts[at], ...vectors], products.rounds.length - 1);
    }
  }
  const { values, rounds } = products;
  return timed({ strategy, length, states, processors, chunk, keep, bounds, passes, values, rounds });
}

// When each product is made, and from when until when its value is held.
function timed(run) {
  const { rounds, values, processors, states } = run;
  const ticks = [];
  const ends = []; // the last tick of each round
  let [vectors, matrices, work, time] = [0, 0, 0, 0];
  for (const value of values) Object.assign(value, { born: -1, dies: -1 });
  rounds.forEach(({ kind, products }, round) => {
    for (let at = 0; at < products.length; at += Math.min(processors, products.length)) {
      const now = products.slice(at, at + processors);
      if (kind === "vector") vectors += now.length;
      else matrices += now.length;
      work += now.length * cost(kind, states);
      time += cost(kind, states);
      for (const id of now) {
        values[id].born = values[id].dies = ticks.length;
        for (const of of values[id].from) if (of >= 0) values[of].dies = ticks.length;
      }
      ends[round] = ticks.length;
      ticks.push({ round, kind, products: now, vectors, matrices, work, time, depth: round + 1 });
    }
  });
  for (const value of values) {
    const kept = value.kept === Infinity ? Infinity : value.kept < 0 ? -1 : ends[value.kept];
    value.dies = Math.max(value.dies, kept);
  }
  const held = ticks.map(() => 0);
  for (const { kind, born, dies } of values) {
    for (let at = Math.max(born, 0); at <= Math.min(dies, ticks.length - 1); at++) held[at] += size(kind, states);
  }
  ticks.forEach((tick, at) => (tick.held = held[at]));
  return { ...run, ticks, peak: Math.max(...held) };
}

// The figures of a whole run.
export function counts(options) {
  const run = schedule(options);
  const { vectors, matrices, work, time } = run.ticks.at(-1);
  return { vectors, matrices, work, depth: run.rounds.length, time, peak: run.peak, ticks: run.ticks.length };
}
