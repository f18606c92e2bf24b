// The waveform with what is laid over it, by wavesurfer.js: samples from the page, or the outline and a file beside it.
import WaveSurfer from "wavesurfer.js";
import Regions from "wavesurfer.js/dist/plugins/regions.js";
import Spectrogram from "wavesurfer.js/dist/plugins/spectrogram.js";
import { fromBase64 } from "./element.js";
import { colour } from "./theme.js";

const LONG = 60; // seconds, from where on only what is in sight of the spectrogram is computed
const [WAVE, SPECTROGRAM] = [88, 120]; // pixels high

// Shades of one colour, from nothing to all of it.
function ramp() {
  const [red, green, blue] = colour("spectrum").match(/\d+/g).map((part) => part / 255);
  return Array.from({ length: 256 }, (_, level) => [red, green, blue, level / 255]);
}

export function waveform(container, sheet, pixels) {
  const { sound, duration } = sheet;
  const regions = Regions.create();
  const plugins = [regions];
  if (sound?.flac) {
    const window = 2 ** Math.round(Math.log2(0.014 * sound.rate)); // samples in some 14 ms: pulses of a voice are seen
    plugins.push(
      Spectrogram.create({
        height: SPECTROGRAM,
        fftSamples: window,
        fftSize: 2 * window,
        windowFunc: "hann",
        scale: "linear",
        frequencyMax: Math.min(8000, sound.rate / 2),
        preEmphasis: 6,
        rangeDB: 55,
        colorMap: ramp(),
        ...(duration > LONG ? { rendering: "windowed", gainDB: 35 } : { autoGain: true }),
      }),
    );
  }
  const surfer = WaveSurfer.create({
    container,
    plugins,
    height: WAVE,
    minPxPerSec: pixels,
    waveColor: colour("wave"),
    progressColor: colour("wave"),
    cursorColor: colour("cursor"),
    cursorWidth: 2,
    normalize: true,
    autoCenter: false,
    sampleRate: sound?.rate ?? 8000,
  });
  return { surfer, regions };
}

export async function load(surfer, { sound, duration }) {
  if (sound?.flac) await surfer.loadBlob(new Blob([fromBase64(sound.flac)], { type: "audio/flac" }));
  else if (sound) {
    const outline = Float32Array.from(new Int8Array(fromBase64(sound.outline).buffer), (value) => value / 127);
    await surfer.load(sound.address, [outline], duration);
  } else await surfer.load("", [new Float32Array(2)], duration);
}
