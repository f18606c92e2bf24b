// The drawing: time goes down, one row for each step of the processors; a product stands in the column of its last map.
import { select } from "d3";
import { equation, number, plain, shortPhase } from "./words.js";

const FREE = 4; // pixels between rows of cells

export function drawing(parent, { width, room, letter }) {
  const svg = select(parent).append("svg").attr("role", "img");
  let parts = null;

  function build(run) {
    const { length, ticks, values, rounds, peak } = run;
    const small = width < 560;
    const left = (small ? 5.2 : 8.4) * letter;
    const right = (small ? 3.4 : 7.6) * letter;
    const unit = (width - left - right) / (length + 1);
    const cell = Math.max(letter * 1.6, 16);
    const top = 3 * (cell + FREE) + 10;
    const row = Math.max(2.6, Math.min(letter * 2.8, room / ticks.length));
    const height = top + ticks.length * row + 4;
    const x = (t) => left + (t + 0.5) * unit;
    const y = (tick) => top + (tick + 0.5) * row;
    const every = unit >= letter * 1.7 ? 1 : unit >= letter * 0.9 ? 2 : unit >= letter * 0.5 ? 4 : 8;
    const wide = Math.max(1.5, Math.min(unit * 0.8, 3.2 * letter));
    const labelled = (t) => t === length || (t % every === 0 && length - t >= every) || t === 0;

    svg.attr("viewBox", `0 0 ${width} ${height}`).attr("height", height).selectAll("*").remove();
    const text = (into, at, y, words, name) =>
      into.append("text").attr("x", at).attr("y", y).attr("dy", "0.36em").attr("class", name).text(words);

    const [behind, far] = [svg.append("g"), svg.append("g")]; // bands and rules; links and reaches

    // The maps, and which products from the first map on are known.
    const heads = [
      ["maps", 0],
      [small ? "M₁…Mₜ" : "matrix M₁…Mₜ", 1],
      [small ? "vₜ" : "vector vₜ", 2],
    ];
    for (const [words, line] of heads) text(svg, 0, line * (cell + FREE) + cell / 2, words, "name");
    const maps = svg
      .selectAll(".map")
      .data(values.slice(0, 1).concat(Array(length).fill(null)))
      .join("g")
      .attr("class", "map");
    maps.each(function (_, t) {
      const one = select(this);
      if (t)
        one
          .append("rect")
          .attr("x", x(t) - unit * 0.42)
          .attr("y", 0.5)
          .attr("width", unit * 0.84)
          .attr("height", cell - 1)
          .attr("rx", Math.min(3, unit / 4));
    });
    const numbers = Array.from({ length: length + 1 }, (_, t) => t).filter((t) => t && labelled(t));
    for (const t of numbers)
      text(svg, x(t), cell / 2, every === 1 && unit > letter * 2.6 ? `M${t}` : t, "number").attr("text-anchor", "middle");
    const known = ["matrix", "vector"].flatMap((kind, line) =>
      Array.from({ length: length + 1 }, (_, t) => ({ kind, t, line })).filter(({ kind, t }) => kind === "vector" || t),
    );
    const knowns = svg.selectAll(".known").data(known).join("g");
    knowns
      .append("rect")
      .attr("x", ({ t }) => x(t) - unit * 0.42)
      .attr("y", ({ line }) => (line + 1) * (cell + FREE) + 0.5)
      .attr("width", unit * 0.84)
      .attr("height", cell - 1)
      .attr("rx", Math.min(3, unit / 4));
    knowns
      .append("text")
      .attr("x", ({ t }) => x(t))
      .attr("y", ({ line }) => (line + 1) * (cell + FREE) + cell / 2)
      .attr("dy", "0.36em")
      .attr("text-anchor", "middle");

    // Rows: bands, names of what is done, and how much is held.
    const bands = behind
      .selectAll(".band")
      .data(ticks)
      .join("rect")
      .attr("class", "band")
      .attr("x", left - 2)
      .attr("width", width - left - right + 4)
      .attr("y", (_, at) => top + at * row)
      .attr("height", row);
    let begin = 0;
    let said = -Infinity;
    ticks.forEach(({ round }, at) => {
      const next = ticks[at + 1];
      const { phase } = rounds[round];
      const ends =
        !next ||
        rounds[next.round].phase !== phase ||
        run.passes.some((pass) => pass.round === next.round && next.round !== round);
      if (!ends) return;
      if (at < ticks.length - 1)
        behind
          .append("line")
          .attr("class", "rule")
          .attr("x1", 0)
          .attr("x2", width - right)
          .attr("y1", top + (at + 1) * row)
          .attr("y2", top + (at + 1) * row);
      const middle = top + ((begin + at + 1) / 2) * row;
      if (middle - said >= letter * 1.15) text(svg, 0, (said = middle), shortPhase(phase), "name");
      begin = at + 1;
    });
    const bar = (right - letter * 0.8) / peak;
    const bars = svg
      .selectAll(".held-bar")
      .data(ticks)
      .join("rect")
      .attr("x", width - right + letter * 0.8)
      .attr("y", (_, at) => top + at * row + row * 0.15)
      .attr("height", row * 0.7)
      .attr("width", ({ held }) => held * bar);
    bars.append("title").text(({ held }) => `${number(held)} numbers are held`);
    text(svg, width - right + letter * 0.8, 2 * (cell + FREE) + cell / 2, small ? "held" : "numbers held", "name");

    // Links from what is read to what is made, then the products.
    const place = (id) => (id < 0 ? [x(-id), cell] : id === 0 ? [x(0), top - 8] : [x(values[id].last), y(values[id].born)]);
    const made = values.slice(1);
    const pairs = made.flatMap((value) => value.from.map((of) => ({ value, of })));
    const links = far
      .append("g")
      .selectAll("path")
      .data(pairs)
      .join("path")
      .attr("class", "link")
      .attr("d", ({ value, of }) => {
        const [[x0, y0], [x1, y1]] = [place(of), place(value.id)];
        return x0 === x1 ? `M${x0},${y0}V${y1}` : `M${x0},${y0}C${x0},${(y0 + y1) / 2} ${x1},${(y0 + y1) / 2} ${x1},${y1}`;
      });
    const products = svg.append("g").selectAll("g").data(made).join("g");
    const high = Math.max(1.8, Math.min(row * 0.74, letter * 1.7));
    const reaches = far
      .append("g")
      .selectAll("line")
      .data(made)
      .join("line")
      .attr("x1", ({ first }) => x(first))
      .attr("x2", ({ last }) => x(last))
      .attr("y1", ({ born }) => y(born))
      .attr("y2", ({ born }) => y(born));
    products
      .append("rect")
      .attr("x", ({ last }) => x(last) - wide / 2)
      .attr("width", wide)
      .attr("y", ({ born }) => y(born) - high / 2)
      .attr("height", high)
      .attr("rx", Math.min(3, high / 3, wide / 3));
    if (row > letter * 1.25 && unit > letter * 2.5) {
      products
        .append("text")
        .attr("x", ({ last }) => x(last))
        .attr("y", ({ born }) => y(born))
        .attr("dy", "0.36em")
        .attr("text-anchor", "middle")
        .attr("font-size", letter * 0.92)
        .text(({ kind, first, last }) => (kind === "vector" ? `v${last}` : first === last ? last : `${first}–${last}`));
    }
    products.append("title").text(({ id }) => plain(equation(values, id)));
    const readBy = (id, is) => {
      links.classed("read", ({ value }) => is && value.id === id);
      products.classed("read", ({ id: other }) => is && values[id].from.includes(other));
    };
    products.on("pointerenter", (_, { id }) => readBy(id, true)).on("pointerleave", (_, { id }) => readBy(id, false));
    svg.selectAll("text.number").raise();
    parts = { run, maps, knowns, bands, bars, links, reaches, products, every, labelled, readableUnit: unit >= letter * 1.15 };
  }

  function show(at) {
    const { run, maps, knowns, bands, bars, links, reaches, products, labelled, readableUnit } = parts;
    const { values, ticks } = run;
    const now = new Set(at < 0 ? [] : ticks[at].products);
    const status = ({ born, dies }) => (born > at ? "later" : at <= dies ? "held" : "gone");
    bands.classed("now", (_, tick) => tick === at);
    bars.attr("class", (_, tick) => `held-bar ${tick === at ? "now" : tick < at ? "done" : ""}`);
    links.classed("done", ({ value }) => value.born <= at).classed("now", ({ value }) => now.has(value.id));
    products.attr("class", (value) => `product ${value.kind} ${status(value)} ${now.has(value.id) ? "now" : ""}`);
    reaches.attr("class", (value) => `reach ${value.kind} ${status(value)}`);
    const used = new Set([...now].flatMap((id) => values[id].from));
    maps.classed("now", (_, t) => t > 0 && used.has(-t));
    // A prefix may be made twice: it is there while one of the two is.
    const found = { matrix: new Map(), vector: new Map() };
    for (const value of values) {
      if (value.born > at || value.first !== (value.kind === "vector" ? 0 : 1)) continue;
      const before = found[value.kind].get(value.last);
      found[value.kind].set(value.last, {
        held: before?.held || status(value) === "held",
        round: before?.round ?? value.round + 1,
      });
    }
    knowns.attr("class", ({ kind, t }) => {
      const one = found[kind].get(t);
      return `known ${kind} ${one ? (one.held ? "held" : "gone") : "later"}`;
    });
    knowns.select("text").text(({ kind, t }) => {
      const one = found[kind].get(t);
      return one && readableUnit ? one.round : "";
    });
    const [vectors, matrices] = [found.vector.size - 1, found.matrix.size];
    svg.attr(
      "aria-label",
      `${vectors} of ${run.length} state vectors are known, and ${matrices} products from the first map on.`,
    );
  }

  return { build, show };
}
