// Buttons, groups of choices, and what steps: made once, used by every figure.
import { copyLink } from "./link.js";

/** A new element: `make("button", { class: "primary", onclick: f }, "text", child)`. */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made[name] = value;
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Says something to screen readers, and to everybody for two seconds; the page has one element .status. */
export function say(text) {
  const status = document.querySelector(".status");
  status.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => (status.textContent = ""), 2000);
}

/** A button that copies the link. */
export const copyButton = () =>
  make(
    "button",
    { type: "button", class: "copy", title: "Copy a link to exactly this state", onclick: async () => say((await copyLink()) ? "Link copied" : "Copy the link from the address bar") },
    "Copy link",
  );

/** A button that fills the screen with the figure, and larger letters; `changed(large)` is called when that changes. */
export function fullScreenButton(changed = () => {}) {
  const root = document.documentElement;
  const button = make("button", { type: "button", class: "full", title: "Full screen (f)", "aria-pressed": "false" }, "Full screen");
  const set = (large) => {
    root.classList.toggle("large", large);
    button.setAttribute("aria-pressed", large);
    button.textContent = large ? "Leave full screen" : "Full screen";
    changed(large);
  };
  button.onclick = async () => {
    const large = !root.classList.contains("large");
    try {
      if (large) await root.requestFullscreen();
      else if (document.fullscreenElement) await document.exitFullscreen();
    } catch {
      // The embedding page does not allow it: the letters are larger all the same.
    }
    set(large);
  };
  document.addEventListener("fullscreenchange", () => document.fullscreenElement || set(false));
  onKey({ f: () => button.click() });
  return Object.assign(button, { set });
}

/**
 * One choice of a few, as buttons side by side. `options` is [[value, text, title?], ...]. Arrow keys stay free for steps.
 * The returned element has `set(value)` and `allow(values)`: the others cannot be chosen.
 */
export function choices(label, options, chosen) {
  const group = make("span", { class: "choices", role: "group", "aria-label": label });
  const buttons = new Map();
  for (const [value, text, title] of options) {
    const button = make("button", { type: "button", title, "data-value": value, "aria-pressed": "false", onclick: () => chosen(value) }, text);
    buttons.set(value, button);
    group.append(button);
  }
  const set = (value) => buttons.forEach((button, name) => button.setAttribute("aria-pressed", name === value));
  const allow = (values) => buttons.forEach((button, name) => (button.disabled = !values.includes(name)));
  return Object.assign(group, { set, allow });
}

/** Where a key is typed into something else. */
const typing = (event) => event.target.closest?.("input, select, textarea, [role=slider], [contenteditable]");

/** Keys of the whole page: { ArrowLeft: f, " ": g }. Keys that are typed into a field are the field's. */
export function onKey(actions) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event)) return;
    if (event.key === " " && event.target.closest?.("button")) return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

/**
 * First, back, play, on, last, and a slider; arrow keys, Home, End and space do the same.
 * `changed(step)` is called for what the reader does. The returned element has `set(step, last)`; `describe(step)` is what
 * a screen reader says of a step, and `direction()` is -1 where playing runs backwards.
 */
export function stepper({ changed, describe = (step) => `step ${step}`, direction = () => 1, pause = 900 }) {
  let [step, last, timer] = [0, 0, null];
  const slider = make("input", { type: "range", min: 0, max: 0, step: 1, class: "steps", "aria-label": "step" });
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  };
  const go = (to, byHand = true) => {
    if (byHand) stop();
    to = Math.max(0, Math.min(last, to));
    if (to !== step) changed(to);
  };
  const start = () => {
    const [from, end] = direction() > 0 ? [0, last] : [last, 0];
    if (step === end) changed(from);
    play.textContent = "Pause";
    timer = setInterval(() => {
      go(step + direction(), false);
      if (step === end) stop();
    }, pause);
  };
  const button = (text, title, action, name) => make("button", { type: "button", class: name, title, "aria-label": title, onclick: action }, text);
  const play = button("Play", "Play or pause (space)", () => (timer ? stop() : start()), "play");
  slider.oninput = () => go(Number(slider.value));
  const set = (to, most = last) => {
    [step, last] = [to, most];
    slider.max = most;
    slider.value = to;
    slider.setAttribute("aria-valuetext", describe(to));
  };
  onKey({
    ArrowLeft: () => go(step - 1),
    ArrowRight: () => go(step + 1),
    Home: () => go(0),
    End: () => go(last),
    " ": () => play.click(),
  });
  const root = make(
    "div",
    { class: "stepper", role: "group", "aria-label": "steps" },
    button("|◀", "To the first step (Home)", () => go(0), "first"),
    button("◀", "One step back (left arrow)", () => go(step - 1), "back"),
    play,
    button("▶", "One step on (right arrow)", () => go(step + 1), "on"),
    button("▶|", "To the last step (End)", () => go(last), "last"),
    slider,
  );
  return Object.assign(root, { set, stop });
}
