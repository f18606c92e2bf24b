/**
 * `f`, but no more than once in `pause` milliseconds, the last call always: browsers refuse to change an address too often.
 * The returned function has `now()`, which makes a call that waits.
 */
export function seldom(f, pause = 350) {
  let timer = null;
  const now = () => {
    if (timer === null) return;
    clearTimeout(timer);
    timer = null;
    f();
  };
  return Object.assign(() => (timer ??= setTimeout(now, pause)), { now });
}
