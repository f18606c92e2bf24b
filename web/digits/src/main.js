// The page: sound comes in as time passes, and what is known of it is drawn.
import { FrontEnd } from "./features.js";
import { Recogniser } from "./recogniser.js";

const TICK = 0.02; // seconds of sound at a time, where the clock does not say how many
const PAUSE_ROWS = 4; // of the one state of pauses, so that it can be seen
const find = (id) => document.getElementById(id);
const settings = new URLSearchParams(location.search);

let about, recogniser, pause; // the state of pauses comes behind those of words

/** What a path of states says: words, and the frames that they begin at. */
function wordsOf(path) {
  const found = [];
  path.forEach((state, frame) => {
    const begins = state < pause && state % about.states === 0;
    if (begins && path[frame - 1] !== state) found.push({ word: state / about.states, frame });
  });
  return found;
}

const wordOf = (state) => (state < pause ? Math.floor(state / about.states) : null);

/** One recording, from its first sample to its last. */
class Session {
  constructor(wave) {
    this.wave = wave;
    this.frontEnd = new FrontEnd(about.frontEnd);
    this.heard = 0; // samples
    this.filtered = [];
    this.path = []; // states that stay as they are
    this.logProb = 0;
    recogniser.begin();
    const { window, shift } = about.frontEnd;
    this.frames = Math.max(1, 1 + Math.floor((wave.length - window) / shift));
    this.strip = new Strip(this);
  }

  /** Hear as far as a moment, in seconds. */
  async advance(seconds) {
    const end = Math.min(this.wave.length, Math.round(seconds * about.frontEnd.sampleRate));
    const features = this.frontEnd.push(this.wave.subarray(this.heard, end));
    this.heard = end;
    const over = end === this.wave.length;
    if (over) features.push(...this.frontEnd.end());
    if (features.length) {
      const found = await recogniser.push(features);
      this.filtered.push(...found.filtered);
      this.path.push(...found.states.filter((state) => state >= 0));
      if (over) this.path.push(...found.tail.filter((state) => state >= 0));
      this.logProb = found.logProb.at(-1);
    }
    this.show();
    return !over;
  }

  show() {
    this.strip.draw();
    find("time").textContent = `${(this.heard / about.frontEnd.sampleRate).toFixed(2)} s`;
    const latest = this.filtered.at(-1);
    const word = latest ? wordOf(latest.indexOf(Math.max(...latest))) : null;
    find("now").textContent = word ?? "–";
    const { shift, sampleRate } = about.frontEnd;
    find("heard").replaceChildren(
      ...wordsOf(this.path).map(({ word, frame }) => {
        const chip = document.createElement("span");
        const time = document.createElement("small");
        time.textContent = ` ${((frame * shift) / sampleRate).toFixed(2)} s`;
        chip.append(String(word), time);
        return chip;
      }),
    );
  }
}

/** The wave, and below it a column for each frame: how likely the states are, and the path. */
class Strip {
  constructor(session) {
    this.session = session;
    this.states = find("states");
    this.states.width = session.frames;
    this.states.height = pause + PAUSE_ROWS;
    this.drawn = this.followed = 0;
    this.colours = Object.fromEntries(["heat", "path", "faint"].map((name) => [name, resolved(`--${name}`)]));
    this.drawWave();
  }

  drawWave() {
    const canvas = find("wave");
    const { wave } = this.session;
    canvas.width = canvas.clientWidth;
    const context = canvas.getContext("2d");
    context.fillStyle = this.colours.faint;
    for (let x = 0; x < canvas.width; x++) {
      const part = wave.subarray((x * wave.length) / canvas.width, ((x + 1) * wave.length) / canvas.width);
      const peak = part.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
      const height = Math.max(1, peak * canvas.height);
      context.fillRect(x, (canvas.height - height) / 2, 1, height);
    }
  }

