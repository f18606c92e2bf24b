// The alignment viewer: posteriors of a real sentence, at any temperature.
import { choices, copyButton, fullScreenButton, make, onKey } from "../shared/controls.js";
import { seldom } from "../shared/later.js";
import { onLink, readLink, writeLink } from "../shared/link.js";
import { fitFrame, followTheme } from "../shared/theme.js";
import { answers, opened, readingsOf } from "./sentence.js";
import raw from "./sentences.json";
import { player } from "./player.js";
import { percent, stage } from "./view.js";

const LEAST = -13;
const MOST = 17; // temperatures are 10 ** (k / 10)
const sentences = Object.fromEntries(raw.map((one) => [one.name, null]));
const state = {};
const $ = (selector) => document.querySelector(selector);
let [sentence, answer, probabilities] = [null, null, null];
let later = null;

const temperatureOf = (k) => Number((10 ** (k / 10)).toPrecision(2));
const open = (name) => (sentences[name] ??= opened(raw.find((one) => one.name === name)));

function take(link) {
  const number = (text, otherwise) => (Number.isFinite(Number.parseFloat(text)) ? Number.parseFloat(text) : otherwise);
  state.sentence = link.sentence in sentences ? link.sentence : raw[0].name;
  state.k = Math.max(LEAST, Math.min(MOST, Math.round(10 * Math.log10(Math.max(1e-9, number(link.temperature, 1))))));
  state.rows = link.rows === "phone" ? "phone" : "place";
  state.sound = link.sound === "spectrogram" ? "spectrogram" : "waveform";
  sentence = open(state.sentence);
  const begin = Math.max(0, Math.min(sentence.duration - 0.15, number(link.from, 0)));
  state.window = [begin, Math.max(begin + 0.15, Math.min(sentence.duration, number(link.to, sentence.duration)))];
  const reading = Math.round(number(link.reading, 0));
  state.reading = reading >= 1 && reading <= sentence.readings.length ? reading - 1 : null;
  const frame = Math.round(number(link.frame, -1));
  state.frame = frame >= 0 && frame < sentence.frames ? frame : null;
  state.row = Math.round(number(link.row, -1));
}

const link = seldom(() => {
  const [from, to] = state.window;
  const whole = from < 5e-4 && to > sentence.duration - 5e-4;
  writeLink({
    sentence: state.sentence,
    temperature: temperatureOf(state.k),
    rows: state.rows,
    sound: state.sound,
    reading: state.reading === null ? null : state.reading + 1,
    from: whole ? null : from.toFixed(3),
    to: whole ? null : to.toFixed(3),
    frame: state.frame,
    row: state.frame === null || state.row < 0 ? null : state.row,
  });
});

const options = () => ({ rows: state.rows, sound: state.sound, reading: state.reading, readings: probabilities });

function compute() {
  answer = answers(sentence, temperatureOf(state.k));
  probabilities = null;
}

// The readings take as long as all else together, so they wait until the slider rests.
function withReadings() {
  clearTimeout(later);
  later = setTimeout(() => {
    probabilities = readingsOf(sentence, answer);
    view.refresh(options());
    tables();
  }, 60);
}

function everything() {
  sentence = open(state.sentence);
  compute();
  view.build(sentence, answer, options(), state.window);
  const row = state.row >= 0 && state.row < view.rows.length ? state.row : null;
  if (state.frame !== null) view.point(state.frame, row);
  settle();
  detail();
  tables();
  link();
  withReadings();
}

let waiting = false;
function warmer(k) {
  state.k = Math.max(LEAST, Math.min(MOST, k));
  settle();
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    compute();
    view.update(answer, options());
    detail();
    tables();
    link();
    withReadings();
  });
}

// Controls.

const slider = make("input", {
  type: "range",
  min: LEAST,
  max: MOST,
  step: 1,
  "aria-label": "temperature",
  oninput: () => warmer(Number(slider.value)),
});
const shown = make("output", { class: "gamma" });
const which = make(
  "select",
  { "aria-label": "sentence", onchange: () => change({ sentence: raw[which.selectedIndex].name }) },
  ...raw.map(({ text }) => make("option", {}, text.length > 44 ? `${text.slice(0, 42)}…` : text)),
);
const rows = choices(
  "rows",
  [
    ["place", "places in the transcript"],
    ["phone", "phones"],
  ],
  (chosen) => change({ rows: chosen }),
);
const sounds = choices(
  "sound",
  [
    ["waveform", "waveform"],
    ["spectrogram", "spectrogram"],
  ],
  (chosen) => change({ sound: chosen }),
);
const full = fullScreenButton(() => rebuilt());
const step = (text, title, action) => make("button", { type: "button", title, "aria-label": title, onclick: action }, text);
const playButton = step("Play", "Play what is in sight (space)", () => toggle());

