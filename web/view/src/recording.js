// One recording: what is seen, heard and edited of it.
import { button, clock, element, seconds } from "./element.js";
import { helpDialog } from "./help.js";
import { AxisRow, GhostRow, PosteriorRow, TierRow } from "./rows.js";
import inside from "./inside.css";
import { SCORES, shades } from "./scores.js";
import { load, waveform } from "./sound.js";
import { textGrid } from "./textgrid.js";
import { colour, themeButton } from "./theme.js";
import { Tiers } from "./tiers.js";

const READABLE = 110; // pixels a second, at least, to begin with
const MOST = 4000; // pixels a second
const ALL = 8e6; // pixels that a browser can lay side by side
const NUDGE = { coarse: 0.005, fine: 0.001 }; // seconds

export class Recording {
  constructor(page, sheet, back) {
    this.sheet = sheet;
    this.duration = sheet.duration;
    this.tiers = sheet.edits ??= new Tiers(sheet.tiers); // kept while the page shows another recording
    this.shown = this.tiers.tiers; // or what a drag would make of them
    [this.tier, this.place, this.here, this.pixels] = [0, 0, 0, READABLE];
    this.ended = new AbortController();
    const scored = (name) => sheet.tiers.some(({ items }) => items.some(([, , , figures]) => figures?.[name] !== undefined));
    this.scores = Object.keys(SCORES).filter(scored);
    this.score = this.scores[0];
    this.shade = shades(this.score);
    this.layOut(page, back);
    this.listen();
    load(this.surfer, sheet).catch((error) => this.say(`The sound cannot be used: ${error.message}`, true));
  }

  close() {
    this.ended.abort();
    this.surfer.destroy();
  }

  // ---- what is there ----

  layOut(page, back) {
    const { sheet } = this;
    this.status = element("p", { class: "status", role: "status" });
    this.time = element("output", { class: "time", "aria-label": "time" });
    this.help = helpDialog();
    const header = element(
      "header",
      {},
      back && element("a", { class: "back", href: back }, "‹ overview"),
      element("h1", {}, sheet.name),
      element("div", { class: "tools" }, button("?", "keys", () => this.help.showModal()), themeButton()),
    );
    const text = element("p", { class: "text", dir: "auto" }, sheet.text);
    this.container = element("div", { class: "wave" });
    this.names = element("div", { class: "names", "aria-hidden": "true" });
    this.stage = element("section", { class: "stage", "aria-label": "sound and labels over time" }, this.names, this.container);
    page.append(header, text, this.controls(), this.stage, this.details(), this.lists(), this.status, this.help);
    Object.assign(this, waveform(this.container, sheet, this.pixels));
    const { surfer } = this;
    const wrapper = surfer.getWrapper();
    wrapper.getRootNode().append(element("style", {}, inside));
    this.rows = [new AxisRow(this.duration)];
    if (sheet.posteriors) this.rows.push(new PosteriorRow(sheet.posteriors, this.duration));
    this.tierRows = sheet.tiers.map((_, number) => new TierRow(number, this));
    this.rows.push(...this.tierRows);
    const { alternatives } = sheet;
    this.rows.push(...alternatives.slice(1).map((_, above) => new GhostRow(alternatives, above + 1, this.duration)));
    const [axis, ...below] = this.rows.map((row) => row.element);
    const rows = element("div", { class: "rows" }, ...below);
    for (const kind of ["click", "dblclick", "pointerdown"]) rows.addEventListener(kind, (event) => event.stopPropagation());
    wrapper.querySelector(".canvases").after(axis);
    wrapper.append(rows);
  }

