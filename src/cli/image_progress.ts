import { formatSize } from "../layer/format.ts";

/** Time between two lines of progress. */
const INTERVAL_MILLISECONDS = 500;

/** Counts the bytes that pass and tells them on a terminal. */
export interface ImageProgress extends Disposable {
  /** Whether anybody sees it. */
  readonly shown: boolean;
  /** Says how many bytes there will be in all, about; NaN: nobody knows. */
  expect(bytes: number): void;
  add(bytes: number): void;
  of(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array>;
}

/** Progress of long work: bytes, rate and remaining time on a terminal's stderr, nothing elsewhere. */
export function watchProgress(label: string, quiet: boolean): ImageProgress {
  const started = performance.now();
  const shown = !quiet && Deno.stderr.isTerminal();
  let bytes = 0;
  let expected = NaN;
  let printed = false;
  const show = () => {
    const seconds = (performance.now() - started) / 1000;
    const line = `\r\x1b[K${label}: ${progressLine(bytes, expected, seconds)}`;
    Deno.stderr.writeSync(new TextEncoder().encode(line));
    printed = true;
  };
  const timer = shown ? setInterval(show, INTERVAL_MILLISECONDS) : undefined;
  return {
    shown,
    expect(total) {
      expected = total;
    },
    add(more) {
      bytes += more;
    },
    async *of(source) {
      for await (const chunk of source) {
        bytes += chunk.length;
        yield chunk;
      }
    },
    [Symbol.dispose]() {
      clearInterval(timer);
      if (printed) Deno.stderr.writeSync(new TextEncoder().encode("\r\x1b[K"));
    },
  };
}

/** `12MB of 40MB, 6MB/s, 5 s left`; without a total only bytes and rate. */
export function progressLine(bytes: number, expected: number, seconds: number): string {
  const rate = bytes / Math.max(0.001, seconds);
  const speed = `${formatSize(Math.round(rate))}/s`;
  if (!(expected >= bytes)) return `${formatSize(bytes)}, ${speed}`;
  const left = Math.ceil((expected - bytes) / Math.max(1, rate));
  const minutes = Math.floor(left / 60);
  const time = minutes > 0 ? `${minutes} min ${left % 60} s` : `${left} s`;
  return `${formatSize(bytes)} of ${formatSize(expected)}, ${speed}, ${time} left`;
}