function change(changes) {
  Object.assign(state, changes);
  if ("sentence" in changes) {
    Object.assign(state, { window: [0, open(state.sentence).duration], reading: null, frame: null, row: -1 });
    sound.stop();
  }
  if ("rows" in changes) state.row = -1;
  everything();
}

function settle() {
  slider.value = state.k;
  shown.textContent = `γ = ${temperatureOf(state.k)}`;
  slider.setAttribute("aria-valuetext", `${temperatureOf(state.k)}`);
  which.selectedIndex = raw.findIndex(({ name }) => name === state.sentence);
  rows.set(state.rows);
  sounds.set(state.sound);
}

function zoomBy(factor) {
  const [begin, end] = state.window;
  const at = state.frame === null ? (begin + end) / 2 : Math.max(begin, Math.min(end, sentence.edge(state.frame)));
  const share = (at - begin) / (end - begin);
  const long = Math.max(0.15, Math.min(sentence.duration, (end - begin) / factor));
  const from = Math.max(0, Math.min(sentence.duration - long, at - share * long));
  sight([from, from + long]);
}

function sight(window) {
  state.window = window;
  view.show(window);
  link();
}

// The cursor: which frame and row are read out.
function moveTo(frame, row) {
  state.frame = Math.max(0, Math.min(sentence.frames - 1, frame));
  state.row = Math.max(0, Math.min(view.rows.length - 1, row));
  const time = sentence.edge(state.frame);
  const [begin, end] = state.window;
  if (time < begin || time > end) {
    const from = Math.max(0, Math.min(sentence.duration - (end - begin), time - (end - begin) / 2));
    sight([from, from + end - begin]);
  }
  view.point(state.frame, state.row);
  detail();
  link();
}

const moves = (frames, rowsOn) => () => {
  const likely = () =>
    view.rows
      .map((_, at) => at)
      .reduce((best, at) => (view.probability(state.frame ?? 0, at) > view.probability(state.frame ?? 0, best) ? at : best), 0);
  if (state.frame === null) return moveTo(sentence.frameAt((state.window[0] + state.window[1]) / 2), 0);
  moveTo(state.frame + frames, rowsOn === 0 && state.row < 0 ? likely() : Math.max(0, state.row) + rowsOn);
};

// What is said of the cursor.
function detail() {
  const element = $(".detail");
  if (state.frame === null) {
    element.innerHTML =
      "Point at the map, or press the arrow keys, to read posteriors. Drag to pan; <kbd>+</kbd> <kbd>−</kbd> or Ctrl and the wheel zoom; <kbd>[</kbd> <kbd>]</kbd> change the temperature.";
    return;
  }
  const [begin, end] = [sentence.edge(state.frame), sentence.edge(state.frame + 1)];
  const name = ({ phone, word }) => (word === null || word < 0 ? phone : `${phone} of “${sentence.words[word]}”`);
  const most = view.rows
    .map((row, at) => ({ row, at, p: view.probability(state.frame, at) }))
    .sort((a, b) => b.p - a.p)
    .slice(0, 3)
    .filter(({ p }) => p >= 5e-4);
  const own =
    state.row >= 0 && state.row < view.rows.length
      ? `<b>P(${name(view.rows[state.row])}) = ${percent(view.probability(state.frame, state.row))}</b>. `
      : "";
  element.innerHTML = `Frame ${state.frame + 1} of ${sentence.frames}, ${begin.toFixed(3)} to ${end.toFixed(3)} s. ${own}Most probable: ${most.map(({ row, p }) => `${name(row)} ${percent(p)}`).join(", ")}`;
}

