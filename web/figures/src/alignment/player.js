// Plays a stretch of a wave; `told` hears where it is, every frame of the screen, and null at the end.
export function player(told) {
  let [context, source, timer] = [null, null, null];
  const stop = () => {
    cancelAnimationFrame(timer);
    source?.stop();
    source = null;
    told(null);
  };
  return {
    get busy() {
      return source !== null;
    },
    stop,
    play(wave, rate, begin, end) {
      if (source) stop();
      context ??= new AudioContext();
      context.resume();
      const buffer = context.createBuffer(1, wave.length, rate);
      buffer.copyToChannel(wave, 0);
      source = new AudioBufferSourceNode(context, { buffer });
      source.connect(context.destination);
      source.start(0, begin, end - begin);
      const start = context.currentTime;
      const follow = () => {
        const now = begin + context.currentTime - start;
        if (now >= end) return stop();
        told(now);
        timer = requestAnimationFrame(follow);
      };
      follow();
    },
  };
}
