// Mel-frequency cepstra and their differences, as semihmm.speech.FrontEnd computes them of a whole recording: here block
// by block. Its tables come from Python, in model.json.

export class FrontEnd {
  constructor(tables) {
    Object.assign(this, tables);
    this.reach = Math.max(0, ...this.differences.map((weights) => weights.length >> 1));
    this.pending = []; // samples, emphasised, of windows that are not full
    this.before = null; // the sample before them
    this.held = []; // the latest cepstra: those that a difference may look at
    this.re = new Float64Array(this.size);
    this.im = new Float64Array(this.size);
  }

  /** The features that samples in [-1, 1] complete: a Float32Array for each frame. */
  push(samples) {
    for (const sample of samples) {
      const heard = this.scale * sample;
      this.pending.push(this.before === null ? heard : heard - this.emphasis * this.before);
      this.before = heard;
    }
    const found = [];
    let first = 0;
    for (; first + this.window <= this.pending.length; first += this.shift) found.push(...this.follow(this.cepstrum(first)));
    this.pending.splice(0, first);
    return found;
  }

  /** The features of the last frames, behind which the last one is repeated. */
  end() {
    const last = this.held.at(-1);
    return last ? Array.from({ length: this.reach }, () => this.follow(last)).flat() : [];
  }

  cepstrum(first) {
    this.re.fill(0);
    this.im.fill(0);
    for (let i = 0; i < this.window; i++) this.re[i] = this.pending[first + i] * this.shape[i];
    transform(this.re, this.im);
    const logs = this.filters.map((filter) => {
      let sum = 0;
      filter.forEach((weight, bin) => (sum += weight * (this.re[bin] ** 2 + this.im[bin] ** 2)));
      return Math.log(sum + this.offset);
    });
    return this.cosines.map((row) => row.reduce((sum, weight, band) => sum + weight * logs[band], 0));
  }

  /** What a cepstrum completes: the features of the frame `reach` before it. */
  follow(cepstrum) {
    const copies = this.held.length ? 1 : this.reach + 1; // before the first one, it is repeated
    for (let i = 0; i < copies; i++) this.held.push(cepstrum);
    if (this.held.length <= 2 * this.reach) return [];
    const blocks = this.differences.map((weights) => {
      const from = this.reach - (weights.length >> 1);
      return cepstrum.map((_, c) => weights.reduce((sum, weight, i) => sum + weight * this.held[from + i][c], 0));
    });
    const features = Float32Array.from([this.held[this.reach], ...blocks].flat());
    this.held.shift();
    return [features];
  }
}

/** Fourier's transform, in place, of as many numbers as a power of 2 (Cooley and Tukey 1965). */
function transform(re, im) {
  const size = re.length;
  for (let i = 1, j = 0; i < size; i++) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j], re[i]];
      [im[i], im[j]] = [im[j], im[i]];
    }
  }
  for (let half = 1; half < size; half *= 2) {
    for (let k = 0; k < half; k++) {
      const cos = Math.cos((Math.PI * k) / half);
      const sin = -Math.sin((Math.PI * k) / half);
      for (let i = k; i < size; i += 2 * half) {
        const j = i + half;
        const x = re[j] * cos - im[j] * sin;
        const y = re[j] * sin + im[j] * cos;
        re[j] = re[i] - x;
        im[j] = im[i] - y;
        re[i] += x;
        im[i] += y;
      }
    }
  }
}
