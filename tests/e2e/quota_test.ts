/** A quota on a real mount: EDQUOT where the man pages have it, and statvfs(3) that tells. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Installation } from "./installation.ts";

const PROGRAM = `
import errno, os, sys
os.chdir(sys.argv[1])
def expect(what, act):
    try: act()
    except OSError as error:
        assert error.errno == errno.EDQUOT, (what, error)
    else: raise AssertionError(what + " was not refused")
def write(name, size):
    fd = os.open(name, os.O_CREAT | os.O_WRONLY)
    try: os.write(fd, b"x" * size)
    finally: os.close(fd)
figures = os.statvfs(".")
assert figures.f_blocks * figures.f_frsize == 1 << 20, figures
assert figures.f_files == 10, figures
write("half", 1 << 19)
assert os.statvfs(".").f_bfree == 128
expect("write", lambda: write("more", (1 << 19) + 1))
os.pwrite(os.open("half", os.O_WRONLY), b"y" * 1000, 0)
os.truncate("half", 1 << 18)
write("more", 1 << 19)
for n in range(7): os.mkdir("d%d" % n)
assert os.statvfs(".").f_ffree == 0
expect("create", lambda: os.close(os.open("new", os.O_CREAT)))
expect("mkdir", lambda: os.mkdir("dir"))
expect("symlink", lambda: os.symlink("x", "link"))
expect("mkfifo", lambda: os.mkfifo("fifo"))
expect("tmpfile", lambda: os.close(os.open(".", os.O_TMPFILE | os.O_RDWR)))
os.link("half", "second name")
os.rmdir("d0")
os.mkdir("d0")
`;

Deno.test("over its quota a workspace takes nothing more, and makes room again", async () => {
  const tarbox = await Installation.create();
  try {
    await tarbox.tarbox("mount", "--create", tarbox.mountPoint);
    await tarbox.tarbox("workspace", "quota", "--bytes", "1MB", "--inodes", "10");
    await tarbox.run(tarbox.directory, "python3", "-c", PROGRAM, tarbox.mountPoint);
    // The same after a restart: usage is counted, not remembered.
    await tarbox.tarbox("umount", tarbox.mountPoint);
    await tarbox.tarbox("mount", tarbox.mountPoint);
    const outcome = await tarbox.command("mkdir", [join(tarbox.mountPoint, "one-more")]);
    assert.match(outcome.stderr, /quota exceeded/i);
    const facts = await tarbox.facts("workspace", "quota");
    assert.deepEqual(facts.limits, { bytes: 1 << 20, inodes: 10 });
    assert.equal(facts.usage.inodes, 10);
    await tarbox.tarbox("workspace", "quota", "--inodes", "none");
    await Deno.mkdir(join(tarbox.mountPoint, "one-more"));
    await tarbox.tarbox("umount", tarbox.mountPoint);
    await tarbox.tarbox("fsck");
  } finally {
    await tarbox.remove();
  }
});
