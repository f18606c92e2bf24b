// How loud each frequency is, in each frame: 25 ms under a Hann window, up to 8 kHz, in decibels below the loudest.
const POINTS = 512;
export const BINS = POINTS / 2;

function fourier(re, im) {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [re[i], re[j], im[i], im[j]] = [re[j], re[i], im[j], im[i]];
  }
  for (let size = 2; size <= n; size *= 2) {
    for (let at = 0; at < size / 2; at++) {
      const angle = (-2 * Math.PI * at) / size;
      const [c, s] = [Math.cos(angle), Math.sin(angle)];
      for (let low = at; low < n; low += size) {
        const high = low + size / 2;
        const [x, y] = [re[high] * c - im[high] * s, re[high] * s + im[high] * c];
        [re[high], im[high]] = [re[low] - x, im[low] - y];
        [re[low], im[low]] = [re[low] + x, im[low] + y];
      }
    }
  }
}

// Shades from 0 to 1, the lowest frequency first: column t is the sound around the middle of frame t.
export function spectrum(wave, rate, frames, middle) {
  const shades = new Float32Array(frames * BINS);
  const long = Math.round(rate * 0.025);
  let loudest = -Infinity;
  for (let t = 0; t < frames; t++) {
    const [re, im] = [new Float64Array(POINTS), new Float64Array(POINTS)];
    const begin = Math.round(middle(t) * rate - long / 2);
    for (let i = 0; i < long; i++) {
      const at = begin + i;
      const sharper = (wave[at] ?? 0) - 0.97 * (wave[at - 1] ?? 0);
      re[i] = sharper * (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / long));
    }
    fourier(re, im);
    for (let bin = 0; bin < BINS; bin++) {
      const level = 10 * Math.log10(re[bin] ** 2 + im[bin] ** 2 + 1e-9);
      shades[t * BINS + bin] = level;
      loudest = Math.max(loudest, level);
    }
  }
  return shades.map((level) => Math.max(0, Math.min(1, (level - loudest + 60) / 55)));
}