// Readings, and figures of the whole.
function tables() {
  const { readings, best } = sentence;
  const said = (reading, isBest) => {
    // Those words that it pronounces otherwise than the best path; of the best path, those that others do.
    const of = ({ phones }, word) =>
      phones
        .filter((phone) => phone.word === word)
        .map(({ phone }) => phone)
        .join(" ");
    const words = best.words.map(({ word }) => word);
    const other = (word) =>
      isBest ? readings.some((one) => of(one, word) !== of(best, word)) : of(reading, word) !== of(best, word);
    return words.filter(other).map((word) => `“${sentence.words[word]}” ${of(reading, word)}`);
  };
  const rowsOf = readings.map((reading, at) => {
    const p = probabilities?.[at];
    const isBest = at === sentence.bestReading;
    const choose = () => {
      state.reading = state.reading === at ? null : at;
      view.refresh(options());
      tables();
      link();
    };
    const title = "Draw the best path of this reading over the map";
    const text = `${at + 1}: ${said(reading, isBest).join(", ")}${isBest ? " (of the best path)" : ""}`;
    const button = make(
      "button",
      { type: "button", "aria-pressed": state.reading === at ? "true" : "false", title, onclick: choose },
      text,
    );
    const meter = make("i", {});
    meter.style.width = `${100 * (p ?? 0)}%`;
    return make(
      "tr",
      { "data-reading": at },
      make("td", {}, button),
      make("td", { class: "number" }, p === undefined ? "…" : percent(p)),
      make("td", { class: "meter" }, meter),
    );
  });
  const focused = document.activeElement?.closest?.("[data-reading]")?.dataset.reading;
  const table = make(
    "table",
    { class: "readings" },
    make(
      "thead",
      {},
      make(
        "tr",
        {},
        make("th", {}, "readings, and where they differ from the best path"),
        make("th", {}, "probability"),
        make("th", {}),
      ),
    ),
    make("tbody", {}, ...rowsOf),
  );
  const { total, entropy, words } = answer;
  const least = words.indexOf(Math.min(...words));
  const figures = make("div", { class: "notes" });
  figures.innerHTML =
    `<p class="number"><b class="total">γ log Σ exp(<i>s</i>/γ) = ${total.toFixed(1)}</b> nats; entropy of the paths <b class="entropy">${entropy.toFixed(1)}</b> nats. ` +
    `Least sure word: “${sentence.words[best.words[least].word]}”, <b class="least">${percent(words[least])}</b>.</p>` +
    `<p class="legend">posterior 0 <span class="scale"></span> 1 &emsp; confidence 0 <span class="scale sure"></span> 1 &emsp; <span style="color: var(--best)">━</span> best path</p>` +
    "<p>A word’s confidence is its posterior, averaged over the frames that the best path spends in it. As γ falls, the posteriors become the best path. " +
    "Given its state, a frame of an HMM does not depend on its neighbours; those of a recording do, so posteriors at γ = 1 are too sure. Recognisers scale acoustic scores by about a tenth; γ = 10 scales all scores so.</p>" +
    `<p>Acoustic model: ${sentence.model}. Recording: LibriVox, public domain (${sentence.name}); played here with eight bits a sample.</p>`;
  $(".below").replaceChildren(table, figures);
  if (focused) $(`[data-reading="${focused}"] button`).focus();
}

const sound = player((time) => {
  view.play(time);
  playButton.textContent = time === null ? "Play" : "Stop";
});
const play = (begin, end) => sound.play(sentence.wave, sentence.rate, begin, end);
const toggle = () => (sound.busy ? sound.stop() : play(...state.window));

const view = stage($(".stage"), {
  looked: ({ frame, row }) => {
    Object.assign(state, { frame, row: row ?? -1 });
    detail();
    link();
  },
  moved: (window) => {
    state.window = window;
    link();
  },
  chosen: ({ begin, end }) => {
    moveTo(begin, Math.max(0, state.row));
    play(sentence.edge(begin), sentence.edge(end));
  },
});
const rebuilt = () => {
  view.build(sentence, answer, options(), state.window);
  view.point(state.frame, state.row >= 0 ? state.row : null);
};

const copy = copyButton();
copy.addEventListener("click", link.now, true);
$("header .end").append(copy, full);
$(".options").append(
  make("label", { class: "field" }, make("span", { class: "name" }, "sentence"), which),
  make("label", { class: "field temperature" }, make("span", { class: "name" }, "temperature"), slider, shown),
);
$(".heat-options").append(
  make("span", { class: "field" }, make("span", { class: "name" }, "rows"), rows),
  make("span", { class: "field" }, sounds),
  make(
    "span",
    { class: "field" },
    step("+", "Zoom in (+)", () => zoomBy(1.6)),
    step("−", "Zoom out (−)", () => zoomBy(1 / 1.6)),
    step("whole", "The whole sentence (0)", () => sight([0, sentence.duration])),
    playButton,
  ),
);
Object.assign($(".stage"), { tabIndex: 0 });
$(".stage").setAttribute("role", "application");
$(".stage").setAttribute(
  "aria-label",
  "Posteriors over time. Arrow keys move from frame to frame and from row to row; what is there is said above.",
);
$(".detail").setAttribute("aria-live", "polite");
onKey({
  ArrowLeft: moves(-1, 0),
  ArrowRight: moves(1, 0),
  ArrowUp: moves(0, -1),
  ArrowDown: moves(0, 1),
  PageUp: moves(-25, 0),
  PageDown: moves(25, 0),
  "+": () => zoomBy(1.6),
  "=": () => zoomBy(1.6),
  "-": () => zoomBy(1 / 1.6),
  0: () => sight([0, sentence.duration]),
  "[": () => warmer(state.k - 1),
  "]": () => warmer(state.k + 1),
  " ": toggle,
});
followTheme(() => rebuilt());
fitFrame();
take(readLink());
everything();
onLink((values) => {
  take(values);
  everything();
});
let seen = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === seen) return;
  seen = innerWidth;
  rebuilt();
});
// For a console, and for tests.
globalThis.figure = { raw, opened: open, answers, readingsOf };
