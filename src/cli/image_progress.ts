import { formatSize } from "../layer/format.ts";

/** Time between two lines of progress. */
const INTERVAL_MILLISECONDS = 500;

/** Counts the bytes that pass and tells them on a terminal. */
export interface ImageProgress extends Disposable {
  of(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array>;
}

/** Progress of long work: bytes and rate on a terminal's stderr, nothing elsewhere. */
export function watchProgress(label: string, quiet: boolean): ImageProgress {
  const started = performance.now();
  let bytes = 0;
  let shown = false;
  const show = () => {
    const rate = bytes / Math.max(0.001, (performance.now() - started) / 1000);
    const line = `\r\x1b[K${label}: ${formatSize(bytes)}, ${formatSize(Math.round(rate))}/s`;
    Deno.stderr.writeSync(new TextEncoder().encode(line));
    shown = true;
  };
  const timer = !quiet && Deno.stderr.isTerminal()
    ? setInterval(show, INTERVAL_MILLISECONDS)
    : undefined;
  return {
    async *of(source) {
      for await (const chunk of source) {
        bytes += chunk.length;
        yield chunk;
      }
    },
    [Symbol.dispose]() {
      clearInterval(timer);
      if (shown) Deno.stderr.writeSync(new TextEncoder().encode("\r\x1b[K"));
    },
  };
}
