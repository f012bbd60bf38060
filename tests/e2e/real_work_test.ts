import { join } from "node:path";
import { Installation } from "./installation.ts";
import { assertSameTree, wholeTree } from "./whole_tree.ts";

/** More than 5,000 files together. */
const PACKAGES = ["typescript@5.6.3", "lodash@4.17.21", "date-fns@4.1.0"];

const PROGRAM = `import { chunk } from "lodash";
import { addDays } from "date-fns";
const parts: number[][] = chunk([1, 2, 3], 2);
console.log(JSON.stringify(parts), addDays(new Date(0), 1).toISOString());
`;

/** Entries of every kind, with names and attributes that tools seldom make. */
const ODD_ENTRIES = String.raw`
mkdir odd && cd odd
printf content > file
ln file 'hard link'; ln -s file symlink; ln -s /nowhere/at/all dangling
mkfifo fifo; mknod null c 1 3
mkdir sticky && chmod 1777 sticky
chmod 6751 file; chown 1234:5678 file; chown -h 42:43 symlink
setfattr -n user.empty -v '' file
setfattr -n user.binary -v 0x00ff0a0d3d file
setfattr -n trusted.note -v root file
setfattr -h -n trusted.onlink -v yes symlink
setfattr -n user.dir -v sticky sticky
touch -d '1969-12-31 23:59:58.999999999 UTC' before-1970
touch -d '2245-01-02 03:04:05.123456789 UTC' sticky
touch -h -d '2001-02-03 04:05:06.000000007 UTC' symlink
truncate -s 1G sparse; printf x | dd of=sparse bs=1 seek=500000001 conv=notrunc status=none
head -c 3000000 /dev/urandom > blocks
: > "$(printf 'line\nbreak \377\376')"
mkdir -p a/b/c/d/e/f/g
`;

/** Git without anybody's settings. */
const GIT = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "gc.auto=0"];

Deno.test("npm, git and tsc work in a mount, and everything is there after a restart", async () => {
  const tarbox = await Installation.create();
  try {
    await tarbox.tarbox("mount", "--create", tarbox.mountPoint);
    const project = join(tarbox.mountPoint, "project");
    await Deno.mkdir(project);
    await Deno.writeTextFile(join(project, "package.json"), '{"name":"work","version":"1.0.0"}\n');
    await tarbox.run(project, "npm", "install", "--no-audit", "--no-fund", ...PACKAGES);
    const files = (await tarbox.run(project, "find", ".", "-type", "f")).trim().split("\n").length;
    if (files < 5_000) throw new Error(`only ${files} files were installed`);

    const git = (...args: string[]) => tarbox.run(project, "git", ...GIT, ...args);
    const assertClean = async () => {
      const status = await git("status", "--porcelain");
      if (status !== "") throw new Error(`git status is not clean:\n${status}`);
      const lost = await git("fsck", "--full", "--strict");
      if (/missing|dangling|corrupt/.test(lost)) throw new Error(`git fsck: ${lost}`);
    };
    await git("init", "-q");
    await git("add", "-A");
    await git("commit", "-q", "-m", "everything");
    await assertClean();

    await Deno.writeTextFile(join(project, "main.ts"), PROGRAM);
    const tsc = join(project, "node_modules/.bin/tsc");
    await tarbox.run(
      project,
      tsc,
      "--strict",
      "--skipLibCheck",
      "--noImplicitAny",
      "false",
      "main.ts",
    );
    const printed = await tarbox.run(project, "node", "main.js");
    if (printed !== "[[1,2],[3]] 1970-01-02T00:00:00.000Z\n") throw new Error(printed);
    await git("add", "-A");
    await git("commit", "-q", "-m", "a program");
    await tarbox.run(tarbox.mountPoint, "/bin/sh", "-ec", ODD_ENTRIES);

    const before = await wholeTree(tarbox.mountPoint, "contents-first");
    await tarbox.tarbox("umount", tarbox.mountPoint);
    await tarbox.tarbox("db", "stop");
    if (tarbox.processes().length > 0) {
      throw new Error(`still running: ${JSON.stringify(tarbox.processes())}`);
    }
    await tarbox.tarbox("fsck");
    await tarbox.tarbox("mount", tarbox.mountPoint);
    assertSameTree(before, await wholeTree(tarbox.mountPoint, "contents-last"));
    await assertClean();
  } finally {
    await tarbox.remove();
  }
});
