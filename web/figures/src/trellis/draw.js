// The drawn trellis: nodes with their numbers, arcs, pointers and paths.
import { drag, line, pointer, select } from "d3";

const LANE = { hmm: 96, hsmm: 150, ctc: 56, dtw: 66 };
const SPACING = { hmm: 82, hsmm: 75, ctc: 82, dtw: 80 };

/** Where everything is, for a width and at most a height in pixels; `em` says how large letters are, `lines` how many numbers a node has. */
function plan(graph, width, height, em, lines) {
  const xs = graph.nodes.map(({ x }) => x);
  const ys = graph.nodes.map(({ y }) => y);
  const [first, last, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const dtw = graph.kind === "dtw";
  const node = { width: 58 * em, height: (13 + 15 * lines) * em };
  const left = ({ hmm: 104, hsmm: 104, ctc: 74, dtw: 140 }[graph.kind]) * em;
  const top = (dtw ? 96 : 34) * em + node.height / 2;
  const right = 34 * em;
  const narrow = SPACING[graph.kind] * em;
  const step = Math.max(narrow, Math.min((width - left - right) / (last - first), 2.4 * narrow));
  const tight = node.height * (graph.kind === "hsmm" ? 3.4 : 1.35);
  const lane = Math.max(tight, Math.min(Math.max(LANE[graph.kind] * em, tight), (height - top - node.height / 2 - 14 * em) / (high - low)));
  const x = (value) => left + (value - first) * step;
  const y = (value) => top + (value - low) * lane;
  return { x, y, left, top, step, lane, node, width: Math.max(width, x(last) + right), height: y(high) + node.height / 2 + 14 * em };
}

/**
 * Draws `scene` into an svg: { graph, text(node) → lines, fill(node) → 0 to 1, nodeClass(node), arcClass(arc), arcWidth(arc),
 * arcLabel(arc), paths: [{ arcs, class, offset }], series: { query, reference } or null }. `on` has node(place) and
 * series(name, place, value).
 */
export function drawTrellis(svg, scene, on) {
  const { graph } = scene;
  const em = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
  const large = document.documentElement.classList.contains("large");
  const high = large ? innerHeight - svg.parentNode.offsetTop - 200 * em : Infinity; // steps and formula must be in view
  const room = plan(graph, svg.parentNode.clientWidth, high, em, scene.lines);
  const root = select(svg).attr("width", room.width).attr("height", room.height).attr("viewBox", `0 0 ${room.width} ${room.height}`);
  const layer = (name) => {
    const found = root.selectAll(`g.${name}`).data([name]);
    return found.enter().append("g").attr("class", name).merge(found);
  };
  const layers = Object.fromEntries(["columns", "lanes", "arcs", "paths", "labels", "nodes", "series"].map((name) => [name, layer(name)]));
  const spot = (place) => [room.x(graph.nodes[place].x), room.y(graph.nodes[place].y)];

  columns(layers.columns, scene, room, em);
  texts(layers.lanes, "lane", graph.lanes, ({ y }) => [4 * em, room.y(y) + 5 * em]);
  texts(layers.lanes, "tick", graph.ticks, ({ x }) => [room.x(x), 14 * em]);

  const arcs = graph.arcs.map((arc, number) => ({ ...arc, number }));
  layers.arcs.selectAll("line").data(arcs).join("line").each(function (arc) {
    const [[x1, y1], [x2, y2]] = [spot(arc.from), spot(arc.to)];
    select(this).attr("x1", x1).attr("y1", y1).attr("x2", x2).attr("y2", y2)
      .attr("class", `moves ${scene.arcClass(arc.number)}${arc.weight === -Infinity ? " forbidden" : ""}`)
      .style("stroke-width", scene.arcWidth(arc.number) === null ? null : `${scene.arcWidth(arc.number) * em}px`);
  });

  const labelled = arcs.map((arc) => ({ arc, text: scene.arcLabel(arc.number) })).filter(({ text }) => text);
  layers.labels.selectAll("text").data(labelled).join("text").attr("class", "weight").text(({ text }) => text).each(function ({ arc }) {
    const [[x1, y1], [x2, y2]] = [spot(arc.from), spot(arc.to)];
    const share = graph.kind === "hsmm" || graph.kind === "dtw" ? 0.5 : 0.42;
    select(this).attr("x", x1 + share * (x2 - x1)).attr("y", y1 + share * (y2 - y1) + 4 * em);
  });

  const along = line();
  layers.paths.selectAll("path").data(scene.paths).join("path").attr("class", (path) => `path ${path.class}`).attr("d", ({ arcs: passed, offset }) => {
    const points = passed.length ? [spot(graph.arcs[passed[0]].from), ...passed.map((arc) => spot(graph.arcs[arc].to))] : [];
    return along(points.map(([x, y]) => [x, y + offset * em]));
  });

  nodes(layers.nodes, scene, room, spot, em, on);
  series(layers.series, scene, room, em, on);
}

/** The column of this step has a tint. */
function columns(group, { graph, column }, room, em) {
  const here = graph.nodes.filter((node) => node.column === column);
  const points = here.map((node) => [room.x(node.x), room.y(node.y)]);
  const margin = [room.node.width / 2 + 7 * em, room.node.height / 2 + 7 * em];
  const edges = group.selectAll(graph.kind === "dtw" ? "path" : "rect");
  group.selectAll(graph.kind === "dtw" ? "rect" : "path").remove();
  if (graph.kind === "dtw") {
    // An anti-diagonal.
    const wide = Math.max(...margin) * 1.5;
    edges.data(points.length ? [points] : []).join("path").attr("d", (all) => line()(all.length > 1 ? all : [all[0], all[0]]))
      .attr("class", "now").style("stroke-width", wide).style("stroke-linecap", "round");
    return;
  }
  const [xs, ys] = [points.map((point) => point[0]), points.map((point) => point[1])];
  edges.data([0]).join("rect").attr("class", "now").attr("rx", 14 * em)
    .attr("x", Math.min(...xs) - margin[0]).attr("width", 2 * margin[0] + Math.max(...xs) - Math.min(...xs))
    .attr("y", Math.min(...ys) - margin[1]).attr("height", 2 * margin[1] + Math.max(...ys) - Math.min(...ys));
}

function texts(group, name, data, where) {
  group.selectAll(`text.${name}`).data(data).join("text").attr("class", name).text(({ label }) => label)
    .attr("x", (item) => where(item)[0]).attr("y", (item) => where(item)[1]);
}

function nodes(group, scene, room, spot, em, on) {
  const { graph } = scene;
  const ends = new Set([0, graph.nodes.length - 1]);
  const each = group.selectAll("g.node").data(graph.nodes.map((node, place) => ({ ...node, place })), ({ key }) => key).join((enter) => {
    const added = enter.append("g");
    added.append("rect").attr("class", "under");
    added.append("rect").attr("class", "heat");
    added.append("text");
    return added;
  });
  each.order();
  each.attr("class", ({ place }) => `node ${ends.has(place) ? "edge " : ""}${scene.nodeClass(place)}`)
    .attr("data-key", ({ key }) => key)
    .attr("transform", ({ place }) => `translate(${spot(place)})`)
    .attr("role", "button").attr("aria-label", ({ place }) => scene.spoken(place))
    .on("click", (_, { place }) => on.node(place));
  each.each(function ({ place }) {
    const lines = scene.text(place);
    const small = ends.has(place) && lines.length === 1 && lines[0] === "";
    const wide = Math.max(room.node.width, ...lines.map((text) => (text.length * 8.2 + 14) * em));
    const [width, height] = small ? [14 * em, 14 * em] : [wide, room.node.height];
    select(this).selectAll("rect").attr("x", -width / 2).attr("y", -height / 2).attr("width", width).attr("height", height)
      .attr("rx", Math.min(height / 2, 15 * em));
    select(this).select(".heat").style("fill", `rgba(var(--heat), ${(0.62 * scene.fill(place)).toFixed(3)})`);
    select(this).select("text").selectAll("tspan").data(lines).join("tspan").attr("x", 0)
      .attr("y", (_, at) => (5 + 15 * (at - (lines.length - 1) / 2)) * em).text((text) => text);
  });
}

/** The two series of DTW, beside the grid and above it; their points can be dragged. */
function series(group, { graph, series: given, range: [low, high] }, room, em, on) {
  if (!given) {
    group.selectAll("*").remove();
    return;
  }
  const deep = 52 * em;
  const sides = [
    { name: "query", values: given.query, at: (place, value) => [room.left - 36 * em - ((value - low) / (high - low)) * deep, room.y(place)], value: ([x]) => low + ((room.left - 36 * em - x) / deep) * (high - low) },
    { name: "reference", values: given.reference, at: (place, value) => [room.x(place), 78 * em - ((value - low) / (high - low)) * deep], value: ([, y]) => low + ((78 * em - y) / deep) * (high - low) },
  ];
  const one = group.selectAll("g.one").data(sides, ({ name }) => name).join((enter) => {
    const added = enter.append("g").attr("class", "one");
    added.append("path");
    return added;
  });
  one.select("path").attr("class", "curve").attr("d", ({ values, at }) => line()(values.map((value, place) => at(place, value))));
  const points = one.selectAll("circle").data((side) => side.values.map((value, place) => ({ side, value, place }))).join("circle")
    .attr("class", "point").attr("r", 7 * em).attr("cx", ({ side, value, place }) => side.at(place, value)[0]).attr("cy", ({ side, value, place }) => side.at(place, value)[1])
    .attr("data-point", ({ side, place }) => `${side.name} ${place}`);
  points.call(
    drag().container(group.node().ownerSVGElement).on("drag", (event, { side, place }) => {
      const to = side.value(pointer(event.sourceEvent, group.node()));
      on.series(side.name, place, Math.max(low, Math.min(high, to)));
    }),
  );
}
