import assert from "node:assert/strict";
import fc from "fast-check";
import { concatBytes, fromLatin1, latin1, text, utf8 } from "../base/bytes.ts";
import { inChunks } from "./tree_fixture.ts";
import { padding, type TarEntry } from "./tar_entry.ts";
import { readTar } from "./tar_reader.ts";
import { contentPadding, decimalTime, encodeHeader, END_MARK, tarEntry } from "./tar_writer.ts";

async function readAll(bytes: Uint8Array, chunk = 700, endMark = true) {
  const out: { entry: TarEntry; content: Uint8Array }[] = [];
  for await (const { entry, content } of readTar(inChunks(bytes, chunk), { name: "it", endMark })) {
    const parts: Uint8Array[] = [];
    for await (const part of content()) parts.push(part);
    out.push({ entry, content: concatBytes(parts) });
  }
  return out;
}

function tarOf(entries: readonly { entry: TarEntry; content: Uint8Array }[]): Uint8Array {
  const parts = entries.flatMap(({ entry, content }) => [
    encodeHeader(entry),
    content,
    contentPadding(content.length),
  ]);
  return concatBytes([...parts, END_MARK]);
}

async function run(command: string, args: string[], stdin?: Uint8Array): Promise<Uint8Array> {
  const child = new Deno.Command(command, {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    env: { TZ: "UTC", LC_ALL: "C" },
    signal: AbortSignal.timeout(60_000),
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(stdin ?? new Uint8Array()).catch(() => {});
  await writer.close().catch(() => {});
  const { code, stdout, stderr } = await child.output();
  assert.equal(code, 0, text(stderr));
  return stdout;
}

Deno.test("a small file's header is ustar, byte by byte", () => {
  const header = encodeHeader(tarEntry({
    path: utf8("dir/file"),
    mode: 0o4755,
    uid: 1000,
    gid: 100,
    size: 5,
    mtime: 1_700_000_000n * 1_000_000_000n,
  }));
  assert.equal(header.length, 512);
  const shown = latin1(header).replaceAll("\0", "·");
  assert.equal(
    shown.slice(0, 265),
    "dir/file" + "·".repeat(92) + "0004755·0001750·0000144·00000000005·14524770400·" +
      "010717· 0" + "·".repeat(100) + "ustar·00",
  );
  assert.equal(shown.slice(265), "·".repeat(64) + "0000000·0000000·" + "·".repeat(167));
});

Deno.test("what ustar has no room for goes into a PAX header", () => {
  const header = latin1(encodeHeader(tarEntry({
    path: fromLatin1("\xff".repeat(101)),
    uid: 2_097_152,
    mtime: -1_500_000_000n,
    xattrs: [{ name: utf8("user.a"), value: Uint8Array.of(0, 10, 255) }],
  })));
  const records = header.slice(512, 1024).replace(/\0+$/, "");
  assert.equal(
    records,
    `111 path=${"\xff".repeat(101)}\n15 uid=2097152\n22 mtime=-1.500000000\n` +
      "27 SCHILY.xattr.user.a=\0\n\xff\n",
  );
});

Deno.test("decimal times are exact below a second and before 1970", () => {
  assert.equal(decimalTime(-1n), "-0.000000001");
  assert.equal(decimalTime(1_000_000_000n), "1");
  assert.equal(decimalTime(1_999_999_999n), "1.999999999");
});

const nameBytes = fc.uint8Array({ minLength: 1, maxLength: 255 })
  .map((bytes) => bytes.map((byte) => byte === 0 || byte === 0x2f ? 0x61 : byte))
  .filter((bytes) => latin1(bytes) !== "." && latin1(bytes) !== "..");
const pathBytes = fc.array(nameBytes, { minLength: 1, maxLength: 4 })
  .map((parts) => fromLatin1(parts.map((part) => latin1(part)).join("/")));
const targetBytes = fc.uint8Array({ minLength: 1, maxLength: 300 })
  .map((bytes) => bytes.map((byte) => byte === 0 ? 1 : byte));
const xattr = fc.record({
  name: fc.uint8Array({ minLength: 1, maxLength: 60 })
    .map((bytes) => concatBytes([utf8("user."), bytes.map((byte) => byte === 0 ? 1 : byte)])),
  value: fc.uint8Array({ maxLength: 200 }),
});
const type = fc.constantFrom(
  "file" as const,
  "link" as const,
  "symlink" as const,
  "char" as const,
  "block" as const,
  "directory" as const,
  "fifo" as const,
  "socket" as const,
);
const entryAndContent = fc.record({
  path: pathBytes,
  type,
  mode: fc.nat(0o7777),
  uid: fc.nat(0xffffffff),
  gid: fc.nat(0xffffffff),
  mtime: fc.bigInt(-(1n << 62n), 1n << 62n),
  target: targetBytes,
  linkTarget: pathBytes,
  major: fc.nat(0xfff),
  minor: fc.nat(0xfffff),
  xattrs: fc.uniqueArray(xattr, { selector: ({ name }) => latin1(name), maxLength: 4 }),
  content: fc.uint8Array({ maxLength: 2000 }),
  shortBlocks: fc.constantFrom([], [{ first: 0, count: 3, length: 0 }, {
    first: 9,
    count: 1,
    length: 4097,
  }]),
}).map((all) => {
  const device = all.type === "char" || all.type === "block";
  const content = all.type === "file" ? all.content : new Uint8Array();
  const target = all.type === "symlink"
    ? all.target
    : all.type === "link"
    ? all.linkTarget
    : new Uint8Array();
  const { path, mode, uid, gid, mtime, xattrs } = all;
  const entry: TarEntry = {
    path,
    type: all.type,
    mode,
    uid,
    gid,
    mtime,
    xattrs: xattrs.map(({ name, value }) => ({ name, value })).sort((a, b) =>
      latin1(a.name) < latin1(b.name) ? -1 : 1
    ),
    size: content.length,
    target,
    major: device ? all.major : 0,
    minor: device ? all.minor : 0,
    shortBlocks: all.type === "file" ? all.shortBlocks : [],
  };
  return { entry, content };
});

Deno.test("any entries come back as they were written, however the bytes are cut", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(entryAndContent, { maxLength: 5 }),
      fc.integer({ min: 1, max: 3000 }),
      async (entries, chunk) => {
        const bytes = tarOf(entries);
        assert.equal(bytes.length % 512, 0);
        const read = (await readAll(bytes, chunk)).map(({ entry, content }) => ({
          entry: {
            ...entry,
            xattrs: entry.xattrs.toSorted((a, b) => latin1(a.name) < latin1(b.name) ? -1 : 1),
          },
          content,
        }));
        assert.deepEqual(read, entries);
        // What follows the end mark is not looked at.
        assert.equal((await readAll(concatBytes([bytes, utf8("garbage")]))).length, entries.length);
      },
    ),
    { numRuns: 200, seed: 1 },
  );
});

