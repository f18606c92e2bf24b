// What lies below the waveform, over the same axis of time: posteriors, tiers that can be edited, alternatives.
// Only what is in sight has elements: an hour has thirty thousand phones.
import { clock, element, fromBase64, seconds } from "./element.js";
import { doubtful, inWords } from "./scores.js";
import { colour } from "./theme.js";

const CROWDED = 3; // pixels an interval has on average: with fewer, a row is drawn without labels
const PHONE = 9; // pixels of a row of posteriors

// Places of the intervals, in order of time, that are in sight.
function inSight(items, from, to) {
  let [first, last] = [0, items.length];
  while (first < last) {
    const middle = (first + last) >> 1;
    if (items[middle].end < from) first = middle + 1;
    else last = middle;
  }
  let end = first;
  while (end < items.length && items[end].start <= to) end += 1;
  return [first, end];
}

class Row {
  constructor(name, height, kind) {
    this.name = name;
    this.element = element("div", { class: `row ${kind}`, style: `height: ${height}px` });
  }

  render() {}
}

// Seconds between labels, and into how many parts notches divide them.
const STEPS = [[0.01, 2], [0.02, 4], [0.05, 5], [0.1, 5], [0.2, 4], [0.5, 5], [1, 5], [2, 4], [5, 5], [10, 5], [30, 6], [60, 6], [300, 5]];

// The axis of time. wavesurfer's own makes an element for every notch of an hour.
export class AxisRow extends Row {
  constructor(duration) {
    super("", 18, "axis");
    this.duration = duration;
    this.element.setAttribute("aria-hidden", "true");
  }

  render({ from, to, scale }) {
    const [apart, parts] = STEPS.find(([step]) => step * scale > 60) ?? [600, 5];
    const text = (time) => (apart < 1 ? time.toFixed(apart < 0.1 ? 2 : 1) : clock(time).replace(/\.00$/, ""));
    const notches = [];
    const first = Math.floor((from * parts) / apart);
    for (let count = Math.floor(first / parts) * parts; (count * apart) / parts <= Math.min(to, this.duration); count++) {
      const time = (count * apart) / parts;
      const labelled = count % parts === 0;
      const notch = element("div", { class: labelled ? "notch labelled" : "notch" }, labelled ? text(time) : "");
      notch.style.left = `${(100 * time) / this.duration}%`;
      notches.push(notch);
    }
    this.element.replaceChildren(...notches);
  }
}

export class PosteriorRow extends Row {
  constructor(posteriors, duration) {
    const { phones, start, end, png } = posteriors;
    super("posteriors", PHONE * phones.length, "posteriors");
    this.labels = phones;
    this.step = PHONE;
    const text = `Heat map: the posterior probability of ${phones.length} phones in each frame.`;
    const canvas = element("canvas", { role: "img", "aria-label": text });
    canvas.style.left = `${(100 * start) / duration}%`;
    canvas.style.width = `${(100 * (end - start)) / duration}%`;
    this.element.append(canvas);
    createImageBitmap(new Blob([fromBase64(png)], { type: "image/png" })).then((image) => {
      [canvas.width, canvas.height] = [image.width, image.height];
      const pen = canvas.getContext("2d");
      pen.drawImage(image, 0, 0);
      pen.globalCompositeOperation = "source-in";
      pen.fillStyle = colour("heat");
      pen.fillRect(0, 0, image.width, image.height);
    });
  }
}

// Intervals as elements; a subclass says what they look like.
class IntervalRow extends Row {
  constructor(name, height, kind, duration) {
    super(name, height, kind);
    this.duration = duration;
    this.nodes = new Map();
    this.dense = element("canvas", { class: "dense" });
  }

  render({ from, to, scale }) {
    const items = this.items();
    const [first, end] = inSight(items, from, to);
    const crowded = end - first > 50 && ((to - from) * scale) / (end - first) < CROWDED;
    if (crowded) this.draw(items, first, end, { from, to, scale });
    else this.dense.remove();
    for (const [place, node] of this.nodes) {
      if ((crowded || place < first || place >= end) && !node.matches(":focus")) {
        node.remove();
        this.nodes.delete(place);
      }
    }
    let before = null;
    for (let place = first; place < end && !crowded; place++) {
      let node = this.nodes.get(place);
      if (!node) {
        node = this.make(place);
        this.nodes.set(place, node);
        if (before) before.after(node);
        else this.element.prepend(node);
      }
      const item = items[place];
      node.style.left = `${(100 * item.start) / this.duration}%`;
      node.style.width = `${(100 * (item.end - item.start)) / this.duration}%`;
      this.update(node, item, place);
      before = node;
    }
  }

  write(node, label) {
    node.firstChild.textContent = label;
    node.firstChild.classList.toggle("single", label.length === 1);
  }

