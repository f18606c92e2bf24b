import { button, element } from "./element.js";

const KEYS = [
  ["Space", "play, pause"],
  ["Shift + Space", "play the label alone"],
  ["← →", "the edge before, the edge after"],
  ["↑ ↓", "the tier above, the tier below"],
  ["Tab", "from label to label"],
  ["+ − 0", "zoom in, out, all of it; also Ctrl and the wheel"],
  [", .", "move the edge at the cursor by 5 ms; with Shift by 1 ms"],
  ["Alt with these", "move the edge in this tier alone, not those at the same time in others"],
  ["Enter", "rename the label; an empty one is a pause"],
  ["S, Delete", "split at the cursor; remove the edge at the cursor"],
  ["Ctrl + Z, Ctrl + Y", "undo, redo"],
  ["Ctrl + S", "save the TextGrid"],
  ["?", "this help"],
];

export function helpDialog() {
  const rows = KEYS.map(([keys, what]) => element("tr", {}, element("th", { scope: "row" }, keys), element("td", {}, what)));
  const dialog = element("dialog", { "aria-label": "Keys" }, element("h2", {}, "Keys"), element("table", {}, ...rows));
  dialog.append(
    element("p", {}, "Drag an edge to move it, double-click a label to rename it, click the waveform to go there."),
    button("Close", "close the help", () => dialog.close()),
  );
  return dialog;
}
