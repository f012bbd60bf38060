/** The one module that reads the clock, so that tests can set it. */

let offset = BigInt(Date.now()) * 1_000_000n - BigInt(Math.round(performance.now() * 1e6));
let last = 0n;

/**
 * Nanoseconds since 1970-01-01T00:00:00Z. Never goes back within a process, follows a clock that was
 * set, and two calls may give the same value.
 */
export function nowNanoseconds(): bigint {
  let now = offset + BigInt(Math.round(performance.now() * 1e6));
  const wall = BigInt(Date.now()) * 1_000_000n;
  if (now < wall - 2_000_000n || now > wall + 2_000_000n) {
    offset += wall - now;
    now = wall;
  }
  if (now < last && last - now < 1_000_000_000n) return last;
  last = now;
  return now;
}
