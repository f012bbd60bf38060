import { join } from "node:path";
import { startRegistry } from "../images/registry.ts";
import { Installation } from "./installation.ts";

/** A container image of a static busybox, made by umoci as others make theirs. */
const MAKE_IMAGE = String.raw`
set -e
umoci init --layout image
umoci new --image image:box
umoci unpack --image image:box bundle
cd bundle/rootfs
mkdir -p bin etc root tmp && chmod 1777 tmp
cp "$(command -v busybox)" bin/busybox && ln -s busybox bin/sh
echo 'ID=box' > etc/os-release
cd ../..
umoci repack --image image:box bundle
umoci config --image image:box --config.env WHO=box --config.cmd /bin/sh
rm -rf bundle
umoci unpack --image image:box bundle
echo second > bundle/rootfs/etc/second && rm bundle/rootfs/etc/os-release
umoci repack --image image:box bundle
skopeo copy -q oci:image:box docker-archive:saved.tar:box:1
`;

/** Writes and removes files until it is told to stop by a file. */
const BUSY = 'i=0; while [ ! -e stop ]; do i=$((i+1)); echo $i > "busy-$((i%50))"; ' +
  'rm -f "busy-$(((i+7)%50))"; done';

/** What of a tree an image carries: no change times, no times of access. */
const LISTING = "find . -printf '%P\t%y\t%m\t%U:%G\t%n\t%s\t%T@\t%l\n' | sort; " +
  "find . -type f -print0 | sort -z | xargs -0 sha256sum";

async function assertSame(one: Installation, two: Installation): Promise<void> {
  const [a, b] = [one, two].map((it) => it.run(it.mountPoint, "/bin/sh", "-c", LISTING));
  if (await a !== await b) throw new Error(`the trees differ:\n${await a}\n${await b}`);
}

Deno.test("a container image becomes a workspace that runs, and travels by pipe and registry", async () => {
  const one = await Installation.create();
  const two = await Installation.create();
  try {
    await one.run(one.directory, "/bin/sh", "-c", MAKE_IMAGE);
    await one.tarbox("import", "--switch", join(one.directory, "saved.tar"));
    await one.tarbox("mount", "--create", one.mountPoint);
    const inside = (installation: Installation, script: string) =>
      installation.run("/", "chroot", installation.mountPoint, "/bin/sh", "-c", script);
    const said = await inside(one, "busybox cat /etc/second; busybox ls /etc; echo made > /made-x");
    if (said !== "second\nsecond\n") throw new Error(`the program said ${said}`);
    await one.tarbox("checkpoint", "mine");

    // Through a pipe into another cluster, while the first is mounted and busy.
    const busy = one.command("/bin/sh", ["-c", BUSY], { cwd: join(one.mountPoint, "tmp") });
    const pipe = `"$0" export mine | TARBOX_HOME="$1" "$0" import --switch >/dev/null`;
    await one.run(one.directory, "/bin/sh", "-c", pipe, one.binary, two.home);
    await one.tarbox("export", "head", "-o", join(one.directory, "busy.tar"));
    await Deno.writeTextFile(join(one.mountPoint, "tmp/stop"), "");
    await busy;
    await one.run(one.directory, "skopeo", "inspect", "oci-archive:busy.tar");

    await one.tarbox("switch", "mine");
    await two.tarbox("mount", "--create", two.mountPoint);
    await assertSame(one, two);
    if (await inside(two, "echo $(busybox cat /made-x)") !== "made\n") throw new Error("not made");
    for (const installation of [one, two]) {
      await installation.tarbox("export", "mine", "-o", join(installation.directory, "mine.tar"));
    }
    await one.run("/", "cmp", join(one.directory, "mine.tar"), join(two.directory, "mine.tar"));

    // A checkpoint of the second goes to a registry and to the first, with what ran in the image.
    await inside(two, "echo more > /made-y");
    await two.tarbox("checkpoint", "theirs");
    const directory = join(one.directory, "registry");
    await Deno.mkdir(directory);
    await using registry = await startRegistry(directory);
    const image = `${registry.host}/box:1`;
    await two.tarbox("push", "mine", image);
    const pushed = await two.tarbox("push", "theirs", image);
    if (!pushed.includes("\n1 of 4 layers uploaded")) throw new Error(pushed);
    const facts = JSON.parse(
      await one.run(
        "/",
        "skopeo",
        "inspect",
        "--config",
        "--tls-verify=false",
        `docker://${image}`,
      ),
    );
    if (!facts.config.Env.includes("WHO=box")) throw new Error(JSON.stringify(facts));
    await one.tarbox("pull", "--switch", image);
    if (await inside(one, "echo $(busybox cat /made-y)") !== "more\n") throw new Error("no more");
    await assertSame(one, two);
  } finally {
    await two.remove();
    await one.remove();
  }
});
