// Light, dark, or as the system has it; and the colours of what is drawn rather than styled.
import { button } from "./element.js";

const CHOICES = { system: "Colours of the system", light: "Light colours", dark: "Dark colours" };
const SIGNS = { system: "◐", light: "☀", dark: "☾" };
const dark = matchMedia("(prefers-color-scheme: dark)");
let choice = "system";
let changed = () => {};

function apply() {
  const isDark = choice === "dark" || (choice === "system" && dark.matches);
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
}

// Calls back when the colours change.
export function followTheme(callback) {
  changed = callback;
  apply();
  dark.addEventListener("change", () => {
    apply();
    changed();
  });
}

export function themeButton() {
  const next = () => {
    const names = Object.keys(CHOICES);
    choice = names[(names.indexOf(choice) + 1) % names.length];
    apply();
    changed();
  };
  return button(SIGNS[choice], `${CHOICES[choice]}; change`, next, { class: "theme" });
}

export const isDark = () => document.documentElement.dataset.theme === "dark";
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
