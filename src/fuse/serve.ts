import { type Device, waitForWork } from "./device.ts";
import type { Session } from "./session.ts";
import { takeWake } from "./wake.ts";

/** Requests handled in a row before looking whether somebody woke us. */
const REQUESTS_PER_LOOK = 16;

/**
 * Serves a mount on the calling thread, which blocks in here: to be called in a worker. Returns when
 * the mount was unmounted or `onWake` says so.
 *
 * @param wake an eventfd ({@link createWake}); others signal it when they have something for us
 * @param onWake called after each signal; takes what came. False: serve no longer
 * @throws {TarboxError} when the device fails
 */
export function serve(
  device: Device,
  session: Session,
  wake: number,
  onWake: () => boolean,
): void {
  const counter = new BigUint64Array(1);
  let look = true;
  for (;;) {
    // Signals first, so that a busy mount cannot starve what its requests wait for.
    if (look && takeWake(wake, counter) && !onWake()) return;
    look = true;
    for (let handled = 0; handled < REQUESTS_PER_LOOK; handled++) {
      // Reading before polling saves a system call while requests come in a row.
      const request = device.receive();
      if (request === "unmounted") return;
      if (request === "none") {
        look = waitForWork(device.fd, wake);
        break;
      }
      session.handle(request);
    }
  }
}