  controls() {
    const speeds = [0.5, 0.75, 1, 1.5].map((rate) => element("option", { value: rate, selected: rate === 1 }, `${rate} ×`));
    const silent = !this.sheet.sound;
    this.play = button("▶", "play (Space)", () => this.playPause(), { class: "play", disabled: silent });
    this.undoing = button("↶", "undo (Ctrl+Z)", () => this.undo());
    this.redoing = button("↷", "redo (Ctrl+Y)", () => this.redo());
    this.saving = button("Save TextGrid", "save the TextGrid (Ctrl+S)", () => this.save(), { class: "save" });
    const speed = element("select", { "aria-label": "speed", disabled: silent }, ...speeds);
    speed.addEventListener("change", () => this.surfer.setPlaybackRate(Number(speed.value), true));
    return element(
      "div",
      { class: "controls", role: "toolbar", "aria-label": "controls" },
      element("span", {}, this.play, speed, this.time),
      element(
        "span",
        {},
        button("−", "zoom out (−)", () => this.zoom(1 / 1.5)),
        button("+", "zoom in (+)", () => this.zoom(1.5)),
        button("all", "show all of it (0)", () => this.zoom(0)),
      ),
      this.legend(),
      element("span", {}, this.undoing, this.redoing, this.saving),
    );
  }

  // The colours, and which figure they show.
  legend() {
    if (!this.scores.length) return null;
    const options = [...this.scores.map((name) => [name, name]), ["", "none"]];
    const choice = element("select", { "aria-label": "colour by" }, ...options.map(([value, name]) => element("option", { value }, name)));
    const [low, bar, high] = [element("span"), element("i", { class: "bar" }), element("span")];
    const legend = element("span", { class: "legend" }, "colour", choice, low, bar, high);
    const show = () => {
      this.score = choice.value;
      this.shade = shades(this.score);
      const score = SCORES[this.score];
      for (const part of [low, bar, high]) part.hidden = !score;
      if (!score) return;
      const stops = [0, 0.25, 0.5, 0.75, 1].map((share) => this.shade({ [score.name]: score.lowest + share * (1 - score.lowest) }));
      bar.style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
      low.textContent = score.lowest ? `≤ ${score.lowest}` : "0";
      high.textContent = "1";
      legend.title = `${score.name}: ${score.meaning}; hatched below 0.5`;
    };
    choice.addEventListener("change", () => {
      show();
      this.render();
    });
    show();
    return legend;
  }

