// A sentence as it is used: base64 becomes arrays, and states, nodes and words know one another.
import { forward, posteriors } from "./recursion.js";

function bytes(text) {
  const raw = atob(text);
  return Uint8Array.from(raw, (letter) => letter.charCodeAt(0));
}

function array(Kind, text) {
  return new Kind(bytes(text).buffer); // both are little-endian
}

const dense = (pairs, length) => {
  const full = new Float64Array(length).fill(-Infinity);
  for (const [at, weight] of pairs) full[at] = weight;
  return full;
};

export function opened(raw) {
  const { column, frames, step, nodes, node, words } = raw;
  const [peaks, below] = [array(Float32Array, raw.peaks), array(Int16Array, raw.below)];
  const columns = below.length / frames;
  const states = node.length;
  const chain = {
    frames,
    states,
    starts: dense(raw.starts, states),
    ends: dense(raw.ends, states),
    arcs: { source: raw.source, target: raw.target, weight: array(Float64Array, raw.weight) },
    // Without the largest of each frame, which all paths share: their sum is added to the total.
    emission: Float64Array.from(
      { length: frames * states },
      (_, at) => below[Math.floor(at / states) * columns + column[at % states]] * step,
    ),
  };
  const shared = peaks.reduce((sum, peak) => sum + peak, 0);
  const bent = Float32Array.from(bytes(raw.sound), (value) => {
    const x = value / 127.5 - 1;
    return (Math.sign(x) * (256 ** Math.abs(x) - 1)) / 255;
  });
  // A frame is `shift` long but for the first and last, which reach to the ends of the recording.
  const edge = (frame) => (frame <= 0 ? 0 : frame >= frames ? raw.duration : raw.first + (frame - 1) * raw.shift);
  const frameAt = (time) => Math.max(0, Math.min(frames - 1, Math.floor((time - raw.first) / raw.shift) + 1));
  const places = nodes.map(([word, phone], at) => ({ at, word, phone: word < 0 ? "pause" : phone }));

  function tiers(runs) {
    const phones = runs.map(([at, begin, end]) => ({ ...places[at], begin, end }));
    const spoken = [];
    for (const phone of phones) {
      const last = spoken.at(-1);
      if (phone.word < 0) continue;
      if (last?.word === phone.word) last.end = phone.end;
      else spoken.push({ word: phone.word, label: words[phone.word], begin: phone.begin, end: phone.end });
    }
    return { phones, words: spoken };
  }

  const best = tiers(raw.best);
  const readings = raw.readings.map(({ nodes: chosen, runs }) => {
    const usable = new Set(chosen);
    return { ...tiers(runs), allowed: node.map((at) => usable.has(at)) };
  });
  const takes = ({ phones }) =>
    phones
      .filter(({ word }) => word >= 0)
      .map(({ at }) => at)
      .join();
  const bestReading = readings.findIndex((reading) => takes(reading) === takes(best));
  // Rows of the heat map: each place of the transcript, or each phone whichever place it is at.
  const byPlace = { rows: places.map(({ phone, word }) => ({ phone, word })), row: places.map(({ at }) => at) };
  const phones = [...new Set(places.map(({ phone }) => phone))];
  const byPhone = { rows: phones.map((phone) => ({ phone, word: null })), row: places.map(({ phone }) => phones.indexOf(phone)) };

  return {
    ...raw,
    chain,
    shared,
    wave: bent,
    edge,
    frameAt,
    places,
    best,
    readings,
    bestReading,
    maps: { place: byPlace, phone: byPhone },
  };
}

// All that depends on the temperature: the posterior of each place in each frame, confidences, readings.
export function answers(sentence, temperature) {
  const { chain, node, places, frames, shared, best } = sentence;
  const { p, log, total, entropy } = posteriors(chain, temperature);
  const many = places.length;
  const posterior = new Float32Array(frames * many);
  for (let t = 0; t < frames; t++) {
    for (let s = 0; s < chain.states; s++) posterior[t * many + node[s]] += p[t * chain.states + s];
  }
  const mean = ({ begin, end }, counts) => {
    let sum = 0;
    for (let t = begin; t < end; t++) for (const { at } of counts) sum += posterior[t * many + at];
    return sum / (end - begin);
  };
  return {
    temperature,
    posterior,
    total: total + shared,
    entropy,
    words: best.words.map((word) =>
      mean(
        word,
        places.filter((place) => place.word === word.word),
      ),
    ),
    phones: best.phones.map((phone) => mean(phone, [phone])),
    log,
  };
}

// The probability of each reading: of all paths that pronounce the words so.
export const readingsOf = ({ chain, readings }, { temperature, log }) =>
  readings.map(({ allowed }) => Math.exp(forward(chain, temperature, allowed).log - log));
