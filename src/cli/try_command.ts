import { join, relative } from "node:path";
import type { Command } from "commander";
import { hex } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import { resolveHome } from "../base/home.ts";
import { compare, nameStatusLine, unifiedDiff } from "../layer/diff.ts";
import { readRecords } from "../mount/record.ts";
import { spawnDaemon } from "../mount/spawn.ts";
import { unmount } from "../mount/unmount.ts";
import { examples } from "./examples.ts";
import { onWorkspace } from "./layers_session.ts";
import type { MergeFacts } from "./layer_commands.ts";
import { colored, type GlobalOptions, type Run, type Session } from "./session.ts";

/** Mounts, enters and runs: `$0` fork's mount, `$1` what it stands for, `$2` directory to work in. */
const IN_PLACE = 'mount --bind "$0" "$1" && cd "$2" && shift 2 && exec "$@"';

type Choice = "accept" | "reject" | "keep";

interface TryOptions {
  readonly accept?: boolean;
  readonly reject?: boolean;
  readonly keep?: string;
}

/** What became of a try, as `--json` prints it. */
interface TryFacts {
  readonly status: number;
  readonly fork: string | null;
  readonly choice: Choice;
  readonly changes: number;
  readonly merge: MergeFacts | null;
}

/** `try`: a command on a fork, and then the choice what becomes of it. */
export function addTryCommand(program: Command, run: Run): void {
  program
    .command("try")
    .description(
      "run a command on a fork mounted in place, show what it changed, then accept or reject it",
    )
    .argument("<COMMAND...>", "after `--`; other processes do not see what it does")
    .option(
      "--accept",
      "merge the changes into the head if the command succeeds, else keep the fork",
    )
    .option("--reject", "forget the changes")
    .option("--keep <NAME>", "keep the changes as a workspace of that name")
    .addHelpText(
      "after",
      examples(
        "tarbox try -- make install",
        "tarbox try --accept -- npm update",
        "tarbox try --keep attempt -- ./migrate.sh",
      ),
    )
    .action((args: string[], options: TryOptions, command: Command) =>
      run(command, (session) => attempt(session, args, options, command.optsWithGlobals()))
    );
}

async function attempt(
  session: Session,
  args: readonly string[],
  options: TryOptions,
  globals: GlobalOptions,
): Promise<number> {
  const asked = Deno.stdin.isTerminal() && Deno.stdout.isTerminal();
  const given = [options.accept, options.reject, options.keep].filter((option) => option);
  if (given.length > 1 || (given.length === 0 && !asked)) {
    throw new TarboxError(
      given.length > 1 ? "try: more than one choice given" : "try: nobody is here to choose",
      "give one of --accept, --reject and --keep NAME",
      2,
    );
  }
  const name = options.keep ?? `try-${hex(crypto.getRandomValues(new Uint8Array(4)))}`;
  await onWorkspace(session, "fork", { name });
  let settled = false;
  try {
    const status = await runOnFork(session, name, args, globals);
    const changes = await showChanges(session, name);
    const choice = changes === 0 && options.keep === undefined
      ? "reject"
      : options.keep !== undefined
      ? "keep"
      : options.reject
      ? "reject"
      : options.accept
      ? (status === 0 ? "accept" : "keep")
      : ask();
    const merge = choice === "accept"
      ? await onWorkspace(session, "merge", { ref: `${name}/head` }) as MergeFacts
      : null;
    const kept = choice === "keep" || (merge !== null && merge.conflicts.length > 0);
    if (!kept) await forget(session, name);
    settled = true;
    await tellOutcome(session, { status, fork: kept ? name : null, choice, changes, merge });
    return status !== 0 ? status : merge !== null && merge.conflicts.length > 0 ? 1 : 0;
  } finally {
    if (!settled) console.error(`the fork is kept: workspace ${name}`);
  }
}

