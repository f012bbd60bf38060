/** Serves {@link TestingFileSystem} on a descriptor, in a worker: what the mount test starts. */
import { Device } from "./device.ts";
import { serveLoop } from "./loop.ts";
import { Session } from "./session.ts";
import { TestingFileSystem } from "./testing_filesystem.ts";

declare const self: {
  onmessage: (event: { data: { device: number; wake: number } }) => void;
  postMessage(message: unknown): void;
};

self.onmessage = ({ data: { device: fd, wake } }) => {
  const device = new Device(fd);
  const broken: string[] = [];
  const waiter = {
    // Nothing that a test waits for ever comes: a wait ends by INTERRUPT only.
    start: () => self.postMessage("waiting"),
  };
  const fileSystem = new TestingFileSystem();
  const session = new Session(device, fileSystem, waiter, {
    negativeSeconds: 1000,
    onBroken: (error) => broken.push(String(error)),
  });
  let stop = false;
  serveLoop(device, session, {
    wakeDescriptor: wake,
    timeout: () => null,
    onWake: () => {
      stop = true;
    },
    stop: () => stop,
  });
  const { parked, agreement } = session;
  const lookups = fileSystem.calls.filter(([name]) => name === "lookup").map((call) => call[2]);
  self.postMessage({ broken, parked, lookups, minor: agreement?.minor ?? null });
};
