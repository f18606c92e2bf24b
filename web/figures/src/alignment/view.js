// The stage: sound, words, phones, other readings and the heat map over one axis of time.
import { axisBottom, interpolateRgb, line, scaleLinear, select, zoom, zoomIdentity } from "d3";
import { BINS, spectrum } from "./spectrum.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const percent = (p) => (p >= 0.9995 ? "1" : p >= 0.001 ? p.toFixed(3) : p >= 1e-12 ? p.toExponential(0) : "0");

// A picture of `values` from 0 to 1, (columns, rows), whose opacity is the value.
function shaded(columns, rows, at, [red, green, blue]) {
  const canvas = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      image.data.set([red, green, blue, Math.round(255 * at(column, row))], 4 * (row * columns + column));
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

export function stage(parent, { looked, moved, chosen }) {
  let [sentence, answer, options, lay] = [null, null, null, null];
  let [heat, sound, shades] = [null, null, null];
  let [cursor, playing] = [null, null];
  let x = scaleLinear();
  let quiet = false; // while the window is set from outside
  const canvas = document.createElement("canvas");
  canvas.setAttribute("aria-hidden", "true");
  parent.append(canvas);
  const svg = select(parent).append("svg");
  const clip = svg.append("clipPath").attr("id", "inside").append("rect");
  const layer = (name) => svg.append("g").attr("class", name);
  const [titles, frames, rules, axis] = ["titles", "frames", "rules", "axis"].map(layer);
  const inside = svg.append("g").attr("clip-path", "url(#inside)");
  const [ways, items, ghosts, lines] = ["ways", "items", "ghosts", "lines"].map((name) => inside.append("g").attr("class", name));

  const behaviour = zoom()
    .filter((event) =>
      event.type === "wheel"
        ? event.ctrlKey || event.metaKey || document.documentElement.classList.contains("large")
        : !event.button,
    )
    .on("zoom", ({ transform }) => {
      x = transform.rescaleX(lay.whole);
      draw();
      if (!quiet) moved(x.domain());
    });
  select(parent).call(behaviour).on("dblclick.zoom", null);

  // Where everything is, for a width; heights follow the letters.
  function arrange() {
    const width = Math.max(300, parent.clientWidth);
    const letter = Number.parseFloat(getComputedStyle(svg.node()).fontSize);
    const left = letter * (width < 600 ? 3.6 : 6.4);
    const map = sentence.maps[options.rows];
    const high = window.parent === window ? Math.max(700, innerHeight) : 800; // a frame may be made as high as the figure
    let y = 0;
    const band = (height, gap = 5) => {
      const top = y;
      y += height + gap;
      return { top, height };
    };
    const bands = { sound: band(letter * (width < 600 ? 4.5 : 6)), words: band(letter * 2), phones: band(letter * 1.7) };
    bands.ghosts = sentence.readings.map((_, at) => at !== sentence.bestReading && band(letter * 1.35, 2));
    y += 6;
    const row = Math.max(
      options.rows === "phone" ? letter * 0.95 : 4,
      Math.min(
        letter * 1.15,
        (high * (width < 600 ? 0.45 : document.documentElement.classList.contains("large") ? 0.49 : 0.53)) / map.rows.length,
      ),
    );
    bands.heat = band(row * map.rows.length, 2);
    bands.axis = band(letter * 2.1);
    const whole = scaleLinear([0, sentence.duration], [left, width - letter]);
    lay = { width, letter, left, map, bands, height: y, whole };
    svg.attr("width", width).attr("height", y);
    clip
      .attr("x", left)
      .attr("y", 0)
      .attr("width", width - left - letter)
      .attr("height", y);
    const most = sentence.duration / 0.15;
    behaviour
      .scaleExtent([1, most])
      .extent([
        [left, 0],
        [width - letter, y],
      ])
      .translateExtent([
        [left, 0],
        [width - letter, y],
      ]);
    const ratio = devicePixelRatio || 1;
    Object.assign(canvas, { width: width * ratio, height: y * ratio });
    Object.assign(canvas.style, { width: `${width}px`, height: `${y}px` });
    titles
      .selectAll("text")
      .data([
        [options.sound, bands.sound],
        ["words", bands.words],
        ["phones", bands.phones],
        ...bands.ghosts.flatMap((one, at) => (one ? [[width < 600 ? `no. ${at + 1}` : `reading ${at + 1}`, one]] : [])),
      ])
      .join("text")
      .attr("class", "title")
      .attr("x", 0)
      .attr("y", ([, { top, height }]) => top + height / 2)
      .attr("dy", "0.36em")
      .text(([name]) => (width < 600 ? name.slice(0, 7) : name));
    frames
      .selectAll("rect")
      .data([bands.sound, bands.heat])
      .join("rect")
      .attr("class", "frame")
      .attr("x", left)
      .attr("width", width - left - letter)
      .attr("y", ({ top }) => top)
      .attr("height", ({ height }) => height);
    if (options.rows === "phone") fitRows(0, map.rows.length - 1);
  }

  // Which rows the map shows, each as high as there is space for: of a stretch, those of what is said in it.
  function fitRows(from, to) {
    const { map, bands, left, width, letter } = lay;
    if (lay.from === from && lay.to === to) return;
    const row = bands.heat.height / (to + 1 - from);
    Object.assign(lay, { from, to, row, rowY: (at) => bands.heat.top + (at - from + 0.5) * row });
    const { rows } = map;
    const shown = rows.map((_, at) => at).slice(from, to + 1);
    let named = shown.map((at) => ({ at, text: rows[at].phone }));
    if (row < letter * 0.75) {
      // Too many for their own names: the words that they belong to.
      let said = -Infinity;
      named = shown.flatMap((at) => {
        const { word } = rows[at];
        if (word === null || word < 0 || rows[at - 1]?.word === word || lay.rowY(at) - said < letter) return [];
        said = lay.rowY(at);
        return [{ at, text: sentence.words[word] }];
      });
    }
    rules
      .selectAll("text")
      .data(named)
      .join("text")
      .attr("class", "row-name")
      .attr("text-anchor", "end")
      .attr("x", left - 4)
      .attr("y", ({ at }) => lay.rowY(at))
      .attr("dy", "0.36em")
      .text(({ text }) => (width < 600 ? text.slice(0, 5) : text.slice(0, 11)));
    const borders = options.rows === "place" ? shown.slice(1).filter((at) => rows[at].word !== rows[at - 1].word) : [];
    rules
      .selectAll("line")
      .data(borders)
      .join("line")
      .attr("class", "word-rule")
      .attr("x1", left)
      .attr("x2", width - letter)
      .attr("y1", (at) => lay.rowY(at - 0.5))
      .attr("y2", (at) => lay.rowY(at - 0.5));
  }

  // Of the stretch in sight: where the best path goes, all pronunciations of those words, and what else is likely.
  function rowsInSight() {
    const { rows } = lay.map;
    const [begin, end] = x.domain();
    if (end - begin > sentence.duration - 1e-3) return [0, rows.length - 1];
    const { edge, frameAt, best } = sentence;
    const on = new Set(best.phones.filter((one) => edge(one.end) > begin && edge(one.begin) < end).map(({ at }) => at));
    const words = new Set([...on].map((at) => rows[at].word).filter((word) => word >= 0));
    rows.forEach(({ word }, at) => words.has(word) && on.add(at));
    for (let t = frameAt(begin); t <= frameAt(end); t++)
      rows.forEach((_, at) => heat.sums[t * rows.length + at] > 0.05 && on.add(at));
    return [Math.min(...on), Math.max(...on)];
  }

  function paintHeat() {
    const { frames: many, places } = sentence;
    const { rows, row } = lay.map;
    const sums = new Float32Array(many * rows.length);
    for (let t = 0; t < many; t++)
      for (let at = 0; at < places.length; at++) sums[t * rows.length + row[at]] += answer.posterior[t * places.length + at];
    heat = {
      sums,
      picture: shaded(
        many,
        rows.length,
        (t, at) => Math.min(1, sums[t * rows.length + at]),
        css("--heat").split(",").map(Number),
      ),
    };
  }

  function paintSound() {
    const { wave, rate, frames: many, edge } = sentence;
    const dark = document.documentElement.dataset.theme === "dark";
    shades ??= spectrum(wave, rate, many, (t) => (edge(t) + edge(t + 1)) / 2);
    sound = shaded(many, BINS, (t, at) => shades[t * BINS + BINS - 1 - at], dark ? [226, 233, 243] : [16, 30, 50]);
  }

  // A picture with one column a frame: frames are of one length but for the first and the last.
  function spread(context, picture, { top, height }, smooth, from = 0, to = picture.height) {
    const { frames: many, edge } = sentence;
    context.imageSmoothingEnabled = smooth;
    const place = (begin, end) =>
      context.drawImage(picture, begin, from, end - begin, to - from, x(edge(begin)), top, x(edge(end)) - x(edge(begin)), height);
    place(0, 1);
    place(1, many - 1);
    place(many - 1, many);
  }

  function draw() {
    if (options.rows === "place") fitRows(...rowsInSight());
    const { width, left, bands, row, letter, map, rowY } = lay;
    const context = canvas.getContext("2d");
    const ratio = canvas.width / width;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, lay.height);
    context.save();
    context.beginPath();
    context.rect(left, 0, width - left - letter, lay.height);
    context.clip();
    if (options.sound === "waveform") wave(context);
    else spread(context, sound, bands.sound, true);
    spread(context, heat.picture, bands.heat, false, lay.from, lay.to + 1);
    context.restore();

    const [begin, end] = x.domain();
    const { edge } = sentence;
    const seen = (list) => list.filter((item) => edge(item.end) > begin && edge(item.begin) < end);
    const colour = interpolateRgb(css("--unsure"), css("--sure"));
    const dark = document.documentElement.dataset.theme === "dark";
    const tier = (name, band, list, sure) =>
      seen(
        list.map((item, at) => ({
          ...item,
          sure: sure[at],
          kind: name,
          band,
          text: item.label ?? (item.word < 0 ? "" : item.phone),
        })),
      );
    const shown = [
      ...tier("word", bands.words, sentence.best.words, answer.words),
      ...tier("phone", bands.phones, sentence.best.phones, answer.phones).filter(({ word }) => word >= 0),
    ];
    const boxes = (into, name, data) => {
      const groups = into
        .selectAll("g")
        .data(data, ({ kind, begin }) => `${kind} ${begin}`)
        .join((enter) => {
          const g = enter.append("g");
          g.append("rect").attr("rx", 2);
          g.append("text").attr("dy", "0.36em");
          return g;
        });
      groups
        .select("rect")
        .attr("x", (d) => x(edge(d.begin)))
        .attr("width", (d) => Math.max(0.5, x(edge(d.end)) - x(edge(d.begin))))
        .attr("y", (d) => d.band.top)
        .attr("height", (d) => d.band.height);
      groups
        .select("text")
        .attr("y", (d) => d.band.top + d.band.height / 2)
        .attr("x", (d) => (Math.max(x(edge(d.begin)), left) + Math.min(x(edge(d.end)), width)) / 2)
        .text((d) => {
          const room = Math.min(x(edge(d.end)), width) - Math.max(x(edge(d.begin)), left);
          return d.text.length * letter * 0.62 < room - 2 ? d.text : "";
        });
      return groups;
    };
    const made = boxes(items, "item", shown);
    made.attr("class", (d) => `item ${d.kind} ${dark ? (d.sure > 0.6 ? "dark" : "light") : d.sure > 0.6 ? "light" : "dark"}`);
    made.select("rect").attr("fill", (d) => colour(d.sure));
    made
      .filter((d) => d.kind === "word")
      .attr("tabindex", 0)
      .attr("role", "button")
      .attr(
        "aria-label",
        (d) => `${d.text}, ${edge(d.begin).toFixed(3)} to ${edge(d.end).toFixed(3)} s, confidence ${percent(d.sure)}; plays`,
      )
      .on("click", (_, d) => chosen(d))
      .on("keydown", (event, d) => {
        if (event.key !== "Enter") return;
        event.preventDefault();
        chosen(d);
      });
    const same = new Set(sentence.best.phones.map(({ at }) => at));
    const others = sentence.readings.flatMap((reading, number) =>
      (bands.ghosts[number] ? seen(reading.phones) : [])
        .filter(({ word }) => word >= 0)
        .map((item) => ({ ...item, kind: number, band: bands.ghosts[number], text: item.phone, differs: !same.has(item.at) })),
    );
    boxes(ghosts, "ghost", others)
      .attr("class", (d) => `ghost ${d.differs ? "differs" : ""}`)
      .attr("opacity", (d) => 0.3 + 0.7 * Math.sqrt(options.readings?.[d.kind] ?? 0));

    const way = (runs) =>
      runs.flatMap(({ at, begin, end }) => [
        [x(edge(begin)), map.row[at]],
        [x(edge(end)), map.row[at]],
      ]);
    const path = line(
      ([at]) => at,
      ([, to]) => rowY(to),
    );
    const other = options.reading !== null ? sentence.readings[options.reading].phones : null;
    ways
      .selectAll("path")
      .data([
        ...(row > 8 ? [["way-under", sentence.best.phones]] : []),
        ["way best", sentence.best.phones],
        ...(other ? [["way other", other]] : []),
      ])
      .join("path")
      .attr("class", ([name]) => name)
      .attr("stroke-width", ([name]) => (name === "way-under" ? 3.2 : Math.max(0.9, Math.min(1.6, 0.25 * row))))
      .attr("d", ([, runs]) => path(way(runs)));

    axis.attr("transform", `translate(0, ${bands.axis.top})`).call(
      axisBottom(x)
        .ticks(Math.max(3, (width - left) / 90))
        .tickFormat((s) => `${+s.toFixed(3)} s`)
        .tickSizeOuter(0),
    );
    marks();
  }

  function wave(context) {
    const { wave: samples, rate } = sentence;
    const { top, height } = lay.bands.sound;
    const loud = (sentence.loud ??= samples.reduce((most, value) => Math.max(most, Math.abs(value)), 0));
    context.fillStyle = css("--accent");
    for (let px = lay.left; px < lay.width; px += 1) {
      const [from, to] = [x.invert(px), x.invert(px + 1)].map((s) => Math.round(s * rate));
      let [low, high] = [0, 0];
      for (let at = Math.max(0, from); at <= to && at < samples.length; at++)
        [low, high] = [Math.min(low, samples[at]), Math.max(high, samples[at])];
      context.fillRect(
        px,
        top + (height / 2) * (1 - (0.96 * high) / loud),
        1,
        Math.max(1, (height * 0.48 * (high - low)) / loud),
      );
    }
  }

  function marks() {
    const { bands, left, width, letter, rowY } = lay;
    const { edge } = sentence;
    const data = [];
    if (cursor) {
      const middle = x((edge(cursor.frame) + edge(cursor.frame + 1)) / 2);
      data.push(["cursor", middle, middle, 0, bands.axis.top]);
      if (cursor.row >= lay.from && cursor.row <= lay.to && cursor.row !== null)
        data.push(["cursor", left, width - letter, rowY(cursor.row), rowY(cursor.row)]);
    }
    if (playing !== null) data.push(["playing", x(playing), x(playing), 0, bands.axis.top]);
    lines
      .selectAll("line")
      .data(data)
      .join("line")
      .attr("class", ([name]) => name)
      .attr("x1", (d) => d[1])
      .attr("x2", (d) => d[2])
      .attr("y1", (d) => d[3])
      .attr("y2", (d) => d[4]);
    rules.selectAll(".row-name").classed("now", ({ at }) => cursor && at === cursor.row);
  }

  const look = (event) => {
    const { left, top } = parent.getBoundingClientRect();
    const [px, py] = [event.clientX - left, event.clientY - top];
    if (px < lay.left) return;
    const at = lay.from + Math.floor((py - lay.bands.heat.top) / lay.row);
    cursor = { frame: sentence.frameAt(x.invert(px)), row: at >= lay.from && at <= lay.to ? at : null };
    marks();
    looked(cursor);
  };
  parent.addEventListener("pointermove", look);
  parent.addEventListener("pointerdown", look);

  return {
    // Another sentence, other rows or sizes: everything anew.
    build(nextSentence, nextAnswer, nextOptions, window) {
      if (nextSentence !== sentence) shades = null;
      [sentence, answer, options] = [nextSentence, nextAnswer, nextOptions];
      arrange();
      if (cursor) cursor = { frame: Math.min(cursor.frame, sentence.frames - 1), row: null };
      paintHeat();
      paintSound();
      this.show(window);
    },
    // Another temperature.
    update(nextAnswer, nextOptions) {
      [answer, options] = [nextAnswer, nextOptions];
      paintHeat();
      draw();
    },
    refresh(nextOptions) {
      options = nextOptions;
      draw();
    },
    // Shows the stretch from `begin` to `end` seconds.
    show([begin, end]) {
      const { whole } = lay;
      const k = sentence.duration / (end - begin);
      quiet = true;
      select(parent).call(behaviour.transform, zoomIdentity.translate(whole.range()[0] - k * whole(begin), 0).scale(k));
      quiet = false;
    },
    point(frame, row) {
      cursor = frame === null ? null : { frame, row };
      marks();
    },
    play(time) {
      playing = time;
      marks();
    },
    get window() {
      return x.domain();
    },
    get cursor() {
      return cursor;
    },
    get rows() {
      return lay.map.rows;
    },
    probability: (frame, row) => heat.sums[frame * lay.map.rows.length + row],
  };
}

export { percent };
