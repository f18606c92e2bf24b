// Praat's long text form, to the byte as the library writes it.
const quoted = (text) => `"${text.replaceAll('"', '""')}"`;

export function textGrid(tiers, duration) {
  const lines = [
    'File type = "ooTextFile"',
    'Object class = "TextGrid"',
    "",
    "xmin = 0 ",
    `xmax = ${duration} `,
    "tiers? <exists> ",
    `size = ${tiers.length} `,
    "item []: ",
  ];
  tiers.forEach(({ name, items }, tier) => {
    lines.push(
      `    item [${tier + 1}]:`,
      '        class = "IntervalTier" ',
      `        name = ${quoted(name)} `,
      "        xmin = 0 ",
      `        xmax = ${duration} `,
      `        intervals: size = ${items.length} `,
    );
    items.forEach(({ start, end, label }, place) => {
      lines.push(
        `        intervals [${place + 1}]:`,
        `            xmin = ${start} `,
        `            xmax = ${end} `,
        `            text = ${quoted(label)} `,
      );
    });
  });
  return `${lines.join("\n")}\n`;
}
