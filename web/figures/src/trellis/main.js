// The trellis explorer: controls, and what happens when one is used.
import { choices, copyButton, fullScreenButton, make, stepper } from "../shared/controls.js";
import { seldom } from "../shared/later.js";
import { onLink, readLink, writeLink } from "../shared/link.js";
import { fitFrame, followTheme } from "../shared/theme.js";
import { solve } from "./answers.js";
import { drawTrellis } from "./draw.js";
import { columnNodes, focused, modelled, nodeAt } from "./model.js";
import { answers } from "./panel.js";
import { generator } from "./recursions.js";
import { formula, scene, spoken } from "./scene.js";
import { ALLOWED, COUNTS, KINDS, SEMIRINGS, STEP, TEMPERATURES, VIEWS, byName, fromLink, ofKind, parsed, toLink } from "./state.js";
import { weightTables } from "./tables.js";
import { drawWeights } from "./weights.js";

const $ = (selector) => document.querySelector(selector);
let state = fromLink(readLink());
let model;

// What a control changes.

function edit(name, row, column, value) {
  const w = structuredClone(state.w ?? parsed(byName(state.preset).potentials));
  if (state.kind === "dtw") w[name][column] = value;
  else if (name === "initial") w.initial[row] = value;
  else if (name === "emission") w.emission[column][row] = value;
  else w[name][row][column] = value;
  change({ w });
}

function shuffle() {
  const uniform = generator(Date.now());
  const low = state.kind === "dtw" ? 0 : -2;
  const one = (value) => (Array.isArray(value) ? value.map(one) : value === -Infinity ? value : Math.round((low + 3 * uniform()) * 20) / 20);
  const like = parsed(byName(state.preset).potentials);
  change({ w: Object.fromEntries(Object.entries(like).map(([field, values]) => [field, one(values)])) });
}

// Controls.

const keepLink = seldom(() => {
  writeLink(toLink(state));
  controls.alone.href = location.href;
});

const full = fullScreenButton((large) => large !== state.large && change({ large }));
const controls = {
  kind: choices("structure", KINDS, (kind) => change({ kind, preset: ofKind(kind)[0].name, w: null, path: 0, step: STEP[kind], node: null })),
  semiring: choices("semiring", SEMIRINGS, (semiring) => change({ semiring, path: 0, view: ALLOWED[semiring].includes(state.view) ? state.view : ["topk", "sample"].includes(semiring) ? "paths" : "marginal" })),
  view: choices("what the nodes show", VIEWS, (view) => change({ view })),
  preset: make("select", { "aria-label": "preset", onchange: (event) => change({ preset: event.target.value, w: null, path: 0 }) }),
  alone: make("a", { class: "alone", target: "_blank", rel: "noopener" }, "Open by itself"),
  reset: make("button", { type: "button", class: "reset", title: "Back to the weights of the preset", onclick: () => change({ w: null }) }, "Reset weights"),
  shuffle: make("button", { type: "button", class: "shuffle", title: "Random weights", onclick: shuffle }, "Random weights"),
  gamma: make("input", { type: "range", min: 0, max: TEMPERATURES.length - 1, step: 1, "aria-label": "temperature", oninput: (event) => change({ gamma: TEMPERATURES[event.target.value] }) }),
  k: make("input", { type: "number", min: 1, max: COUNTS.k, "aria-label": "how many paths", oninput: (event) => counted("k", event.target) }),
  n: make("input", { type: "number", min: 1, max: COUNTS.n, "aria-label": "how many draws", oninput: (event) => counted("n", event.target) }),
  again: make("button", { type: "button", class: "again", onclick: () => change({ seed: state.seed + 1, path: 0 }) }, "Draw again"),
  steps: stepper({ changed: (step) => change({ step }), describe: (step) => describe(step), direction: () => (["beta", "paths"].includes(state.view) ? -1 : 1) }),
};
const gammaText = make("output", { class: "number" });
const options = {
  smooth: make("label", { class: "field" }, make("span", { class: "name" }, "temperature γ"), controls.gamma, gammaText),
  topk: make("label", { class: "field" }, make("span", { class: "name" }, "k"), controls.k),
  sample: make("span", { class: "field" }, make("label", { class: "field" }, make("span", { class: "name" }, "draws"), controls.n), controls.again),
};

function counted(which, input) {
  const value = Math.round(Number(input.value));
  if (value >= 1 && value <= COUNTS[which]) change({ [which]: value, path: 0 });
}

function describe(step) {
  const { graph } = model;
  if (step === 0) return "start";
  if (step >= graph.columns) return "end";
  return `column ${step} of ${graph.columns}`;
}

