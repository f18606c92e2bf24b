// Figures as colours: orange for what is doubtful, pale blue for what is sure, which colour-blind readers tell apart.
import { colour } from "./theme.js";

export const SCORES = {
  match: { name: "match", lowest: 0, meaning: "probability that it was said at all" },
  confidence: { name: "confidence", lowest: 0.5, meaning: "posterior, taking the transcript for granted" },
};

// A function from an item's figures to a colour; null where they do not say.
export function shades(which) {
  const score = SCORES[which];
  if (!score) return () => null;
  const [bad, middle, good] = ["bad", "middle", "good"].map(colour);
  return (figures) => {
    const value = figures?.[score.name];
    if (value === undefined || value === null) return null;
    const share = Math.max(0, (value - score.lowest) / (1 - score.lowest));
    const [from, to, part] = share < 0.5 ? [bad, middle, 2 * share] : [middle, good, 2 * share - 1];
    return `color-mix(in oklab, ${to} ${(100 * part).toFixed(1)}%, ${from})`;
  };
}

export const doubtful = (figures, which) => figures?.[which] < 0.5;

export function inWords(figures) {
  const said = [];
  for (const name of ["match", "confidence"]) {
    if (figures?.[name] !== undefined) said.push(`${name} ${figures[name].toFixed(2)}`);
  }
  return said.join(", ");
}
