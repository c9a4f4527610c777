const SLICE_MS = 8;

/** Awaited in a long computation, gives the event loop its turn every few milliseconds. */
export function timeSlices(): () => Promise<void> {
  let since = performance.now();
  return async () => {
    if (performance.now() - since < SLICE_MS) return;
    await new Promise((resolve) => setImmediate(resolve));
    since = performance.now();
  };
}