  draw() {
    const context = this.states.getContext("2d");
    const { filtered, path, frames } = this.session;
    const rows = (state) => (state === pause ? PAUSE_ROWS : 1);
    context.fillStyle = this.colours.heat;
    for (; this.drawn < filtered.length; this.drawn++) {
      filtered[this.drawn].forEach((share, state) => {
        context.globalAlpha = share;
        if (share > 0.01) context.fillRect(this.drawn, state, 1, rows(state));
      });
    }
    context.globalAlpha = 1;
    context.fillStyle = this.colours.path;
    for (; this.followed < path.length; this.followed++) {
      context.fillRect(this.followed, path[this.followed], 1, rows(path[this.followed]));
    }
    const cursor = find("cursor");
    cursor.style.left = `${(100 * this.drawn) / frames}%`;
    cursor.style.visibility = "visible";
  }
}

/** A colour of the style sheet, by its name, whichever scheme is on: a canvas does not know light-dark(). */
function resolved(name) {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = `var(${name})`;
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/** A sound file as the model hears sound: one channel at its sample rate. */
async function decoded(bytes) {
  const context = new OfflineAudioContext(1, 1, about.frontEnd.sampleRate);
  const sound = await context.decodeAudioData(bytes);
  const wave = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    sound.getChannelData(channel).forEach((sample, i) => (wave[i] += sample / sound.numberOfChannels));
  }
  return wave;
}

/** Play a recording and hear it at the same time; with ?pace=0 as fast as can be, and without a sound. */
async function stream(bytes) {
  const pace = Number(settings.get("pace") ?? 1);
  state("streaming", "Listening …");
  const session = new Session(await decoded(bytes));
  globalThis.digits = session;
  const clock = pace ? playing(session.wave, pace) : null;
  for (let now = 0, more = true; more; ) {
    now = clock ? clock() : now + TICK;
    more = await session.advance(now);
    await new Promise((next) => (clock ? requestAnimationFrame(next) : setTimeout(next)));
  }
  const words = wordsOf(session.path).map(({ word }) => about.words[word]);
  state("done", `Heard: ${words.join(" ") || "no word"}. ${session.logProb.toFixed(1)} nats.`);
}

/** Starts the sound; gives a clock of how much of it was played, in seconds. */
function playing(wave, pace) {
  const context = new AudioContext();
  const sound = context.createBuffer(1, wave.length, about.frontEnd.sampleRate);
  sound.copyToChannel(wave, 0);
  const source = context.createBufferSource();
  source.buffer = sound;
  source.playbackRate.value = pace;
  source.connect(context.destination);
  source.start();
  source.onended = () => context.close();
  const begun = performance.now();
  return () => ((performance.now() - begun) / 1000) * pace;
}

function state(name, text) {
  document.body.dataset.state = name;
  find("status").textContent = text;
  for (const control of ["play", "file"]) find(control).disabled = name === "streaming" || name === "loading";
}

/** Runs something, and says what went wrong where something does. */
async function tried(work) {
  try {
    await work();
  } catch (error) {
    state("failed", `That did not work: ${error.message}`);
  }
}

async function fetched(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name}: ${answer.status} ${answer.statusText}`);
  return answer;
}

function named() {
  find("names").style.gridTemplateRows = `repeat(${about.words.length}, ${about.states}fr) ${PAUSE_ROWS}fr`;
  find("names").replaceChildren(
    ...[...about.words, "pause"].map((word) => Object.assign(document.createElement("span"), { textContent: word })),
  );
}

await tried(async () => {
  state("loading", "Loading …");
  about = await (await fetched("model.json")).json();
  pause = about.words.length * about.states;
  find("voice").textContent = `trained on ${about.source}`;
  find("lag").textContent = (about.lag / (about.frontEnd.sampleRate / about.frontEnd.shift)).toFixed(1);
  named();
  recogniser = await Recogniser.load("model.onnx");
  find("play").onclick = () => tried(async () => stream(await (await fetched("digits.wav")).arrayBuffer()));
  find("file").onchange = ({ target }) => tried(async () => stream(await target.files[0].arrayBuffer()));
  state("ready", "Ready.");
});
