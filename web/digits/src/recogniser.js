// A step model of semihmm.export in onnxruntime-web: features in, posteriors and states out, and what it knows carried
// from one chunk to the next.
import * as ort from "./ort.wasm.min.mjs";

ort.env.wasm.numThreads = 1; // so that any server will do: threads take headers of their own
ort.env.wasm.wasmPaths = new URL(".", import.meta.url).href;

const ARRAYS = { int64: BigInt64Array, float64: Float64Array, float32: Float32Array };

export class Recogniser {
  static async load(address) {
    return new Recogniser(await ort.InferenceSession.create(address, { executionProviders: ["wasm"], logSeverityLevel: 3 }));
  }

  constructor(session) {
    this.session = session;
    this.begin();
  }

  /** Forget all that was heard: a carry of zeros. */
  begin() {
    this.carry = {};
    for (const { name, type, shape } of this.session.inputMetadata) {
      if (name === "x" || name === "lengths") continue;
      const sizes = shape.map((size) => (typeof size === "number" ? size : 1)); // of one stream
      const count = sizes.reduce((product, size) => product * size, 1);
      this.carry[name] = new ort.Tensor(type, new ARRAYS[type](count), sizes);
    }
  }

  /** What frames bring: an array for each, of the probabilities of states; the path's states `lag` frames ago; its tail. */
  async push(frames) {
    const count = frames.length;
    const x = new Float32Array(count * frames[0].length);
    frames.forEach((frame, place) => x.set(frame, place * frame.length));
    const feeds = {
      x: new ort.Tensor("float32", x, [1, count, frames[0].length]),
      lengths: new ort.Tensor("int64", BigInt64Array.of(BigInt(count)), [1]),
      ...this.carry,
    };
    const found = await this.session.run(feeds);
    for (const name of Object.keys(this.carry)) this.carry[name] = found[`next_${name}`];
    const width = found.filtered.dims[2];
    return {
      filtered: frames.map((_, t) => found.filtered.data.slice(t * width, (t + 1) * width)),
      logProb: Array.from(found.log_prob.data),
      states: Array.from(found.states.data, Number),
      tail: Array.from(found.tail.data, Number),
    };
  }
}