Deno.test("a content that is not read is skipped, and offsets are those of the bytes", async () => {
  const bytes = tarOf([
    { entry: tarEntry({ path: utf8("a"), size: 700 }), content: new Uint8Array(700).fill(1) },
    { entry: tarEntry({ path: utf8("b"), size: 3 }), content: utf8("xyz") },
  ]);
  const offsets: number[] = [];
  for await (const { offset } of readTar(inChunks(bytes), { name: "it", endMark: true })) {
    offsets.push(offset);
  }
  assert.deepEqual(offsets, [512, 512 + 1024 + 512]);
  assert.equal(text(bytes.subarray(offsets[1], offsets[1]! + 3)), "xyz");
});

Deno.test("every truncation before the end mark is refused", async () => {
  const bytes = tarOf([
    { entry: tarEntry({ path: utf8("p".repeat(150)), size: 600 }), content: new Uint8Array(600) },
  ]);
  for (let length = 0; length < bytes.length; length += 37) {
    await assert.rejects(readAll(bytes.subarray(0, length)), /is no valid tar/, `at ${length}`);
  }
});

Deno.test("broken members are refused, and it is said why", async () => {
  const header = (change: (bytes: Uint8Array) => void, fields: Partial<TarEntry> = {}) => {
    const bytes = encodeHeader(tarEntry({ path: utf8("file"), ...fields })).slice();
    change(bytes);
    bytes.fill(0x20, 148, 156);
    const sum = bytes.subarray(0, 512).reduce((total, byte) => total + byte, 0);
    bytes.set(utf8(sum.toString(8).padStart(6, "0") + "\0 "), 148);
    return concatBytes([bytes, END_MARK]);
  };
  const pax = (record: string) => {
    const before = header((bytes) => (bytes[156] = 0x78), { size: record.length }).subarray(0, 512);
    const content = concatBytes([utf8(record), new Uint8Array(padding(record.length))]);
    return concatBytes([before, content, encodeHeader(tarEntry({ path: utf8("f") })), END_MARK]);
  };
  const cases: [Uint8Array, RegExp][] = [
    [
      concatBytes([encodeHeader(tarEntry({ path: utf8("f") })).fill(1, 0, 1), END_MARK]),
      /checksum/,
    ],
    [header(() => {}, { path: utf8("/etc/passwd") }), /absolute/],
    [header(() => {}, { path: utf8("a/../../b") }), /leaves the root/],
    [header(() => {}, { type: "link", target: utf8("../x") }), /leaves the root/],
    [header((bytes) => (bytes[156] = 0x53)), /sparse/],
    [header((bytes) => (bytes[156] = 0x5a)), /unknown type/],
    [header((bytes) => bytes.set(utf8("zzzz"), 124)), /octal/],
    [header((bytes) => bytes.fill(0xff, 124, 136)), /negative/],
    [header(() => {}, { path: new Uint8Array() }), /without a name/],
    [pax("13 path=a\0b\n"), /malformed/],
    [pax("12 path=a\0b\n"), /NUL/],
    [pax("99 path=x\n"), /malformed/],
    [pax("00 path=x\n"), /malformed/],
    [pax("14 mtime=soon\n"), /no time/],
    [pax("28 mtime=99999999999.999999\n"), /out of range/],
    [pax("17 size=12345678\n"), /cut short/],
    [pax("11 size=-1\n"), /no number/],
    [pax("22 GNU.sparse.major=1\n"), /sparse/],
    [pax("22 TARBOX.xattrs=zzzz\n"), /damaged/],
    [pax("21 TARBOX.blocks=1+x\n"), /no run/],
  ];
  for (const [i, [bytes, why]] of cases.entries()) {
    await assert.rejects(readAll(bytes), why, `case ${i}`);
  }
});

