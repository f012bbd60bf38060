/** Advisory locks between processes (man 2 fcntl, flock). The other process is perl's. */
import assert from "node:assert/strict";
import type { PosixCheck } from "./check.ts";
import { put } from "./syscalls.ts";

/** Numbers of F_OFD_SETLK and what is packed as `struct flock`. */
const PERL = String.raw`
use strict; use Fcntl qw(:flock :DEFAULT F_SETLK F_SETLKW F_GETLK); $| = 1;
sub range { my ($type, $start, $length) = @_; pack('s s x4 q q i x4', $type, 0, $start, $length, 0) }
sub lock_range { my ($file, $command, @range) = @_; fcntl($file, $command, range(@range)) }
sub said { print(($_[0] ? "ok" : 0 + $!), "\n") }
`;
const F_OFD_SETLK = 37;
const EAGAIN = "11";
const EINTR = "4";
const EDEADLK = "35";

/** Another process that has begun; `said` is its next line. */
class Other {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;
  #rest = "";

  constructor(script: string, file: string) {
    this.#child = new Deno.Command("perl", {
      args: ["-e", PERL + script, file],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.#stdin = this.#child.stdin.getWriter();
  }

  async said(): Promise<string> {
    while (!this.#rest.includes("\n")) {
      const { value, done } = await this.#lines.read();
      if (done) throw new Error("the other process ended");
      this.#rest += value;
    }
    const at = this.#rest.indexOf("\n");
    const line = this.#rest.slice(0, at);
    this.#rest = this.#rest.slice(at + 1);
    return line;
  }

  async goOn(): Promise<void> {
    await this.#stdin.write(new TextEncoder().encode("\n"));
  }

  /** Waits until it sleeps in the kernel, in a lock. */
  async blocked(): Promise<void> {
    for (let turn = 0; turn < 2000; turn++) {
      const call = await Deno.readTextFile(`/proc/${this.#child.pid}/syscall`);
      const number = call.split(" ")[0];
      // fcntl and flock, of x86_64 and of arm64.
      if (["72", "73", "25", "32"].includes(number!)) return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    throw new Error("the other process does not wait for its lock");
  }

  signal(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  async end(): Promise<void> {
    await this.#stdin.close().catch(() => {});
    await this.#lines.cancel();
    await this.#child.status;
  }
}

const OPEN = 'open(my $file, "+<", $ARGV[0]) or die;';

/** Runs scripts as processes that work on one file, and sees that they end. */
async function withOthers(
  dir: string,
  scripts: readonly string[],
  run: (...others: Other[]) => Promise<void>,
): Promise<void> {
  put(`${dir}/f`, "content");
  const others = scripts.map((script) => new Other(script, `${dir}/f`));
  try {
    await run(...others);
  } finally {
    for (const other of others) await other.end();
  }
}

const HOLD = `${OPEN} said(lock_range($file, F_SETLKW, F_WRLCK, 10, 10)); <STDIN>;`;

export const LOCK_CHECKS: readonly PosixCheck[] = [
  {
    name: "a record lock keeps others out of its range alone, and ends with its process",
    run: (dir) =>
      withOthers(dir, [
        HOLD,
        `${OPEN} <STDIN>; said(lock_range($file, F_SETLK, F_WRLCK, 19, 1));
         said(lock_range($file, F_SETLK, F_WRLCK, 20, 1)); <STDIN>;
         said(lock_range($file, F_SETLKW, F_WRLCK, 0, 0)); <STDIN>;`,
      ], async (holder, other) => {
        assert.equal(await holder!.said(), "ok");
        await other!.goOn();
        assert.equal(await other!.said(), EAGAIN);
        assert.equal(await other!.said(), "ok");
        await other!.goOn();
        await other!.blocked();
        holder!.signal("SIGKILL");
        assert.equal(await other!.said(), "ok");
      }),
  },
  {
    name: "a wait for a lock ends with EINTR by a signal, and at once by SIGKILL",
    async run(dir) {
      for (const lock of ["lock_range($file, F_SETLKW, F_WRLCK, 0, 0)", "flock($file, LOCK_EX)"]) {
        const hold = `${OPEN} said(${lock}); <STDIN>;`;
        const wait = `${OPEN} use POSIX qw(sigaction SIGUSR1);
          POSIX::sigaction(SIGUSR1, POSIX::SigAction->new(sub {})) or die;
          <STDIN>; said(${lock}); said(${lock});`;
        await withOthers(dir, [hold, wait], async (holder, waiter) => {
          assert.equal(await holder!.said(), "ok");
          await waiter!.goOn();
          await waiter!.blocked();
          waiter!.signal("SIGUSR1");
          assert.equal(await waiter!.said(), EINTR);
          await waiter!.blocked();
          waiter!.signal("SIGKILL");
        });
      }
    },
  },
  {
    name: "two that wait for each other are told EDEADLK",
    run: (dir) => {
      const script = (first: number, second: number) =>
        `${OPEN} said(lock_range($file, F_SETLKW, F_WRLCK, ${first}, 1)); <STDIN>;
         said(lock_range($file, F_SETLKW, F_WRLCK, ${second}, 1)); <STDIN>;`;
      return withOthers(dir, [script(0, 1), script(1, 0)], async (one, other) => {
        assert.equal(await one!.said(), "ok");
        assert.equal(await other!.said(), "ok");
        await one!.goOn();
        await one!.blocked();
        await other!.goOn();
        assert.equal(await other!.said(), EDEADLK);
        other!.signal("SIGKILL");
        assert.equal(await one!.said(), "ok");
      });
    },
  },
  {
    name: "closing any descriptor of a file drops its process's record locks, not flock",
    run: (dir) =>
      withOthers(dir, [
        `${OPEN} said(lock_range($file, F_SETLKW, F_WRLCK, 0, 0)); said(flock($file, LOCK_EX));
         open(my $second, "<", $ARGV[0]) or die; close($second); said(1); <STDIN>;`,
        `${OPEN} <STDIN>; said(lock_range($file, F_SETLK, F_WRLCK, 0, 0));
         said(flock($file, LOCK_EX | LOCK_NB)); <STDIN>;`,
      ], async (holder, other) => {
        for (let i = 0; i < 3; i++) assert.equal(await holder!.said(), "ok");
        await other!.goOn();
        assert.equal(await other!.said(), "ok");
        assert.equal(await other!.said(), EAGAIN);
      }),
  },
  {
    name: "a lock of an open file description lives until that is closed",
    run: (dir) =>
      withOthers(dir, [
        `${OPEN} said(lock_range($file, ${F_OFD_SETLK}, F_WRLCK, 0, 0));
         open(my $second, "<", $ARGV[0]) or die; close($second); said(1); <STDIN>;
         close($file); said(1); <STDIN>;`,
        `${OPEN} <STDIN>; said(lock_range($file, F_SETLK, F_RDLCK, 0, 0)); <STDIN>;
         said(lock_range($file, F_SETLKW, F_RDLCK, 0, 0)); <STDIN>;`,
      ], async (holder, other) => {
        assert.equal(await holder!.said(), "ok");
        assert.equal(await holder!.said(), "ok");
        await other!.goOn();
        assert.equal(await other!.said(), EAGAIN);
        await holder!.goOn();
        assert.equal(await holder!.said(), "ok");
        await other!.goOn();
        assert.equal(await other!.said(), "ok");
      }),
  },
];