function place() {
  const copy = copyButton();
  copy.addEventListener("click", keepLink.now, { capture: true });
  $(".tools").append(controls.alone, copy, full);
  $(".edited").append(controls.reset, controls.shuffle);
  $(".chosen").append(make("span", { class: "field" }, make("span", { class: "name" }, "structure"), controls.kind), make("label", { class: "field preset" }, make("span", { class: "name" }, "preset"), controls.preset));
  $(".chosen").append(make("span", { class: "field" }, make("span", { class: "name" }, "semiring"), controls.semiring), ...Object.values(options));
  $(".views").append(make("span", { class: "field" }, make("span", { class: "name" }, "show"), controls.view));
  $(".steps-here").append(controls.steps);
  $(".trellis").addEventListener("keydown", (event) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const here = columnNodes(model.graph, state.step);
    change({ node: Math.max(0, Math.min(here.length - 1, nodeAt(model, here) + by)) });
  });
}

/** Shows the state. */
function show() {
  if (document.documentElement.classList.contains("large") !== state.large) full.set(state.large); // before anything is drawn
  model = modelled(state);
  state = model.state;
  const { kind, semiring, view, preset } = state;
  controls.kind.set(kind);
  controls.semiring.set(semiring);
  controls.view.set(view);
  controls.view.allow(ALLOWED[semiring]);
  if (controls.preset.dataset.kind !== kind) {
    controls.preset.dataset.kind = kind;
    controls.preset.replaceChildren(...ofKind(kind).map(({ name: value, title }) => make("option", { value }, title)));
  }
  controls.preset.value = preset;
  controls.reset.disabled = !state.w;
  for (const [name_, option] of Object.entries(options)) option.hidden = name_ !== semiring;
  controls.gamma.value = TEMPERATURES.indexOf(state.gamma);
  gammaText.textContent = String(state.gamma);
  for (const which of ["k", "n"]) if (document.activeElement !== controls[which]) controls[which].value = state[which];
  controls.steps.set(state.step, model.graph.columns);
  drawTrellis($(".trellis"), scene(model), {
    node: (at) => change({ step: model.graph.nodes[at].column, node: columnNodes(model.graph, model.graph.nodes[at].column).indexOf(at) }),
    series: (series, at, value) => edit(series, 0, at, Math.round(value * 20) / 20),
  });
  follow(focused(model));
  const { symbols, numbers } = formula(model);
  $(".formula").replaceChildren(make("p", { class: "symbols" }), make("p", { class: "numbers number" }));
  $(".symbols").innerHTML = symbols;
  $(".numbers").innerHTML = numbers;
  $(".spoken").textContent = spoken(model, focused(model));
  $(".answers").replaceChildren(...answers(model, change));
  showChosen();
  drawWeights($(".weights"), weightTables(model), edit);
  $(".source").textContent = model.exact
    ? "These tables were computed by semihmm, in Python; this page traces the paths. Where a weight is changed, it computes the tables too."
    : "Weights were changed: this page computes the tables, by recursions that are tested against semihmm.";
  keepLink();
}

/** The chosen path is in view in its list. */
function showChosen() {
  const [list, row] = [$(".answers .list"), $(".answers .here")];
  if (list && row) list.scrollTop += row.getBoundingClientRect().top - list.getBoundingClientRect().top - list.clientHeight / 2;
}

/** Where the trellis is wider than its place, the node that is looked at is in view. */
function follow(at) {
  const scroller = $(".trellis").parentNode;
  if (scroller.scrollWidth <= scroller.clientWidth) return;
  const box = $(".trellis").querySelectorAll("g.node")[at].getBoundingClientRect();
  const here = scroller.getBoundingClientRect();
  if (box.left < here.left + 90 || box.right > here.right - 20) scroller.scrollLeft += box.left - here.left - 0.6 * here.width;
}

/** Everything that happens comes here. */
function change(changes) {
  const focus = document.activeElement?.closest?.(".answers") ? document.activeElement.textContent : null;
  state = { ...state, ...changes };
  show();
  if (focus) [...document.querySelectorAll(".answers button")].find((button) => button.textContent === focus)?.focus();
}

followTheme();
place();
show();
fitFrame();
$(".editing").open = window.parent === window || Boolean(state.w); // in a page there is less place
onLink((link) => {
  state = fromLink(link);
  show();
});
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width && !state.large) return; // a phone's address bar comes and goes
  width = innerWidth;
  show();
});
window.figure = { solve, link: () => (keepLink.now(), location.hash.slice(1)), get state() { return state; }, get model() { return model; } };
