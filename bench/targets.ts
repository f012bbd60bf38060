/** Where workloads run: the machine's disk, two C servers over it, and Tarbox. */
import { join } from "node:path";
import { Home, run } from "./tarbox.ts";

/** What a Tarbox mount counts; see `/.tarbox/stats/mount`. */
export interface Counts {
  readonly process: number;
  readonly requests: Readonly<Record<string, number>>;
  readonly sql: {
    readonly statements: number;
    readonly roundTrips: number;
    readonly bytesSent: number;
    readonly bytesReceived: number;
  };
  readonly copiedBytes: number;
  readonly memory: { readonly residentBytes: number; readonly peakBytes: number };
}

/** A directory of one kind of file system. */
export interface Target {
  readonly name: string;
  /** Where workloads work; there while it is mounted. */
  readonly directory: string;
  mount(): Promise<void>;
  unmount(): Promise<void>;
  /** Ends everything, whatever state it is in. */
  close(): Promise<void>;
  /** What it counted by now; null for those that do not count. */
  counts(): Counts | null;
  /** Begins the measurement of peak memory anew. */
  resetPeak(): void;
}

/** The disk under the directory for temporary files, as it is. */
class Native implements Target {
  readonly name = "native";
  readonly directory: string;

  constructor(base: string) {
    this.directory = join(base, "native");
  }

  async mount(): Promise<void> {
    await Deno.mkdir(this.directory, { recursive: true });
  }

  async unmount(): Promise<void> {}
  async close(): Promise<void> {}
  counts(): null {
    return null;
  }
  resetPeak(): void {}
}

/** A C server that shows directories of the disk. */
class Stacked implements Target {
  readonly directory: string;
  readonly #command: readonly string[];
  readonly #folders: readonly string[];

  constructor(readonly name: "bindfs" | "fuse-overlayfs", base: string) {
    this.directory = join(base, name);
    const beneath = join(base, `${name}-disk`);
    const [lower, upper, work] = ["lower", "upper", "work"].map((part) => join(beneath, part));
    this.#folders = [this.directory, lower!, upper!, work!];
    this.#command = name === "bindfs" ? ["bindfs", upper!, this.directory] : [
      "fuse-overlayfs",
      "-o",
      `lowerdir=${lower},upperdir=${upper},workdir=${work}`,
      this.directory,
    ];
  }

  async mount(): Promise<void> {
    for (const folder of this.#folders) await Deno.mkdir(folder, { recursive: true });
    await run(this.#command);
  }

  async unmount(): Promise<void> {
    await run(["umount", this.directory]);
  }

  async close(): Promise<void> {
    const mounts = await Deno.readTextFile("/proc/self/mountinfo");
    if (mounts.includes(` ${this.directory} `)) await run(["umount", "-l", this.directory]);
  }

  counts(): null {
    return null;
  }
  resetPeak(): void {}
}

/** The compiled program with its embedded engine and its defaults. */
export class Tarbox implements Target {
  readonly name = "tarbox";
  readonly directory: string;
  readonly home: Home;

  constructor(binary: string, base: string) {
    this.home = new Home(binary, base, "tarbox");
    this.directory = this.home.mountPoint;
  }

  async mount(): Promise<void> {
    await this.home.mount();
  }

  async unmount(): Promise<void> {
    await this.home.unmount();
  }

  close(): Promise<void> {
    return this.home.close();
  }

  counts(): Counts {
    return JSON.parse(Deno.readTextFileSync(join(this.directory, ".tarbox/stats/mount")));
  }

  /** proc_pid_clear_refs(5): 5 sets the peak to what is resident now. */
  resetPeak(): void {
    Deno.writeTextFileSync(`/proc/${this.counts().process}/clear_refs`, "5");
  }
}

/** All targets, in the order of the table. */
export function allTargets(binary: string, base: string): Target[] {
  return [
    new Native(base),
    new Stacked("bindfs", base),
    new Stacked("fuse-overlayfs", base),
    new Tarbox(binary, base),
  ];
}

/** Everything that was done is on disk or in the database. */
export async function settle(target: Target): Promise<void> {
  const directory = await Deno.open(target.directory);
  await directory.sync();
  directory.close();
  await run(["sync"]);
}

/** Nothing of the target is cached: neither by the kernel nor by its server. */
export async function makeCold(target: Target): Promise<void> {
  await settle(target);
  await target.unmount();
  await Deno.writeTextFile("/proc/sys/vm/drop_caches", "3");
  await target.mount();
}