/** Mounts the fork, runs the command in it and unmounts it. @returns the command's exit status */
async function runOnFork(
  session: Session,
  name: string,
  args: readonly string[],
  globals: GlobalOptions,
): Promise<number> {
  const home = resolveHome();
  const records = await readRecords(home);
  const cwd = Deno.cwd();
  const places = records.map(({ record }) => record).filter((record) =>
    record.workspace === session.workspace && record.tenant === session.store.tenant
  );
  const inside = (directory: string) => cwd === directory || cwd.startsWith(`${directory}/`);
  const place = places.find(({ directory }) => inside(directory)) ?? places[0];
  const directory = join(home, "try", name);
  await Deno.mkdir(directory, { recursive: true });
  try {
    await spawnDaemon({
      home,
      directory: await Deno.realPath(directory),
      config: globals.config ?? null,
      tenant: globals.tenant,
      workspace: name,
      readOnly: false,
      at: null,
      allowOther: Deno.uid() === 0,
      noatime: false,
    });
    try {
      if (place === undefined) return await runIn(directory, args);
      const target = inside(place.directory) ? place.directory : places[0]!.directory;
      const work = inside(target) ? join(target, relative(target, cwd)) : target;
      const bind = ["sh", "-c", IN_PLACE, directory, target, work];
      return await runIn("/", [...privateMounts(bind), ...asSelf(), ...args]);
    } finally {
      await unmount(home, directory, false);
    }
  } finally {
    await Deno.remove(directory).catch(() => {});
  }
}

/** A command in a mount namespace of its own; without root in a user namespace, too. */
function privateMounts(command: readonly string[]): string[] {
  const user = Deno.uid() === 0 ? [] : ["--user", "--map-root-user"];
  return ["unshare", ...user, "--mount", "--propagation", "private", "--", ...command];
}

/** Whoever mounted as the root of a user namespace is himself again for the command. */
function asSelf(): string[] {
  if (Deno.uid() === 0) return [];
  const [uid, gid] = [Deno.uid(), Deno.gid()];
  return ["unshare", "--user", `--map-user=${uid}`, `--map-group=${gid}`, "--"];
}

async function runIn(cwd: string, [program, ...args]: readonly string[]): Promise<number> {
  try {
    const child = new Deno.Command(program!, { args, cwd, stdin: "inherit" }).spawn();
    return (await child.status).code;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    console.error(`tarbox: try: ${program} is not there`);
    return 127;
  }
}

/** Prints what the fork changed. @returns how many paths */
async function showChanges(session: Session, name: string): Promise<number> {
  const { store } = session;
  const row = (await store.workspace(name))!;
  const base = row.base === null ? null : await store.layer(row.base);
  const compared = await compare(store, {
    from: { point: base?.point ?? null, label: base?.name ?? "empty" },
    to: { point: row.head, label: name },
  });
  if (session.json) return compared.changes.length;
  if (session.quiet) {
    for (const change of compared.changes) await session.out(nameStatusLine(change));
  } else {
    const color = colored();
    for await (const part of unifiedDiff(store, compared, { color })) await session.out(part);
  }
  return compared.changes.length;
}

function ask(): Choice {
  for (;;) {
    const answer = prompt("accept, reject or keep the changes? [a/r/k]")?.trim().toLowerCase();
    if (answer === undefined) return "keep";
    for (const choice of ["accept", "reject", "keep"] as const) {
      if (answer !== "" && choice.startsWith(answer)) return choice;
    }
  }
}

async function forget(session: Session, name: string): Promise<void> {
  const row = await session.store.workspace(name);
  if (row !== null) await session.store.deleteWorkspace(row.id);
}

async function tellOutcome(session: Session, facts: TryFacts): Promise<void> {
  if (session.json) return await session.out(`${JSON.stringify(facts, null, 2)}\n`);
  const { fork, choice, changes, merge, status } = facts;
  for (const { path, why, file } of merge?.conflicts ?? []) {
    await session.out(`conflict ${path}: ${why}${file === null ? "" : `; see ${file}`}\n`);
  }
  if (session.quiet) return;
  const ended = status === 0 ? "" : `the command ended with status ${status}; `;
  const outcome = changes === 0
    ? "nothing changed"
    : choice === "accept"
    ? `accepted: ${merge!.actions.length} paths taken`
    : choice === "reject"
    ? "rejected"
    : "kept";
  const where = fork === null ? "" : ` (workspace ${fork})`;
  await session.out(`${ended}${outcome}${where}\n`);
}
