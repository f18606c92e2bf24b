// What can be edited of a model, as tables of bars for weights.js.
import { byName } from "./state.js";

/** What can be edited, as tables of bars. */
export function weightTables({ state, chosen, uses }) {
  const numbers = (count, from = 1) => Array.from({ length: count }, (_, at) => String(at + from));
  const column = (values) => values.map((value) => [value]);
  const turned = (values) => values[0].map((_, row) => values.map((each) => each[row]));
  const range = [-4, 2];
  const all = { range, infinite: true };
  const found = (field, shape) => (uses?.[field] ? shape(uses[field]) : undefined);
  if (state.kind === "dtw") {
    const series = { range: [-1, 4], infinite: false };
    return [
      { ...series, name: "query", title: "query <i>x</i>", hint: "down the grid", rows: [""], columns: numbers(chosen.query.length), values: [chosen.query], label: (_, i) => `query ${i + 1}` },
      { ...series, name: "reference", title: "reference <i>y</i>", hint: "along the grid; a cell costs c = | x − y |, and weighs −c", rows: [""], columns: numbers(chosen.reference.length), values: [chosen.reference], label: (_, j) => `reference ${j + 1}` },
    ];
  }
  if (state.kind === "ctc") {
    const { letters } = byName(state.preset);
    const shown = letters.map((letter, at) => (at ? letter : `${letter} blank`));
    return [{ ...all, range: [-4, 0.5], name: "emission", title: "emission <i>y</i>", hint: "[token, frame]", rows: shown, columns: numbers(chosen.emission.length), values: turned(chosen.emission), uses: found("emission", turned), label: (v, t) => `token ${letters[v]}, frame ${t + 1}` }];
  }
  const states = numbers(chosen.initial.length);
  const same = (values) => values;
  const tables = [
    { ...all, name: "initial", title: "initial <i>ι</i>", hint: "[state]", rows: states, columns: [""], values: column(chosen.initial), uses: found("initial", column), label: (j) => `initial weight of state ${j + 1}` },
    { ...all, name: "transition", title: "transition <i>A</i>", hint: "[from, to]", rows: states, columns: states, values: chosen.transition, uses: found("transition", same), label: (i, j) => `transition from ${i + 1} to ${j + 1}` },
  ];
  if (state.kind === "hsmm") tables.push({ ...all, name: "duration", title: "duration <i>δ</i>", hint: "[state, steps]", rows: states, columns: numbers(chosen.duration[0].length), values: chosen.duration, uses: found("duration", same), label: (j, d) => `state ${j + 1} lasts ${d + 1}` });
  tables.push({ ...all, name: "emission", title: "emission <i>e</i>", hint: "[state, step]", rows: states, columns: numbers(chosen.emission.length), values: turned(chosen.emission), uses: found("emission", turned), label: (j, t) => `emission of step ${t + 1}, state ${j + 1}` });
  return tables;
}
