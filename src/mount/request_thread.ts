import { Eventfd } from "../fuse/eventfd.ts";
import { type MountCounts, newCounts, readCounts } from "./counts.ts";
import { type ToMain, type ToWorker, unwrap, type WorkerStart, wrap } from "./messages.ts";

/** The thread that answers the kernel, seen from the main thread. */
export class RequestThread {
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #wake = new Eventfd();

  /** Called with each message of the thread. Set before {@link RequestThread.start}. */
  onMessage: (message: ToMain) => void = () => {};
  /** Called when the thread died of an error of its own. */
  onError: (message: string) => void = () => {};

  readonly #start: WorkerStart;

  constructor(start: Omit<WorkerStart, "wakeDescriptor" | "counts">) {
    this.#start = { ...start, wakeDescriptor: this.#wake.descriptor, counts: newCounts() };
    const channel = new MessageChannel();
    this.#port = channel.port1;
    this.#port.onmessage = (event) => this.onMessage(unwrap<ToMain>(event.data));
    this.#worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.onError(event.message);
    };
    this.#worker.onmessage = () => {
      this.#worker.postMessage({ start: this.#start, port: channel.port2 }, [channel.port2]);
    };
  }

  /** Sends a message and wakes the thread from its poll(2). */
  send(message: ToWorker, transfer: Transferable[] = []): void {
    this.#port.postMessage(wrap(message), transfer);
    this.#wake.signal();
  }

  /** What the mount did by now. */
  counts(): MountCounts {
    return readCounts(this.#start.counts);
  }

  /** Ends the thread at once. */
  terminate(): void {
    this.#worker.terminate();
    this.#port.close();
    this.#wake.close();
  }
}