  // Where there is no place for labels: every interval a line in its colour, what is doubtful above the others.
  draw(items, first, end, { from, to, scale }) {
    const width = Math.ceil((to - from) * scale);
    Object.assign(this.dense, { width, height: 1 });
    this.dense.style.left = `${(100 * from) / this.duration}%`;
    this.dense.style.width = `${(100 * (to - from)) / this.duration}%`;
    const pen = this.dense.getContext("2d");
    const plain = colour("item");
    const labelled = items.slice(first, end).filter(({ label }) => label);
    for (const above of [false, true]) {
      for (const item of labelled) {
        if (this.doubtful(item) !== above) continue;
        const [left, right] = [Math.floor((item.start - from) * scale), Math.ceil((item.end - from) * scale)];
        pen.fillStyle = this.tint(item) ?? plain;
        pen.fillRect(left, 0, right - left, 1);
      }
    }
    this.element.append(this.dense);
  }
}

export class TierRow extends IntervalRow {
  constructor(number, stage) {
    const { name, kind } = stage.tiers.tiers[number];
    super(name, kind === "words" ? 30 : 24, "tier", stage.duration);
    this.number = number;
    this.stage = stage;
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", `tier ${name}`);
  }

  items() {
    return this.stage.shown[this.number].items;
  }

  tint(item) {
    return this.stage.shade(item.figures);
  }

  doubtful(item) {
    return Boolean(item.label && doubtful(item.figures, this.stage.score));
  }

  make(place) {
    const { stage, number } = this;
    const label = element("span", { class: "label" });
    const node = element("div", { class: "item", role: "button" }, label);
    node.addEventListener("focus", () => {
      stage.select(number, place);
      if (!this.focusing && node.matches(":focus-visible")) stage.go(this.items()[place].start); // came here by Tab
    });
    node.addEventListener("click", () => {
      stage.select(number, place);
      stage.go(this.items()[place].start);
    });
    node.addEventListener("dblclick", () => stage.rename());
    if (place > 0) {
      const edge = element("div", { class: "edge", title: "drag; with Alt this tier's alone" });
      edge.addEventListener("pointerdown", (event) => stage.drag(event, number, place, edge));
      edge.addEventListener("click", (event) => event.stopPropagation());
      node.append(edge);
    }
    return node;
  }

  update(node, item, place) {
    const { stage, number } = this;
    const selected = stage.tier === number && stage.place === place;
    node.classList.toggle("selected", selected);
    if (node.item === item && node.score === stage.score) return;
    node.item = item;
    node.score = stage.score;
    this.write(node, item.label);
    node.style.background = this.tint(item) ?? "";
    node.classList.toggle("pause", !item.label);
    node.classList.toggle("edited", item.edited);
    node.classList.toggle("doubtful", this.doubtful(item));
    node.tabIndex = item.label ? 0 : -1;
    const said = [item.label || "pause", `${seconds(item.start)} to ${seconds(item.end)} s`, inWords(item.figures)];
    if (item.edited) said.push("edited");
    node.setAttribute("aria-label", said.filter((part) => part).join(", "));
    node.title = node.getAttribute("aria-label");
  }

  focus(place) {
    this.focusing = true;
    this.nodes.get(place)?.focus({ preventScroll: true });
    this.focusing = false;
  }
}

const ORDINALS = ["best", "2nd", "3rd"];
const percent = (share) => (share < 0.001 ? "< 0.1" : (100 * share).toFixed(share < 0.1 ? 1 : 0));

// Another reading of the transcript: phones that the first reading has otherwise stand out.
export class GhostRow extends IntervalRow {
  constructor(alternatives, rank, duration) {
    const { log_prob, phones } = alternatives[rank];
    super(`${ORDINALS[rank] ?? `${rank + 1}th`}, ${percent(Math.exp(log_prob))} %`, 18, "ghost", duration);
    const spans = phones.map(([start, end, label]) => ({ start, end, label }));
    const first = alternatives[0].phones;
    let other = 0;
    for (const span of spans) {
      while (other < first.length - 1 && first[other][1] <= (span.start + span.end) / 2) other += 1;
      span.differs = first[other]?.[2] !== span.label;
    }
    this.spans = spans;
    this.element.setAttribute("role", "img");
    const words = phones.map(([, , label]) => label).join(" ");
    this.element.setAttribute("aria-label", `alternative: ${this.name}: ${words}`);
  }

  items() {
    return this.spans;
  }

  tint() {
    return null;
  }

  doubtful() {
    return false;
  }

  make() {
    return element("div", { class: "item" }, element("span", { class: "label" }));
  }

  update(node, item) {
    this.write(node, item.label);
    node.classList.toggle("differs", item.differs);
    node.title = `${item.label}, ${seconds(item.start)} to ${seconds(item.end)} s`;
  }
}
