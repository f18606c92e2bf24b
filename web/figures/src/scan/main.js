// The scan animator: which products a strategy makes, when, and at what cost.
import { choices, copyButton, fullScreenButton, make, stepper } from "../shared/controls.js";
import { seldom } from "../shared/later.js";
import { onLink, readLink, writeLink } from "../shared/link.js";
import { fitFrame, followTheme } from "../shared/theme.js";
import { drawing } from "./drawing.js";
import { blocksOf, counts, KEEPS, rootOf, schedule, STRATEGIES } from "./schedule.js";
import { formula, number, plain, sentence } from "./words.js";

const NAMES = { sequential: "sequential", associative: "tree", chunked: "chunked" };
const PROCESSORS = [1, 2, 4, 8, 16, 32, 64, Infinity];
const start = { strategy: "associative", length: 32, states: 2, processors: Infinity, chunk: 0, keep: "all", step: 0 };
const state = { ...start };
const $ = (selector) => document.querySelector(selector);
let run = null;
let picture = null;

// What a link says, as far as it makes sense.
function take(link) {
  const whole = (name, least, most) => {
    const value = Number.parseInt(link[name], 10);
    return Number.isInteger(value) ? Math.min(most, Math.max(least, value)) : start[name];
  };
  state.strategy = STRATEGIES.includes(link.strategy) ? link.strategy : start.strategy;
  state.keep = KEEPS.includes(link.keep) ? link.keep : start.keep;
  state.length = whole("length", 2, 64);
  state.states = whole("states", 1, 32);
  state.chunk = whole("chunk", 0, state.length);
  state.processors = PROCESSORS.includes(Number(link.processors)) ? Number(link.processors) : start.processors;
  state.step = whole("step", 0, 10_000);
}

const link = seldom(() =>
  writeLink({ ...state, processors: Number.isFinite(state.processors) ? state.processors : null, chunk: state.chunk || null }),
);

function change(changes) {
  Object.assign(state, changes);
  if (!("step" in changes)) {
    // The same share of the work, so that two orders can be compared half-way.
    const share = run ? state.step / run.ticks.length : 0;
    plan();
    state.step = Math.round(share * run.ticks.length);
  }
  show();
}

function plan() {
  state.chunk = Math.min(state.chunk, state.length);
  run = schedule(state);
  state.step = Math.min(state.step, run.ticks.length);
  draw();
  settle();
}

// Controls.

function slider(name, title, label, least, most, shown = String) {
  const input = make("input", {
    type: "range",
    min: least,
    max: most,
    step: 1,
    oninput: () => change({ [name]: Number(input.value) }),
  });
  const output = make("output", {});
  const field = make("label", { class: "field", title }, make("span", { class: "name" }, label), input, output);
  return Object.assign(field, {
    set(value, top = most) {
      input.max = top;
      input.value = value;
      output.textContent = shown(value);
      input.setAttribute("aria-valuetext", shown(value));
    },
    off(is) {
      input.disabled = is;
      field.classList.toggle("off", is);
    },
  });
}

function select(name, title, label, options) {
  const list = make(
    "select",
    { onchange: () => change({ [name]: options[list.selectedIndex][0] }) },
    ...options.map(([, text]) => make("option", {}, text)),
  );
  const field = make("label", { class: "field", title }, make("span", { class: "name" }, label), list);
  return Object.assign(field, { set: (value) => (list.selectedIndex = options.findIndex(([one]) => one === value)) });
}

const full = fullScreenButton(() => plan() ?? show());
const controls = {
  strategy: choices(
    "strategy",
    STRATEGIES.map((name) => [name, NAMES[name], `strategy="${name}"`]),
    (strategy) => change({ strategy }),
  ),
  length: slider("length", "How many maps", "T", 2, 64),
  states: slider("states", "How many states: a vector has S numbers, a matrix S²", "S", 1, 32),
  processors: select(
    "processors",
    "How many products may be made at the same time",
    "processors",
    PROCESSORS.map((many) => [many, Number.isFinite(many) ? many : "enough for all"]),
  ),
  chunk: slider("chunk", "How many maps a chunk has; semihmm takes √T, rounded down", "chunk", 0, 64, (chunk) =>
    String(chunk || `√T: ${rootOf(longest())}`),
  ),
  keep: select("keep", "What stays in memory", "keep", [
    ["total", "the total alone"],
    ["all", "all state vectors"],
    ["checkpoints", "√T checkpoints"],
  ]),
};
const longest = () => {
  const [[begin, end]] = blocksOf(state.length, state.keep);
  return end - begin;
};

function settle() {
  for (const name of Object.keys(controls)) controls[name].set(state[name], ...(name === "chunk" ? [state.length] : []));
  controls.chunk.off(state.strategy !== "chunked");
}

const steps = stepper({
  changed: (step) => change({ step }),
  describe: (step) => (run ? plain(sentence(run, step - 1)) : ""),
  pause: 700,
});

// What is drawn and counted.

// In a frame, which may be made as high as the figure, its height says nothing.
const framed = window.parent !== window;

