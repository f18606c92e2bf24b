// Numbers and symbols as the page writes them.

/** A number in few letters; a minus as wide as a plus. */
export function number(value, digits = 2) {
  if (Array.isArray(value)) return value.length ? value.map((each) => number(each, digits)).join(", ") : "∅";
  if (value === -Infinity) return "−∞";
  const text = Number.isInteger(value) && Math.abs(value) >= 1000 ? String(value) : value.toFixed(digits);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
}

/** A chance, from 0 to 1, with two decimals. */
export const chance = (value) => (value === 0 ? "0" : value > 0 && value < 0.005 ? "<.01" : value > 0.995 && value < 1 ? ">.99" : value.toFixed(2).replace(/^0/, ""));

/** A letter with what stands behind it, below and in brackets: α*₃(2). */
export function symbol(letter, [above, below, inside]) {
  const marks = `${above ?? ""}${below === null ? "" : `<sub>${below}</sub>`}`;
  return `<i>${letter}</i>${marks}${inside === null ? "" : `(${inside})`}`;
}
