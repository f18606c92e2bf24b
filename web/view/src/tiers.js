// What is edited: tiers of intervals without gaps, an empty label for a pause, and every state that they were in.
const SAME = 1e-6; // seconds within which edges of two tiers are one
export const SHORTEST = 0.001; // seconds

const tidy = (time) => Number(time.toFixed(4));

export class Tiers {
  constructor(tiers) {
    this.tiers = tiers.map((tier) => ({
      ...tier,
      items: tier.items.map(([start, end, label, figures]) => ({ start, end, label, figures, edited: false })),
    }));
    this.past = [];
    this.future = [];
    this.saved = this.tiers;
  }

  get unsaved() {
    return this.tiers !== this.saved;
  }

  // The number of the interval that a moment is in; at an edge, the one that begins there.
  at(tier, time) {
    const { items } = this.tiers[tier];
    let [low, high] = [0, items.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (items[middle].start <= time + SAME) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  // The inner edge at this moment: the number of the interval that begins with it, or 0.
  edge(tier, time) {
    const place = this.at(tier, time);
    const { items } = this.tiers[tier];
    if (items.length && Math.abs(items[place].start - time) < SAME) return place;
    return 0;
  }

  // The edge before or after a moment, the ends of the recording among them.
  step(tier, time, forward) {
    const { items } = this.tiers[tier];
    if (!items.length) return time;
    const place = this.at(tier, time);
    if (forward) return items[place].end;
    return time - items[place].start > SAME ? items[place].start : items[Math.max(place - 1, 0)].start;
  }

  // The tiers that have an edge where this tier has it, of the same speaker, or this one alone.
  sharing(tier, time, alone) {
    const { speaker } = this.tiers[tier];
    return this.tiers.flatMap((other, number) => {
      if (number !== tier && (alone || other.speaker !== speaker)) return [];
      const place = this.edge(number, time);
      return place > 0 ? [{ tier: number, place }] : [];
    });
  }

  // Between which moments these edges can be.
  reach(edges) {
    const starts = edges.map(({ tier, place }) => this.tiers[tier].items[place - 1].start);
    const ends = edges.map(({ tier, place }) => this.tiers[tier].items[place].end);
    return [Math.max(...starts) + SHORTEST, Math.min(...ends) - SHORTEST];
  }

  // The tiers with these edges elsewhere; this object stays as it is.
  moved(edges, time) {
    const [first, last] = this.reach(edges);
    const there = tidy(Math.min(Math.max(time, first), last));
    return this.changed(edges.map(({ tier }) => tier), (items, tier) => {
      const { place } = edges.find((edge) => edge.tier === tier);
      const change = (item, times) => ({ ...item, ...times, figures: null, edited: true });
      items.splice(place - 1, 2, change(items[place - 1], { end: there }), change(items[place], { start: there }));
    });
  }

  renamed(tier, place, label) {
    return this.changed([tier], (items) => {
      items[place] = { ...items[place], label: label.replace(/\s+/g, " ").trim(), figures: null, edited: true };
    });
  }

  // An edge more; null where it would be too close to another.
  split(tier, time) {
    const place = this.at(tier, time);
    const item = this.tiers[tier].items[place];
    const there = tidy(time);
    if (there - item.start < SHORTEST || item.end - there < SHORTEST) return null;
    const part = { ...item, figures: null, edited: true };
    return this.changed([tier], (items) => {
      items.splice(place, 1, { ...part, end: there }, { ...part, start: there, label: "" });
    });
  }

  // An edge less.
  joined(tier, place) {
    return this.changed([tier], (items) => {
      const [before, after] = items.slice(place - 1, place + 1);
      const label = [before.label, after.label].filter((text) => text).join(" ");
      items.splice(place - 1, 2, { ...before, end: after.end, label, figures: null, edited: true });
    });
  }

  changed(numbers, change) {
    return this.tiers.map((tier, number) => {
      if (!numbers.includes(number)) return tier;
      const items = [...tier.items];
      change(items, number);
      return { ...tier, items };
    });
  }

  commit(tiers) {
    this.past.push(this.tiers);
    this.future = [];
    this.tiers = tiers;
  }

  undo() {
    if (!this.past.length) return false;
    this.future.push(this.tiers);
    this.tiers = this.past.pop();
    return true;
  }

  redo() {
    if (!this.future.length) return false;
    this.past.push(this.tiers);
    this.tiers = this.future.pop();
    return true;
  }
}