  // The label that is selected.
  details() {
    this.label = element("input", { class: "label", "aria-label": "label", spellcheck: "false", dir: "auto" });
    this.label.addEventListener("change", () => this.commitLabel());
    this.label.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.label.value = this.item().label;
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      this.commitLabel();
      this.tierRows[this.tier].focus(this.place);
    });
    this.figures = element("p", { class: "figures" });
    return element(
      "section",
      { class: "details", "aria-label": "selected label" },
      button("▶", "play the label (Shift+Space)", () => this.playLabel(), { disabled: !this.sheet.sound }),
      this.label,
      button("split", "split at the cursor (S)", () => this.split()),
      button("join", "remove the edge at the cursor (Delete)", () => this.join()),
      this.figures,
    );
  }

  // What to listen to, and what to know.
  lists() {
    const { suspicious, notes } = this.sheet;
    const listen = ([start, end, why]) => {
      const go = () => this.listenTo(start, end);
      return element("li", {}, button(`${seconds(start, 2)}–${seconds(end, 2)} s`, `listen: ${why}`, go), ` ${why}`);
    };
    return element(
      "section",
      { class: "lists" },
      suspicious.length ? element("h2", {}, "Suspicious") : null,
      suspicious.length ? element("ul", { class: "suspicious" }, ...suspicious.map(listen)) : null,
      notes.length ? element("ul", { class: "notes" }, ...notes.map((note) => element("li", {}, note))) : null,
    );
  }

  // ---- what happens ----

  listen() {
    const { surfer, container } = this;
    const signal = { signal: this.ended.signal };
    surfer.on("ready", () => {
      this.mark();
      this.go(0);
      this.select(0, Math.max(this.shown[0]?.items.findIndex(({ label }) => label) ?? 0, 0));
      container.dataset.ready = "true";
    });
    for (const event of ["redraw", "zoom", "resize"]) surfer.on(event, () => this.render());
    surfer.on("scroll", () => {
      this.next ??= requestAnimationFrame(() => {
        this.next = null;
        if (!this.ended.signal.aborted) this.render();
      });
    });
    surfer.on("timeupdate", (time) => {
      if (surfer.isPlaying()) this.here = time;
      this.time.textContent = `${clock(surfer.isPlaying() ? time : this.here)} / ${clock(this.duration)}`;
    });
    surfer.on("interaction", (time) => this.go(time));
    surfer.on("error", (error) => this.say(`The sound cannot be played: ${error.message ?? error}`, true));
    for (const event of ["play", "pause", "finish"]) {
      surfer.on(event, () => {
        this.play.textContent = surfer.isPlaying() ? "❚❚" : "▶";
        this.play.setAttribute("aria-label", surfer.isPlaying() ? "pause (Space)" : "play (Space)");
      });
    }
    const resized = new ResizeObserver(() => this.name());
    resized.observe(surfer.getWrapper());
    signal.signal.addEventListener("abort", () => resized.disconnect());
    addEventListener("keydown", (event) => this.key(event), signal);
    const wheel = (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 300));
    };
    container.addEventListener("wheel", wheel, { passive: false });
  }

  key(event) {
    const target = event.composedPath()[0];
    const typing = target instanceof Element && target.matches("input, select, textarea");
    const pressed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const command = event.ctrlKey || event.metaKey;
    if (this.help.open || (typing && !(command && pressed === "s"))) return;
    if ((pressed === " " || pressed === "Enter") && target instanceof Element && target.matches("button, a")) return;
    const amount = event.shiftKey ? NUDGE.fine : NUDGE.coarse;
    const commands = { z: () => (event.shiftKey ? this.redo() : this.undo()), y: () => this.redo(), s: () => this.save() };
    const keys = {
      " ": () => (event.shiftKey ? this.playLabel() : this.playPause()),
      ArrowLeft: () => this.step(false),
      ArrowRight: () => this.step(true),
      ArrowUp: () => this.change(-1),
      ArrowDown: () => this.change(1),
      "+": () => this.zoom(1.5),
      "=": () => this.zoom(1.5),
      "-": () => this.zoom(1 / 1.5),
      0: () => this.zoom(0),
      Enter: () => this.rename(),
      F2: () => this.rename(),
      s: () => this.split(),
      Delete: () => this.join(),
      Backspace: () => this.join(),
      "?": () => this.help.showModal(),
    };
    const nudges = { Comma: -amount, Period: amount };
    const action = command ? commands[pressed] : keys[pressed];
    if (action) action();
    else if (!command && nudges[event.code]) this.nudge(nudges[event.code], event.altKey);
    else return;
    event.preventDefault();
  }

  item() {
    return this.shown[this.tier]?.items[this.place];
  }

  seek(time) {
    this.here = time;
    this.surfer.setTime(time);
    this.time.textContent = `${clock(time)} / ${clock(this.duration)}`;
  }

  // Goes to a moment, and brings it in sight.
  go(time) {
    this.seek(time);
    const [at, from, width] = [time * this.scale(), this.surfer.getScroll(), this.surfer.getWidth()];
    if (at < from || at > from + width) this.surfer.setScroll(Math.max(at - width / 3, 0));
  }

  select(tier, place) {
    [this.tier, this.place] = [tier, place];
    const item = this.item();
    if (!item) return;
    this.label.value = item.label;
    this.figures.replaceChildren(...this.described(item));
    this.selection ??= this.regions.addRegion({ start: 0, end: 0, drag: false, resize: false, color: colour("selected") });
    this.selection.element.style.pointerEvents = "none";
    this.selection.setOptions({ start: item.start, end: item.end });
    this.render();
  }

  described(item) {
    const { start, end, figures, edited } = item;
    const parts = [`${this.shown[this.tier].name}: ${seconds(start)} – ${seconds(end)} s (${Math.round(1000 * (end - start))} ms)`];
    for (const name of ["confidence", "match", "entropy"]) {
      if (figures?.[name] !== undefined) parts.push(`${name} ${figures[name].toFixed(2)}`);
    }
    if (figures?.start_sd !== undefined && figures.end_sd !== undefined) {
      parts.push(`edges ± ${Math.round(1000 * figures.start_sd)} and ${Math.round(1000 * figures.end_sd)} ms`);
    }
    if (edited) parts.push("edited");
    return parts.map((part) => element("span", {}, part));
  }

  // Suspicious stretches, behind the waveform.
  mark() {
    for (const [start, end, why] of this.sheet.suspicious) {
      const region = this.regions.addRegion({ start, end, drag: false, resize: false, color: colour("suspicious") });
      region.element.title = why;
      region.element.classList.add("suspicious");
      region.element.style.pointerEvents = "none";
    }
  }

  step(forward) {
    if (!this.item()) return;
    const time = this.tiers.step(this.tier, this.here, forward);
    this.go(time);
    this.select(this.tier, this.tiers.at(this.tier, time));
    this.tierRows[this.tier].focus(this.place);
  }

  change(by) {
    if (!this.item()) return;
    const tier = Math.min(Math.max(this.tier + by, 0), this.tierRows.length - 1);
    this.select(tier, this.tiers.at(tier, this.here));
    this.tierRows[tier].focus(this.place);
  }

  playPause() {
    if (!this.sheet.sound) return this.say("There is no sound.");
    if (!this.surfer.isPlaying() && Math.abs(this.surfer.getCurrentTime() - this.here) > 0.01) this.surfer.setTime(this.here);
    return this.surfer.playPause();
  }

  playLabel() {
    const item = this.item();
    if (item) this.listenTo(item.start, item.end);
  }

  listenTo(start, end) {
    this.go(start);
    if (this.sheet.sound) this.surfer.play(start, end);
  }

  // ---- zoom ----

  scale() {
    return this.surfer.getWrapper().clientWidth / this.duration;
  }

  zoom(factor) {
    if (!this.surfer.getDecodedData()) return;
    const width = this.surfer.getWidth();
    const all = width / this.duration;
    this.pixels = factor ? Math.min(Math.max(this.scale() * factor, all), MOST, ALL / this.duration) : all;
    const from = this.surfer.getScroll() / this.scale();
    const seen = width / this.scale();
    const centre = this.here >= from && this.here <= from + seen ? this.here : from + seen / 2;
    const share = (centre - from) / seen;
    this.surfer.zoom(this.pixels);
    this.surfer.setScroll(Math.max(centre * this.pixels - share * width, 0));
    this.render();
  }

  // ---- edits ----

  commit(tiers) {
    this.tiers.commit(tiers);
    this.refresh();
  }

  refresh() {
    this.shown = this.tiers.tiers;
    this.select(this.tier, Math.min(this.place, Math.max(this.shown[this.tier].items.length - 1, 0)));
  }

  drag(event, tier, place, edge) {
    if (event.button !== 0) return;
    event.preventDefault();
    const start = this.tiers.tiers[tier].items[place].start;
    const edges = this.tiers.sharing(tier, start, event.altKey);
    const scale = this.scale();
    const ended = new AbortController();
    let moved = null;
    this.select(tier, place);
    const move = ({ clientX }) => {
      const pixels = clientX - event.clientX;
      if (!moved && Math.abs(pixels) < 1) return;
      moved = this.tiers.moved(edges, start + pixels / scale);
      this.shown = moved;
      this.select(tier, place);
      this.seek(moved[tier].items[place].start);
    };
    const end = (keep) => {
      ended.abort();
      if (keep && moved) this.commit(moved);
      else this.refresh();
    };
    edge.setPointerCapture(event.pointerId);
    edge.addEventListener("pointermove", move, { signal: ended.signal });
    edge.addEventListener("pointerup", () => end(true), { signal: ended.signal });
    edge.addEventListener("pointercancel", () => end(false), { signal: ended.signal });
    addEventListener("keydown", ({ key }) => key === "Escape" && end(false), { signal: ended.signal });
  }

  // The edge at the cursor, or none and a word about it.
  edgeHere() {
    const place = this.item() && this.tiers.edge(this.tier, this.here);
    if (!place) this.say("There is no edge at the cursor: go to one with the arrows.");
    return place;
  }

  nudge(by, alone) {
    const place = this.edgeHere();
    if (!place) return;
    this.commit(this.tiers.moved(this.tiers.sharing(this.tier, this.here, alone), this.here + by));
    this.go(this.shown[this.tier].items[place].start);
  }

  split() {
    const tiers = this.item() && this.tiers.split(this.tier, this.here);
    if (!tiers) return this.say("Put the cursor inside a label to split it.");
    this.place = this.tiers.at(this.tier, this.here) + 1;
    this.commit(tiers);
    return this.rename();
  }

  join() {
    const place = this.edgeHere();
    if (!place) return;
    this.place = place - 1;
    this.commit(this.tiers.joined(this.tier, place));
  }

  rename() {
    this.label.focus();
    this.label.select();
  }

  commitLabel() {
    if (this.item() && this.label.value !== this.item().label) this.commit(this.tiers.renamed(this.tier, this.place, this.label.value));
  }

  undo() {
    this.say(this.tiers.undo() ? "Undone." : "There is nothing to undo.");
    this.refresh();
  }

  redo() {
    this.say(this.tiers.redo() ? "Done again." : "There is nothing to do again.");
    this.refresh();
  }

  save() {
    const file = new Blob([textGrid(this.tiers.tiers, this.duration)], { type: "text/plain" });
    const address = URL.createObjectURL(file);
    const name = `${this.sheet.name.split("/").pop()}.TextGrid`;
    element("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
    this.tiers.saved = this.tiers.tiers;
    this.say(`Saved as ${name}, in the browser's folder of downloads.`);
    this.render();
  }

  say(text, lasts = false) {
    this.status.textContent = text;
    clearTimeout(this.quiet);
    if (!lasts) this.quiet = setTimeout(() => (this.status.textContent = ""), 5000);
  }

  // ---- drawing ----

  render() {
    const { surfer } = this;
    if (!surfer.getDecodedData()) return;
    const [scale, width] = [this.scale(), surfer.getWidth()];
    const from = surfer.getScroll() / scale;
    const sight = { from: Math.max(from - 0.5 / scale, 0), to: from + width / scale, scale };
    for (const row of this.rows) row.render(sight);
    this.undoing.disabled = !this.tiers.past.length;
    this.redoing.disabled = !this.tiers.future.length;
    this.saving.classList.toggle("unsaved", this.tiers.unsaved);
    this.name();
  }

  // What the rows are, beside them.
  name() {
    const top = this.container.offsetTop - (matchMedia("(max-width: 700px)").matches ? 14 : 0);
    const from = this.container.getBoundingClientRect().top;
    const places = this.rows.map((row) => row.element.getBoundingClientRect().top - from + top);
    const key = places.join();
    if (key === this.named) return;
    this.named = key;
    const label = (text, at, kind) => element("div", { class: kind, style: `top: ${at}px` }, text);
    const spectrogram = this.surfer.getWrapper().querySelector(".rows").previousElementSibling;
    const made = this.sheet.sound ? [label("waveform", this.container.offsetTop, "row-name")] : [];
    if (this.sheet.sound?.flac) {
      made.push(label("spectrogram", spectrogram.getBoundingClientRect().top - from + this.container.offsetTop, "row-name"));
    }
    this.rows.forEach((row, number) => {
      if (row.name) made.push(label(row.name, places[number], "row-name"));
      row.labels?.forEach((text, line) => made.push(label(text, this.container.offsetTop - top + places[number] + line * row.step, "row-phone")));
    });
    this.names.replaceChildren(...made);
  }
}