Deno.test("archives of GNU tar are read: long names, base-256, links, PAX", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const long = "d".repeat(120);
    await Deno.mkdir(`${directory}/${long}`);
    await Deno.writeTextFile(`${directory}/${long}/${"f".repeat(120)}`, "content");
    await Deno.symlink("t".repeat(150), `${directory}/symlink`);
    await Deno.link(`${directory}/${long}/${"f".repeat(120)}`, `${directory}/zlink`);
    for (const format of ["gnu", "posix", "oldgnu"]) {
      const owner = format === "posix" ? "--owner=4000000000" : "--owner=4000000";
      const args = [`--format=${format}`, "--sort=name", owner, "-C", directory, "-cf", "-", "."];
      const members = await readAll(await run("tar", args));
      const paths = members.map(({ entry }) => text(entry.path));
      assert.deepEqual(paths, ["", long, `${long}/${"f".repeat(120)}`, "symlink", "zlink"], format);
      assert.equal(text(members[2]!.content), "content");
      assert.equal(members[2]!.entry.uid, format === "posix" ? 4_000_000_000 : 4_000_000);
      assert.equal(text(members[3]!.entry.target), "t".repeat(150));
      assert.equal(members[4]!.entry.type, "link");
      assert.equal(text(members[4]!.entry.target), `${long}/${"f".repeat(120)}`);
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("GNU tar lists and extracts what the writer wrote", async () => {
  const name = fromLatin1("caf\xe9-" + "n".repeat(120));
  const bytes = tarOf([
    { entry: tarEntry({ path: utf8("d"), type: "directory", mode: 0o1777 }), content: utf8("") },
    {
      entry: tarEntry({
        path: concatBytes([utf8("d/"), name]),
        size: 7,
        mode: 0o4750,
        mtime: 1_700_000_000_123_456_789n,
      }),
      content: utf8("content"),
    },
    { entry: tarEntry({ path: utf8("s"), type: "symlink", target: utf8("t") }), content: utf8("") },
    {
      entry: tarEntry({ path: utf8("h"), type: "link", target: concatBytes([utf8("d/"), name]) }),
      content: utf8(""),
    },
    {
      entry: tarEntry({ path: utf8("big"), uid: 3_000_000_000, mtime: -2_000_000_000n }),
      content: utf8(""),
    },
  ]);
  const listing = text(await run("tar", ["--numeric-owner", "--full-time", "-tvf", "-"], bytes));
  const lines = listing.trimEnd().split("\n");
  assert.match(lines[0]!, /^drwxrwxrwt 0\/0 .* d\/$/);
  assert.match(lines[1]!, /^-rwsr-x--- 0\/0 +7 2023-11-14 22:13:20\.123456789 d\/caf\\351-n+$/);
  assert.match(lines[2]!, /^l.* s -> t$/);
  assert.match(lines[3]!, /^h.* h link to d\/caf/);
  assert.match(lines[4]!, /3000000000\/0 +0 1969-12-31 23:59:58 +big$/);
  const directory = await Deno.makeTempDir();
  try {
    await run("tar", ["--no-same-owner", "-C", directory, "-xpf", "-"], bytes);
    assert.equal(await Deno.readTextFile(`${directory}/h`), "content");
    assert.equal(await Deno.readLink(`${directory}/s`), "t");
    assert.equal((await Deno.stat(`${directory}/h`)).nlink, 2);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
