import assert from "node:assert/strict";
import { join } from "node:path";
import { Installation } from "./installation.ts";

/** Runs a body with a mount of its own. */
async function mounted(body: (tarbox: Installation, at: string) => Promise<void>): Promise<void> {
  const tarbox = await Installation.create();
  try {
    await tarbox.tarbox("mount", "--create", tarbox.mountPoint);
    await body(tarbox, tarbox.mountPoint);
    await tarbox.tarbox("umount", tarbox.mountPoint);
    assert.match(await tarbox.tarbox("fsck"), /: 0 violations/);
  } finally {
    await tarbox.remove();
  }
}

/** A mapping of a file in a process of its own, which tells its bytes when asked. */
const MAPPING = `
import mmap, os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(file).st_size
mapped = mmap.mmap(file, size, mmap.MAP_SHARED, mmap.PROT_READ)
os.close(file)
for line in sys.stdin:
    print(mapped[:].decode().strip(), flush=True)
`;

Deno.test("a mount follows switch, undo and restore made elsewhere", async () => {
  await mounted(async (tarbox, at) => {
    const shell = (script: string) => tarbox.run(at, "/bin/sh", "-ec", script);
    await shell("mkdir d gone; echo one >file; echo one >d/f; echo same >d/same; echo x >gone/x");
    await tarbox.tarbox("checkpoint", "one");
    await shell("echo two >file; echo two >d/f; rm -r gone; mkdir new; echo new >new/n; ln file l");
    await tarbox.tarbox("checkpoint", "two");
    const same = await Deno.stat(join(at, "d/same"));

    // What is open stays what it was, as if it had been replaced; so does what is mapped.
    using file = await Deno.open(join(at, "file"), { read: true, write: true });
    const script = join(tarbox.directory, "mapping.py");
    await Deno.writeTextFile(script, MAPPING);
    const mapping = new Deno.Command("python3", {
      args: [script, join(at, "d/f")],
      cwd: join(at, "d"),
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const input = mapping.stdin.getWriter();
    const output = mapping.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const mappedText = async () => {
      await input.write(new TextEncoder().encode("?\n"));
      let line = "";
      while (!line.endsWith("\n")) line += (await output.read()).value ?? "\n(ended)\n";
      return line;
    };
    try {
      assert.equal(await mappedText(), "two\n");
      assert.match(await tarbox.tarbox("switch", "one"), /main stands on one/);
      assert.equal(await mappedText(), "two\n");

      assert.equal(
        await shell("cat file d/f d/same gone/x; ls; stat -c %h file"),
        "one\none\nsame\nx\nd\nfile\ngone\n1\n",
      );
      assert.equal((await Deno.stat(join(at, "d/same"))).ino, same.ino);
      // The working directory of the process is the same directory as before, with other entries.
      const names = await tarbox.run("/", "ls", `/proc/${mapping.pid}/cwd/`);
      assert.equal(names, "f\nsame\n");
      assert.equal(await tarbox.run("/", "cat", `/proc/${mapping.pid}/cwd/f`), "one\n");

      const bytes = new Uint8Array(16);
      assert.equal(await file.read(bytes), 4);
      assert.equal(new TextDecoder().decode(bytes.subarray(0, 4)), "two\n");
      await file.write(new TextEncoder().encode("more\n"));
      await file.sync();
      assert.equal((await file.stat()).size, 9);
      assert.equal((await file.stat()).nlink, 0);
      assert.equal(await shell("cat file"), "one\n");

      assert.match(await tarbox.tarbox("restore", "two", "/new", "/d/f"), /restored from two/);
      assert.equal(await shell("cat new/n d/f file gone/x"), "new\ntwo\none\nx\n");
      assert.equal(await mappedText(), "two\n");
      await tarbox.tarbox("undo");
      assert.equal(await shell("cat d/f; ls"), "one\nd\nfile\ngone\n");
    } finally {
      await input.close();
      await output.cancel();
      await mapping.status;
    }
    await tarbox.tarbox("switch", "two");
    assert.equal(await shell("cat file l d/f new/n; stat -c %h l"), "two\ntwo\ntwo\nnew\n2\n");
    await shell("echo three >>file; rm l");
    await tarbox.tarbox("switch", "--discard", "two");
    assert.equal(await shell("cat file l"), "two\ntwo\n");
  });
});

Deno.test("two forks gave one number to different files: a switch tells them apart", async () => {
  await mounted(async (tarbox, at) => {
    const shell = (script: string) => tarbox.run(at, "/bin/sh", "-ec", script);
    await shell("echo base >base");
    await tarbox.tarbox("checkpoint", "base");
    await shell("mkdir one; echo one >one/f; echo here >file");
    await tarbox.tarbox("checkpoint", "left");
    await tarbox.tarbox("switch", "base");
    await shell("echo there >file; mkdir two; echo two >two/f");
    await tarbox.tarbox("checkpoint", "right");
    using open = await Deno.open(join(at, "file"));
    const sleeper = new Deno.Command("sleep", { args: ["60"], cwd: join(at, "two") }).spawn();
    try {
      await tarbox.tarbox("switch", "left");
      assert.equal(await shell("cat file one/f; ls"), "here\none\nbase\nfile\none\n");
      const bytes = new Uint8Array(16);
      assert.equal(await open.read(bytes), 6);
      assert.equal(new TextDecoder().decode(bytes.subarray(0, 6)), "there\n");
      // The directory that it works in is gone: it must not find itself in another one.
      const lost = await tarbox.command("ls", [`/proc/${sleeper.pid}/cwd/`]);
      assert.notEqual(lost.status, 0);
      await tarbox.tarbox("switch", "right");
      assert.equal(await shell("cat file two/f; ls"), "there\ntwo\nbase\nfile\ntwo\n");
    } finally {
      sleeper.kill("SIGKILL");
      await sleeper.status;
    }
  });
});

Deno.test("the control directory works with echo and cat, and shows every layer", async () => {
  await mounted(async (tarbox, at) => {
    const shell = (script: string) => tarbox.run(at, "/bin/sh", "-ec", script);
    const fails = async (script: string) => {
      const { status, stderr } = await tarbox.command("/bin/bash", ["-ec", script], { cwd: at });
      assert.notEqual(status, 0, script);
      return stderr;
    };
    await shell("mkdir -p d/e; echo one >d/e/f; echo same >same; ln same d/hard; ln -s e d/link");
    await shell("setfattr -n user.note -v hello same; chmod 750 d/e; mkfifo fifo");
    await shell("echo first >.tarbox/layers/new");
    await shell("echo two >d/e/f; echo new >new; chmod 640 same");
    await shell("printf 'second\\na message\\n' >.tarbox/layers/new");
    assert.equal(await shell("ls -A"), "d\nfifo\nnew\nsame\n");
    assert.equal(await shell("ls .tarbox"), "at\nlayers\nstats\n");
    assert.equal(await shell("cat .tarbox/layers/current"), "second\n");
    assert.match(
      await shell("cat .tarbox/layers/list"),
      /^second\t[0-9a-f]{12}\t[^\t]*\ta message\nfirst\t/,
    );
    assert.match(await shell("cat .tarbox/layers/tree"), /main\/first[^]*main\/second.*<- main/);
    await shell("echo first second >.tarbox/layers/diff");
    assert.match(
      await shell("cat .tarbox/layers/diff"),
      /--- \/d\/e\/f \(first\)\n\+\+\+ \/d\/e\/f \(second\)\n@@ -1 \+1 @@\n-one\n\+two\n/,
    );
    for (const file of ["usage", "cache", "mount"]) {
      JSON.parse(await shell(`cat .tarbox/stats/${file}`));
    }

    assert.match(await fails("echo first >.tarbox/layers/new"), /File exists/);
    assert.match(await shell("cat .tarbox/layers/last_error"), /layer first: the name is taken/);
    assert.match(await fails("echo nowhere >.tarbox/layers/switch"), /No such file or directory/);
    assert.match(await shell("cat .tarbox/layers/last_error"), /nowhere: there is no such layer/);
    assert.match(await fails("echo 'a name' >.tarbox/layers/new"), /Invalid argument/);
    assert.match(await fails("echo x >.tarbox/layers/list"), /Permission denied/);
    assert.match(await fails("rm .tarbox/layers/new"), /Operation not permitted/);
    assert.match(await fails("mkdir .tarbox/own"), /Operation not permitted/);
    assert.match(await fails("ls .tarbox/at/nowhere"), /No such file or directory/);

    const first = ".tarbox/at/first";
    assert.equal(await shell("ls .tarbox/at"), "first\nsecond\n");
    assert.equal(
      await shell(`cd ${first}; find . | sort`),
      ".\n./d\n./d/e\n./d/e/f\n./d/hard\n./d/link\n./fifo\n./same\n",
    );
    assert.equal(await shell(`cat ${first}/d/e/f '.tarbox/at/head~2/d/e/f'`), "one\none\n");
    assert.equal(await shell(`grep -r two .tarbox/at/second`), ".tarbox/at/second/d/e/f:two\n");
    assert.equal(await shell(`getfattr --only-values -n user.note ${first}/same`), "hello");
    assert.equal(await shell(`stat -c '%a %h' ${first}/same ${first}/d/hard`), "644 2\n644 2\n");
    const { stdout } = await tarbox.command("diff", ["-r", first, ".tarbox/at/second"], {
      cwd: at,
    });
    assert.match(stdout, /1c1\n< one\n---\n> two\n/);
    assert.match(stdout, /Only in .tarbox\/at\/second: new/);
    assert.match(await fails(`touch ${first}/x`), /Read-only file system/);
    assert.match(await fails(`mv ${first}/same .`), /Read-only file system/);
    const copy = join(tarbox.directory, "copy");
    await shell(`cp -a ${first} ${copy}`);
    const listing = "find . -printf '%p %y %m %n %s %T@ %l\\n' | sort";
    assert.equal(
      await tarbox.run(copy, "/bin/sh", "-ec", listing),
      await tarbox.run(join(at, first), "/bin/sh", "-ec", listing),
    );

    await shell("echo first >.tarbox/layers/switch");
    assert.equal(await shell("cat d/e/f; ls"), "one\nd\nfifo\nsame\n");
    await shell("echo second >.tarbox/layers/drop");
    assert.match(await fails("ls .tarbox/at/second"), /No such file or directory/);
  });
});
