import { startRequests } from "./serving.ts";
import type { WorkerStart } from "./messages.ts";

/** Entry of the request thread: waits for what to serve, then blocks in its loop until the end. */
self.onmessage = (event: MessageEvent<{ start: WorkerStart; port: MessagePort }>) => {
  startRequests(event.data.start, event.data.port);
};
self.postMessage("ready");

declare const self: DedicatedWorkerGlobalScope;
interface DedicatedWorkerGlobalScope {
  onmessage: ((event: MessageEvent) => void) | null;
  postMessage(message: unknown): void;
}
