/**
 * Programs that rely on locks, mappings and renames: SQLite with several writers, make with a
 * compiler, cp.
 */
import assert from "node:assert/strict";
import { type Mounted, run, withMounted } from "./mounted.ts";

/** Rows that each writer inserts, one transaction each. */
const ROWS = 25;
const WRITERS = 4;

const MAKEFILE = `OBJECTS = a.o b.o main.o
program: $(OBJECTS)
\tcc -o $@ $(OBJECTS)
lib.a: $(OBJECTS)
\tar rcs $@ $(OBJECTS)
%.o: %.c all.h
\tcc -c -o $@ $<
`;

async function sh(directory: string, script: string): Promise<string> {
  const said = await run(["/bin/sh", "-ec", `cd "$0"; ${script}`, directory], {});
  assert.equal(said.code, 0, said.err);
  return said.out;
}

async function sqlite({ directory, tarbox }: Mounted): Promise<void> {
  for (const mode of ["wal", "delete"]) {
    await sh(
      directory,
      `sqlite3 ${mode}.db 'PRAGMA journal_mode=${mode}; CREATE TABLE t(writer INT, n INT, text BLOB);'`,
    );
    const writer = (id: number) => {
      const inserts = Array.from(
        { length: ROWS },
        (_, n) => `BEGIN IMMEDIATE; INSERT INTO t VALUES(${id}, ${n}, randomblob(3000)); COMMIT;`,
      );
      return sh(directory, `sqlite3 -cmd '.timeout 120000' ${mode}.db '${inserts.join(" ")}'`);
    };
    await Promise.all(Array.from({ length: WRITERS }, (_, id) => writer(id)));
  }
  const check = async () => {
    for (const mode of ["wal", "delete"]) {
      const said = await sh(
        directory,
        `sqlite3 ${mode}.db 'PRAGMA integrity_check; SELECT count(*), count(DISTINCT n) FROM t;'`,
      );
      assert.equal(said, `ok\n${ROWS * WRITERS}|${ROWS}\n`, mode);
    }
  };
  await check();
  assert.equal((await tarbox("umount", directory)).code, 0);
  assert.equal((await tarbox("mount", directory)).code, 0);
  await check();
}

async function make({ directory }: Mounted): Promise<void> {
  await Deno.writeTextFile(`${directory}/Makefile`, MAKEFILE);
  await Deno.writeTextFile(`${directory}/all.h`, "int a(void); int b(void);\n");
  await Deno.writeTextFile(`${directory}/a.c`, '#include "all.h"\nint a(void) { return 40; }\n');
  await Deno.writeTextFile(`${directory}/b.c`, '#include "all.h"\nint b(void) { return 2; }\n');
  await Deno.writeTextFile(
    `${directory}/main.c`,
    '#include <stdio.h>\n#include "all.h"\nint main(void) { printf("%d\\n", a() + b()); }\n',
  );
  await sh(directory, "make -j3 program lib.a");
  assert.equal(await sh(directory, "./program"), "42\n");
  assert.match(await sh(directory, "make program"), /up to date/);
  await sh(directory, "sed -i s/40/41/ a.c");
  const again = await sh(directory, "make program lib.a");
  assert.match(again, /cc -c -o a\.o/);
  assert.doesNotMatch(again, /cc -c -o b\.o/);
  assert.equal(await sh(directory, "./program"), "43\n");
  assert.equal(await sh(directory, "ar t lib.a"), "a.o\nb.o\nmain.o\n");
}

/** cp(1) asks for copy_file_range(2): the copy has blocks of its own, and contents that are there. */
async function copy({ directory, tarbox }: Mounted): Promise<void> {
  const counts = async () => {
    const said = await tarbox("--json", "fsck");
    assert.equal(said.code, 0, said.err);
    const { blocks, contents } = JSON.parse(said.out);
    return { blocks, contents };
  };
  await sh(directory, "rm -rf -- *; head -c 8388608 /dev/urandom > one; sync one");
  const before = await counts();
  await sh(directory, "cp --reflink=auto one two; sync two; cmp one two");
  assert.deepEqual(await counts(), { blocks: 2 * before.blocks, contents: before.contents });
  assert(before.contents > 1, "the file is of one block");
}

Deno.test("programs work in a mount", async (t) => {
  await withMounted([], async (mounted) => {
    await t.step(
      "SQLite with several writers, in both journal modes, and after a remount",
      () => sqlite(mounted),
    );
    await t.step("make and cc build what changed, and nothing else", () => make(mounted));
    await t.step("cp of a file stores nothing but its rows", () => copy(mounted));
  });
});
