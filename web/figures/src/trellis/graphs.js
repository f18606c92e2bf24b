// Four structures as graphs: which paths there are, and what they weigh. Nothing here knows a semiring.
//
// A node has a `key`, by which tables know it; a `column`, the step that computes it; and where it is drawn: `x`, `y`, in
// columns and lanes. An arc `uses` potentials: [{ of, at, factor }, ...], and weighs the sum of factor * of[at].
// `symbol(node)` and `term(use)` name them in formulas: [letter, below, in brackets].

const at = (values, place) => place.reduce((inner, index) => inner[index], values);

function build(kind, potentials, nodes, arcs, more) {
  for (const arc of arcs) {
    arc.weight = arc.uses.reduce((sum, { of, at: place, factor = 1 }) => sum + factor * at(potentials[of], place), 0);
  }
  const into = nodes.map(() => []);
  const out = nodes.map(() => []);
  arcs.forEach(({ from, to }, arc) => {
    into[to].push(arc);
    out[from].push(arc);
  });
  const columns = nodes[nodes.length - 1].column;
  return { kind, potentials, nodes, arcs, into, out, columns, ...more };
}

/** Nodes as a list that knows where each key is. */
function listed() {
  const nodes = [];
  const places = new Map();
  const add = (node) => {
    places.set(node.key, nodes.length);
    nodes.push(node);
  };
  return { nodes, add, place: (key) => places.get(key) };
}

const one = (value) => value + 1;
const range = (count) => [...Array(count).keys()];

/** α_t(j) = ⊕_i α_(t-1)(i) ⊗ A_ij ⊗ e_t(j). */
export function hmm(potentials) {
  const { initial, emission } = potentials;
  const [steps, states] = [emission.length, initial.length];
  const { nodes, add, place } = listed();
  const arcs = [];
  add({ key: "start", column: 0, x: 0, y: (states - 1) / 2 });
  for (const t of range(steps)) for (const j of range(states)) add({ key: `${t + 1},${j + 1}`, column: t + 1, x: t + 1, y: j, t, j });
  add({ key: "end", column: steps + 1, x: steps + 1, y: (states - 1) / 2 });
  for (const t of range(steps)) {
    for (const j of range(states)) {
      const to = place(`${t + 1},${j + 1}`);
      const emitted = { of: "emission", at: [t, j] };
      if (t === 0) arcs.push({ from: 0, to, uses: [{ of: "initial", at: [j] }, emitted] });
      else for (const i of range(states)) arcs.push({ from: place(`${t},${i + 1}`), to, uses: [{ of: "transition", at: [i, j] }, emitted] });
    }
  }
  for (const i of range(states)) arcs.push({ from: place(`${steps},${i + 1}`), to: nodes.length - 1, uses: [] });
  return build("hmm", potentials, nodes, arcs, {
    lanes: range(states).map((j) => ({ y: j, label: `state ${j + 1}` })),
    ticks: range(steps).map((t) => ({ x: t + 1, label: `t = ${t + 1}` })),
    symbol: ({ t, j }) => ["", t + 1, j + 1],
    term: ({ of, at: [a, b] }) =>
      of === "initial" ? ["ι", null, a + 1] : of === "transition" ? ["A", `${a + 1}${b + 1}`, null] : ["e", a + 1, b + 1],
    event: (path) => through(path, arcs, nodes).map(({ j }) => j),
    show: (event) => event.map(one).join(" "),
  });
}

/** Segments: α_t(j), one in j ends after step t, and α*_t(j), one in j begins after step t. */
export function hsmm(potentials) {
  const { initial, duration, emission } = potentials;
  const [steps, states, longest] = [emission.length, initial.length, duration[0].length];
  const { nodes, add, place } = listed();
  const arcs = [];
  add({ key: "start", column: 0, x: -0.7, y: (states - 1) / 2 });
  for (const t of range(steps + 1)) {
    for (const j of t ? range(states) : []) add({ key: `ended ${t},${j + 1}`, column: 2 * t, x: t - 0.17, y: j - 0.2, t, j, ended: true });
    for (const j of t < steps ? range(states) : []) add({ key: `begun ${t},${j + 1}`, column: 2 * t + 1, x: t + 0.17, y: j + 0.2, t, j, begun: true });
  }
  add({ key: "end", column: 2 * steps + 1, x: steps + 0.7, y: (states - 1) / 2 });
  for (const t of range(steps + 1)) {
    for (const j of t ? range(states) : []) {
      for (let d = 1; d <= Math.min(t, longest); d++) {
        const emitted = range(d).map((back) => ({ of: "emission", at: [t - d + back, j] }));
        const uses = [{ of: "duration", at: [j, d - 1] }, ...emitted];
        arcs.push({ from: place(`begun ${t - d},${j + 1}`), to: place(`ended ${t},${j + 1}`), uses, segment: [j, t - d, d] });
      }
    }
    for (const j of t < steps ? range(states) : []) {
      const to = place(`begun ${t},${j + 1}`);
      if (t === 0) arcs.push({ from: 0, to, uses: [{ of: "initial", at: [j] }] });
      else for (const i of range(states)) arcs.push({ from: place(`ended ${t},${i + 1}`), to, uses: [{ of: "transition", at: [i, j] }] });
    }
  }
  for (const i of range(states)) arcs.push({ from: place(`ended ${steps},${i + 1}`), to: nodes.length - 1, uses: [] });
  return build("hsmm", potentials, nodes, arcs, {
    lanes: range(states).flatMap((j) => [{ y: j - 0.2, label: `${j + 1} ends` }, { y: j + 0.2, label: `${j + 1} begins` }]),
    ticks: range(steps + 1).map((t) => ({ x: t, label: `t = ${t}` })),
    symbol: ({ t, j, begun }) => [begun ? "*" : "", t, j + 1],
    term: ({ of, at: [a, b] }) =>
      of === "initial" ? ["ι", null, a + 1] : of === "transition" ? ["A", `${a + 1}${b + 1}`, null]
        : of === "duration" ? ["δ", a + 1, b + 1] : ["e", a + 1, b + 1],
    event: (path) => path.arcs.map((arc) => arcs[arc].segment).filter(Boolean),
    show: (event) => event.map(([state, , length]) => `${state + 1}×${length}`).join("  "),
  });
}

