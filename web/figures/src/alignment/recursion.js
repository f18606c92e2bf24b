// Forward and backward over an HMM with sparse arcs, at any temperature: the same sums as semihmm's SmoothMax(gamma).
//
// A chain: {frames, states, starts, ends, arcs, emission}, emission[t * S + s] that of state s at t; arcs is {source, target, weight}, log-weights in nats.
// At temperature g a path of score s has probability exp((s - total) / g), where total = g log(sum of exp(s / g)).

// The arcs into (or out of) each state, one after another: those of state s are at [first[s], first[s + 1]).
function grouped(states, keys, other, weight) {
  const first = new Int32Array(states + 1);
  for (const key of keys) first[key + 1]++;
  for (let s = 0; s < states; s++) first[s + 1] += first[s];
  const place = first.slice();
  const to = new Int32Array(keys.length);
  const sorted = new Float64Array(keys.length);
  for (let a = 0; a < keys.length; a++) {
    const at = place[keys[a]]++;
    [to[at], sorted[at]] = [other[a], weight[a]];
  }
  return { first, to, weight: sorted };
}

const into = (chain) => (chain.into ??= grouped(chain.states, chain.arcs.target, chain.arcs.source, chain.arcs.weight));
const outOf = (chain) => (chain.outOf ??= grouped(chain.states, chain.arcs.source, chain.arcs.target, chain.arcs.weight));

// alpha[t * S + s]: the log of the sum over all ways to be in s at t, everything divided by the temperature.
// mean: the mean score of those ways, each weighed by its probability. `allowed`: which states may be used.
export function forward(chain, temperature, allowed = null) {
  const { frames, states, starts, ends, emission } = chain;
  const { first, to, weight } = into(chain);
  const alpha = new Float64Array(frames * states).fill(-Infinity);
  let mean = new Float64Array(states);
  for (let s = 0; s < states; s++) {
    if (allowed && !allowed[s]) continue;
    mean[s] = starts[s] + emission[s];
    alpha[s] = mean[s] / temperature;
  }
  for (let t = 1; t < frames; t++) {
    const before = (t - 1) * states;
    const next = new Float64Array(states);
    for (let s = 0; s < states; s++) {
      if (allowed && !allowed[s]) continue;
      let peak = -Infinity;
      for (let a = first[s]; a < first[s + 1]; a++) peak = Math.max(peak, alpha[before + to[a]] + weight[a] / temperature);
      if (peak === -Infinity) continue;
      let [mass, score] = [0, 0];
      for (let a = first[s]; a < first[s + 1]; a++) {
        const share = Math.exp(alpha[before + to[a]] + weight[a] / temperature - peak);
        if (share === 0) continue;
        mass += share;
        score += share * (mean[to[a]] + weight[a]);
      }
      const here = emission[t * states + s];
      alpha[t * states + s] = peak + Math.log(mass) + here / temperature;
      next[s] = score / mass + here;
    }
    mean = next;
  }
  const last = (frames - 1) * states;
  let peak = -Infinity;
  for (let s = 0; s < states; s++) peak = Math.max(peak, alpha[last + s] + ends[s] / temperature);
  let [mass, score] = [0, 0];
  for (let s = 0; s < states; s++) {
    const share = Math.exp(alpha[last + s] + ends[s] / temperature - peak);
    if (!(share > 0)) continue;
    mass += share;
    score += share * (mean[s] + ends[s]);
  }
  const log = peak + Math.log(mass); // of the sum, divided by the temperature
  return { alpha, log, total: temperature * log, score: score / mass };
}

// p[t * S + s]: the probability of being in s at t; the total; and the entropy of the paths, in nats.
export function posteriors(chain, temperature) {
  const { frames, states, ends, emission } = chain;
  const { first, to, weight } = outOf(chain);
  const { alpha, log, total, score } = forward(chain, temperature);
  const p = new Float64Array(frames * states);
  let beta = Float64Array.from(ends, (weight) => weight / temperature);
  for (let t = frames - 1; ; t--) {
    for (let s = 0; s < states; s++) p[t * states + s] = Math.exp(alpha[t * states + s] + beta[s] - log);
    if (t === 0) break;
    const ahead = Float64Array.from(beta, (value, s) => value + emission[t * states + s] / temperature);
    beta = new Float64Array(states).fill(-Infinity);
    for (let s = 0; s < states; s++) {
      let peak = -Infinity;
      for (let a = first[s]; a < first[s + 1]; a++) peak = Math.max(peak, ahead[to[a]] + weight[a] / temperature);
      if (peak === -Infinity) continue;
      let mass = 0;
      for (let a = first[s]; a < first[s + 1]; a++) mass += Math.exp(ahead[to[a]] + weight[a] / temperature - peak);
      beta[s] = peak + Math.log(mass);
    }
  }
  return { p, log, total, score, entropy: Math.max(0, log - score / temperature) };
}