function draw() {
  const parent = $(".drawing");
  parent.replaceChildren();
  const letter = 0.69 * Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
  const width = Math.max(300, parent.clientWidth || 800);
  picture = drawing(parent, { width, room: Math.max(360, (framed ? 800 : innerHeight) - 410), letter });
  picture.build(run);
  const sign = (style, words) => make("span", {}, make("i", { style }), words);
  parent.append(
    make(
      "p",
      { class: "legend" },
      sign("background: var(--vector)", "vector, held"),
      sign("background: var(--matrix)", "matrix, held"),
      sign("background: var(--strong); opacity: 0.35", "dropped"),
      sign("border: 1px dashed var(--strong)", "not made yet"),
      make(
        "span",
        {},
        "Time runs downwards. The numbers in the lines “matrix” and “vector” are the rounds in which these prefixes are first known.",
      ),
    ),
  );
}

const cells = (tag, ...texts) => texts.map((text) => (text instanceof Node ? text : make(tag, {}, text)));

function html(tag, text, attributes = {}) {
  const made = make(tag, attributes);
  made.innerHTML = text;
  return made;
}

function figures() {
  const all = run.ticks.at(-1);
  const none = { vectors: 0, matrices: 0, work: 0, depth: 0, time: 0, held: state.states };
  const now = state.step ? run.ticks[state.step - 1] : none;
  const workers = Number.isFinite(state.processors)
    ? `${state.processors} processor${state.processors === 1 ? "" : "s"}`
    : "enough processors";
  const rows = [
    ["vectors", `vector–matrix products, each ${formula("vector", state.states)} operations`],
    ["matrices", `matrix–matrix products, each ${formula("matrix", state.states)}`],
    ["work", "<b>work</b>: operations, ⊕ and ⊗"],
    ["depth", "<b>depth</b>: rounds, one after another"],
    ["time", `operations one after another with ${workers}`],
  ];
  const table = make(
    "table",
    { class: "counters" },
    make("thead", {}, make("tr", {}, ...cells("th", "", "so far", "in all"))),
    make(
      "tbody",
      {},
      ...rows.map(([name, words]) =>
        make(
          "tr",
          { "data-count": name },
          html("th", words, { scope: "row" }),
          make("td", { class: "so-far" }, number(now[name])),
          make("td", { class: "all" }, number(all[name])),
        ),
      ),
      make(
        "tr",
        { "data-count": "held" },
        html("th", "<b>memory</b>: numbers held now; at most", { scope: "row" }),
        make("td", { class: "so-far" }, number(now.held)),
        make("td", { class: "all" }, number(run.peak)),
      ),
    ),
  );
  const each = STRATEGIES.map((strategy) => ({ strategy, ...counts({ ...state, strategy }) }));
  const [{ time: base }] = each;
  const compare = make(
    "table",
    { class: "compare" },
    make("thead", {}, make("tr", {}, ...cells("th", "strategy", "work", "depth", "memory", `faster, with ${workers}`))),
    make(
      "tbody",
      {},
      ...each.map(({ strategy, work, depth, peak, time }) =>
        make(
          "tr",
          { "data-strategy": strategy, class: strategy === state.strategy && "chosen" },
          make(
            "th",
            { scope: "row" },
            make(
              "button",
              {
                type: "button",
                "aria-pressed": strategy === state.strategy ? "true" : "false",
                onclick: () => change({ strategy }),
              },
              NAMES[strategy],
            ),
          ),
          ...cells("td", number(work), number(depth), number(peak), `${(base / time).toFixed(2)} ×`),
        ),
      ),
    ),
  );
  const notes = html(
    "p",
    "One processor makes one product at a time. The maps themselves are not counted as memory. A value is dropped after its last use, unless it is kept. " +
      (state.keep === "checkpoints"
        ? `<b>Checkpoints</b>: the vector in front of each of ${run.bounds.length} blocks is kept; the backward pass, not drawn here, has each block's vectors made again.`
        : state.keep === "all"
          ? "The gradient and posteriors need every state vector: so all are kept."
          : "For the total alone no state vector is kept but the last."),
    { class: "notes" },
  );
  const focused = document.activeElement?.closest?.(".compare tr")?.dataset.strategy;
  $(".figures").replaceChildren(table, make("div", {}, compare, notes));
  if (focused) $(`.compare tr[data-strategy=${focused}] button`).focus();
}

function show() {
  picture.show(state.step - 1);
  steps.set(state.step, run.ticks.length);
  $(".now").innerHTML = sentence(run, state.step - 1);
  figures();
  link();
}

const copy = copyButton();
copy.addEventListener("click", link.now, true);
$("header .end").append(copy, full);
$(".options").append(...Object.values(controls));
$(".run").append(steps);
followTheme();
fitFrame();
take(readLink());
plan();
show();
onLink((values) => {
  take(values);
  plan();
  show();
});
let seen = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === seen) return;
  seen = innerWidth;
  draw();
  show();
});
// For a console, and for tests.
globalThis.figure = { schedule, counts };