/** Blank, token, blank, ..., blank: a path stays, goes on by one, or skips a blank between two tokens that differ. */
export function ctc(potentials, { targets, letters }) {
  const { emission } = potentials;
  const [steps, places] = [emission.length, 2 * targets.length + 1];
  const label = (p) => (p % 2 ? targets[(p - 1) / 2] : 0);
  const { nodes, add, place } = listed();
  const arcs = [];
  add({ key: "start", column: 0, x: 0, y: 0 });
  for (const t of range(steps)) for (const p of range(places)) add({ key: `${t + 1},${p + 1}`, column: t + 1, x: t + 1, y: p, t, p });
  add({ key: "end", column: steps + 1, x: steps + 1, y: places - 1 });
  for (const t of range(steps)) {
    for (const p of range(places)) {
      const [to, uses] = [place(`${t + 1},${p + 1}`), [{ of: "emission", at: [t, label(p)] }]];
      if (t === 0) {
        if (p < 2) arcs.push({ from: 0, to, uses });
        continue;
      }
      for (const offset of [0, 1, 2]) {
        const skips = p % 2 === 1 && p > 1 && label(p) !== label(p - 2);
        if (p - offset < 0 || (offset === 2 && !skips)) continue;
        arcs.push({ from: place(`${t},${p - offset + 1}`), to, uses });
      }
    }
  }
  for (const p of range(places).slice(-2)) arcs.push({ from: place(`${steps},${p + 1}`), to: nodes.length - 1, uses: [] });
  return build("ctc", potentials, nodes, arcs, {
    lanes: range(places).map((p) => ({ y: p, label: letters[label(p)] })),
    ticks: range(steps).map((t) => ({ x: t + 1, label: `t = ${t + 1}` })),
    symbol: ({ t, p }) => ["", t + 1, p + 1],
    term: ({ at: [t, token] }) => ["y", t + 1, letters[token]],
    event: (path) => through(path, arcs, nodes).map(({ p }) => [label(p), p % 2 ? (p - 1) / 2 : -1]),
    show: (event) => event.map(([token]) => letters[token]).join(" "),
  });
}

/** Cells (i, j), reached from the diagonal, from the left and from above; each counts its cost, negated, once. */
export function dtw(potentials) {
  const { cost } = potentials;
  const [height, width] = [cost.length, cost[0].length];
  const { nodes, add, place } = listed();
  const arcs = [];
  add({ key: "start", column: 0, x: -0.8, y: -0.62 });
  const cells = range(height).flatMap((i) => range(width).map((j) => ({ i, j })));
  cells.sort((a, b) => a.i + a.j - b.i - b.j || a.i - b.i); // one anti-diagonal after the other
  for (const { i, j } of cells) add({ key: `${i + 1},${j + 1}`, column: i + j + 1, x: j, y: i, i, j });
  add({ key: "end", column: height + width, x: width - 0.2, y: height - 0.38 });
  for (const { i, j } of cells) {
    const [to, uses] = [place(`${i + 1},${j + 1}`), [{ of: "cost", at: [i, j], factor: -1 }]];
    if (i === 0 && j === 0) arcs.push({ from: 0, to, uses });
    for (const [down, right] of [[1, 1], [0, 1], [1, 0]]) {
      if (i >= down && j >= right) arcs.push({ from: place(`${i - down + 1},${j - right + 1}`), to, uses });
    }
  }
  arcs.push({ from: place(`${height},${width}`), to: nodes.length - 1, uses: [] });
  return build("dtw", potentials, nodes, arcs, {
    lanes: range(height).map((i) => ({ y: i, label: `i = ${i + 1}` })),
    ticks: range(width).map((j) => ({ x: j, label: `j = ${j + 1}` })),
    symbol: ({ i, j }) => ["", null, `${i + 1},${j + 1}`],
    term: ({ at: [i, j] }) => ["c", null, `${i + 1},${j + 1}`],
    event: (path) => through(path, arcs, nodes).map(({ i, j }) => [i, j]),
    show: (event) => event.map(([i, j]) => `(${i + 1},${j + 1})`).join(" "),
  });
}

/** The nodes of a path, without start and end. */
export const through = (path, arcs, nodes) => path.arcs.slice(0, -1).map((arc) => nodes[arcs[arc].to]);

export const graphs = { hmm, hsmm, ctc, dtw };

/** |x_i - y_j| of two series. */
export const distances = (query, reference) => query.map((x) => reference.map((y) => Math.abs(x - y)));
