import type { Device } from "./device.ts";
import { Eventfd } from "./eventfd.ts";
import { pollReadable } from "./libc.ts";
import type { Session } from "./session.ts";

/** Requests handled in a row before looking whether somebody woke us. */
const REQUESTS_PER_LOOK = 16;

/** What the owner of a loop does between requests. */
export interface LoopOwner {
  /** An {@link Eventfd}, signalled by other threads when they have something for this one. */
  readonly wakeDescriptor: number;
  /**
   * Does what is due by time.
   * @returns milliseconds until it must be called again; null: not before the next request or wake.
   * Called before each wait, and at least once in 16 requests
   */
  timeout(): number | null;
  /** Takes what others sent; called after a signal, which has been taken. */
  onWake(): void;
  /** Whether to serve no longer. */
  stop(): boolean;
}

/**
 * Serves a mount on the calling thread, which blocks in here: to be called in a worker. Returns when
 * the mount was unmounted, or when `owner.stop()` says so.
 * @throws {TarboxError} when the device fails
 */
export function serveLoop(device: Device, session: Session, owner: LoopOwner): void {
  const wake = Eventfd.of(owner.wakeDescriptor);
  const polled = [device.fd, wake.descriptor];
  let look = true;
  for (;;) {
    // Signals first, so that a busy mount cannot starve what its requests wait for.
    if (look && wake.clear()) owner.onWake();
    if (owner.stop()) return;
    look = true;
    let handled = 0;
    for (; handled < REQUESTS_PER_LOOK; handled++) {
      // Reading before polling saves a system call while requests come in a row.
      const request = device.receive();
      if (request === "unmounted") return;
      if (request === "none") break;
      session.handle(request);
      if (owner.stop()) return;
    }
    const due = [owner.timeout(), session.endDying(performance.now())].filter((ms) => ms !== null);
    const timeout = due.length === 0 ? -1 : Math.min(...due);
    if (handled < REQUESTS_PER_LOOK) look = pollReadable(polled, timeout)[1]!;
  }
}
