/** A random program that runs on two stores at once; whatever can be read must be the same. */
import assert from "node:assert/strict";
import { TarboxError } from "../../../src/base/errors.ts";
import type { Batch, Chain, LayerRow, Point } from "../../../src/store/rows.ts";
import type { Store } from "../../../src/store/store.ts";
import {
  batch,
  block,
  bytes,
  content,
  dentry,
  dentryText,
  directory,
  inode,
  inodeText,
  ROOT,
} from "./rows.ts";

/** Numbers that inodes may have; a number that died in a state never comes back there. */
const INODES = Array.from({ length: 60 }, (_, i) => i + 1);
const PARENTS = [1, 2, 3];
const NAMES = ["a", "b", "c", "\u00ff", "NULL"];
const CONTENTS = ["one", "two", "three", "four"].map(content);

/** Numbers from 0 to `below - 1`, the same for the same seed (mulberry32). */
export function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** One of the stores, and the names that this program has for what the store numbers as it likes. */
class Side {
  readonly epochs = new Map<string, { epoch: number; sequence: number }>();
  readonly lineages: number[] = [];
  readonly privates: Point[] = [];

  constructor(readonly store: Store) {}

  /** The number of a lineage by the order in which it was first met. */
  lineage(id: number): number {
    if (!this.lineages.includes(id)) this.lineages.push(id);
    return this.lineages.indexOf(id);
  }

  async layer(name: string): Promise<LayerRow> {
    return (await this.store.layers()).find((layer) => layer.name === name)!;
  }

  /** All that can be read, in terms that do not depend on the store. */
  async facts(): Promise<unknown> {
    const { store } = this;
    const workspaces = await store.workspaces();
    const layers = await store.layers();
    const layerName = (id: number | null) => layers.find((layer) => layer.id === id)?.name ?? null;
    const points = [
      ...workspaces.map(({ head }) => head),
      ...layers.map(({ point }) => point),
      ...this.privates,
    ];
    const chains = await Promise.all(points.map((point) => store.chain(point)));
    for (const point of chains.flat()) this.lineage(point.lineage);
    const trees = await Promise.all(chains.map((chain) => this.#tree(chain)));
    const lineages = [];
    for (const [number, id] of this.lineages.entries()) {
      if (!points.some(({ lineage }) => lineage === id)) continue;
      lineages.push([number, await store.counters(id)]);
    }
    return {
      workspaces: await Promise.all(workspaces.map(async ({ id, name, head, base, lease }) => ({
        name,
        head: this.#point(head),
        base: layerName(base),
        holder: lease?.holder ?? null,
        epoch: lease?.epoch ?? null,
        changed: await store.headChanged(id),
      }))),
      layers: layers.map(({ name, workspace, point, parent, message }) => ({
        name,
        workspace: workspaces.find(({ id }) => id === workspace)!.name,
        point: this.#point(point),
        parent: layerName(parent),
        message,
      })),
      trees,
      lineages,
    };
  }

  #point({ lineage, ordinal }: Point): string {
    return `${this.lineage(lineage)}:${ordinal}`;
  }

  async #tree(chain: Chain): Promise<unknown> {
    const { store } = this;
    const { lineage, ordinal } = chain[0]!;
    const keys = PARENTS.flatMap((parent) => NAMES.map((name) => ({ parent, name: bytes(name) })));
    const list = async (parent: number) => {
      const listed: string[] = [];
      for (let after = 0;;) {
        const page = await store.list(chain, parent, after, 2);
        listed.push(...page.map((e) => dentryText(e.dentry) + inodeText(e.inode)));
        if (page.length < 2) return listed;
        after = page.at(-1)!.dentry.cookie;
      }
    };
    const change = async ([after, upto]: readonly [number, number]) => {
      const keys = await store.changedKeys(lineage, after, upto);
      return [
        keys.inodes.toSorted((a, b) => a - b),
        keys.dentries.map(({ parent, name }) => `${parent}/${name}`).sort(),
      ];
    };
    const ranges = [[ordinal - 1, ordinal], [0, ordinal], [1, 2], [2, 9]] as const;
    const inodes = await store.inodes(chain, INODES);
    const [looked, names, blocks, listed, changed] = await Promise.all([
      store.lookup(chain, keys),
      store.names(chain, INODES),
      store.blocks(chain, inodes.map(({ inode }) => inode)),
      Promise.all(PARENTS.map(list)),
      Promise.all(ranges.map(change)),
    ]);
    const contents = await store.contents(blocks.map(({ hash }) => hash));
    return {
      chain: chain.map((point) => this.#point(point)),
      inodes: inodes.map(inodeText).sort(),
      looked: looked.map((e) => dentryText(e.dentry) + inodeText(e.inode)).sort(),
      listed,
      names: names.map(dentryText).sort(),
      blocks: blocks.map((row, i) => `${row.inode}/${row.index} ${row.length} ${contents[i]}`),
      changed,
    };
  }
}

/** Runs `steps` random operations of a seed. @throws {AssertionError} where the stores differ */
export async function runRandomProgram(
  one: Store,
  two: Store,
  seed: number,
  steps: number,
  checkEvery: number,
): Promise<void> {
  const random = generator(seed);
  const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
  const sides = [new Side(one), new Side(two)] as const;
  const log: string[] = [];
  let names = 0;
  let cookie = 1;
  let fresh = 4;

  /** The same on both sides: same answer, or the same kind of error. */
  const both = async (text: string, run: (side: Side) => Promise<unknown>): Promise<void> => {
    log.push(text);
    const outcomes = [];
    for (const side of sides) {
      outcomes.push(
        await run(side).then(() => "done", (error) => {
          if (error instanceof TarboxError) return error.constructor.name;
          throw error;
        }),
      );
    }
    assert.equal(outcomes[0], outcomes[1], `seed ${seed}: ${log.join("\n")}`);
  };

  /** A batch that leaves the tree at a point whole: no name without its inode. */
  const randomBatch = async (point: Point): Promise<Batch> => {
    const chain = await one.chain(point);
    const rows = new Map((await one.inodes(chain, INODES)).map((row) => [row.inode, row]));
    const alive = new Set(rows.keys());
    const names = new Map(
      (await one.names(chain, INODES)).map((
        d,
      ) => [`${d.parent}/${new TextDecoder().decode(d.name)}`, d]),
    );
    const change = {
      inodes: new Map<number, ReturnType<typeof inode>>(),
      dentries: new Map<string, ReturnType<typeof dentry>>(),
      deadDentries: new Map<string, { parent: number; name: Uint8Array }>(),
      blocks: new Map<string, ReturnType<typeof block>>(),
      deadBlocks: new Map<string, { inode: number; index: number }>(),
    };
    for (let n = random(4); n > 0; n--) {
      const number = random(2) === 0 && fresh < INODES.length ? fresh++ : pick([...alive]);
      alive.add(number);
      const mtime = BigInt(random(1000)) - 500n;
      change.inodes.set(number, { ...(number < 4 ? directory : inode)(number), mtime });
    }
    for (let n = random(4); n > 0; n--) {
      const parent = pick(PARENTS), name = pick(NAMES), child = pick([...alive]);
      const key = `${parent}/${name}`;
      if (random(3) === 0) {
        names.delete(key);
        change.dentries.delete(key);
        change.deadDentries.set(key, { parent, name: bytes(name) });
      } else {
        const row = dentry(parent, name, child, cookie++);
        names.set(key, row);
        change.deadDentries.delete(key);
        change.dentries.set(key, row);
      }
    }
    for (let n = random(4); n > 0; n--) {
      const number = pick([...alive]), index = random(3);
      const key = `${number}/${index}`;
      change.blocks.delete(key);
      change.deadBlocks.delete(key);
      if (random(3) === 0) change.deadBlocks.set(key, { inode: number, index });
      else change.blocks.set(key, block(number, index, pick(CONTENTS)));
    }
    const named = new Set([...names.values()].map(({ child }) => child));
    // What has no name is an open file that was unlinked, or gone; what has one is neither.
    for (const number of alive) {
      const row = change.inodes.get(number) ?? rows.get(number)!;
      if (named.has(number) && row.nlink === 0) change.inodes.set(number, { ...row, nlink: 1 });
      if (!named.has(number) && number > 3 && change.inodes.has(number) && random(3) === 0) {
        change.inodes.set(number, { ...row, nlink: 0 });
      }
    }
    const deadInodes = [...alive].filter((number) =>
      number > 3 && !named.has(number) && random(4) === 0
    );
    const dead = new Set(deadInodes);
    const kept = <T extends { inode: number }>(rows: Iterable<T>) =>
      [...rows].filter((row) => !dead.has(row.inode));
    const blocks = kept(change.blocks.values());
    return batch({
      inodes: kept(change.inodes.values()),
      deadInodes,
      dentries: [...change.dentries.values()],
      deadDentries: [...change.deadDentries.values()],
      blocks,
      deadBlocks: kept(change.deadBlocks.values()),
      contents: CONTENTS.filter(({ hash }) => blocks.some((row) => row.hash === hash)),
      nextInode: 10 + random(20),
      nextCookie: cookie,
    });
  };

  const workspaces: string[] = [];
  const layers: string[] = [];
  const create = async (from: string | null) => {
    const name = `w${names++}`;
    workspaces.push(name);
    await both(`create ${name} from ${from}`, async (side) => {
      const base = from === null ? null : await side.layer(from);
      const { id } = await side.store.createWorkspace(name, base, ROOT);
      const { epoch } = await side.store.attach(id, { host: "h", pid: 1, mountPoint: null }, 60);
      side.epochs.set(name, { epoch, sequence: from === null ? 1 : 0 });
      if (from !== null) return;
      const { head } = await row(side, name);
      await side.store.commit(id, epoch, head, 1, batch({ inodes: PARENTS.map(directory) }));
    });
  };
  const row = async (side: Side, name: string) => (await side.store.workspace(name))!;

  const operations: readonly (() => Promise<void>)[] = [
    ...Array.from({ length: 12 }, () => async () => {
      const name = pick(workspaces);
      const { head } = await row(sides[0], name);
      const change = await randomBatch(head);
      const again = random(6) === 0;
      await both(`commit ${name} ${JSON.stringify(change, big)}`, async (side) => {
        const { id, head } = await row(side, name);
        const held = side.epochs.get(name)!;
        held.sequence++;
        await side.store.commit(id, held.epoch, head, held.sequence, change);
        if (again) await side.store.commit(id, held.epoch, head, held.sequence, change);
      });
    }),
    ...Array.from({ length: 5 }, () => async () => {
      const name = pick(workspaces), layer = `l${names++}`;
      layers.push(layer);
      await both(`seal ${name} as ${layer}`, async (side) => {
        const uid = names.toString(16).padStart(32, "0");
        const { id } = await row(side, name);
        const { epoch } = side.epochs.get(name)!;
        await side.store.seal(id, epoch, { uid, name: layer, message: layer });
      });
    }),
    ...Array.from({ length: 2 }, () => async () => {
      if (layers.length === 0) return;
      const name = pick(workspaces), layer = pick(layers);
      await both(`switch ${name} to ${layer}`, async (side) => {
        const { id } = await row(side, name);
        await side.store.setHead(id, side.epochs.get(name)!.epoch, await side.layer(layer));
      });
    }),
    async () => {
      if (workspaces.length > 4 || layers.length === 0) return;
      await create(pick(layers));
    },
    async () => {
      const name = pick(workspaces);
      await both(`steal ${name}`, async (side) => {
        const { id, head } = await row(side, name);
        const before = side.epochs.get(name)!;
        const holder = { host: "h", pid: 2, mountPoint: "/m" };
        const { epoch } = await side.store.attach(id, holder, 0);
        side.epochs.set(name, { epoch, sequence: 0 });
        await assert.rejects(
          side.store.commit(id, before.epoch, head, before.sequence + 1, batch({})),
        );
      });
    },
    async () => {
      if (layers.length < 4) return;
      const dropped = [pick(layers), pick(layers)];
      for (const name of dropped) {
        const at = layers.indexOf(name);
        if (at >= 0) layers.splice(at, 1);
      }
      await both(`drop ${dropped}`, async (side) => {
        const found = (await side.store.layers()).filter(({ name }) => dropped.includes(name));
        await side.store.dropLayers(found.map(({ id }) => id));
      });
    },
    async () => {
      if (layers.length === 0) return;
      const at = random(layers.length), from = layers[at]!, to = `r${names++}`;
      layers[at] = to;
      await both(
        `rename ${from} to ${to}`,
        async (side) => await side.store.renameLayer((await side.layer(from)).id, to),
      );
    },
    async () => {
      if (workspaces.length < 2) return;
      const name = pick(workspaces);
      await both(`delete ${name}`, async (side) => {
        const { id } = await row(side, name);
        await side.store.detach(id, side.epochs.get(name)!.epoch);
        await side.store.deleteWorkspace(id);
      });
      if (await one.workspace(name) === null) workspaces.splice(workspaces.indexOf(name), 1);
      else {
        await both(`attach ${name}`, async (side) => {
          const { id } = await row(side, name);
          const { epoch } = await side.store.attach(
            id,
            { host: "h", pid: 3, mountPoint: null },
            60,
          );
          side.epochs.set(name, { epoch, sequence: 0 });
        });
      }
      const left = new Set((await one.layers()).map((layer) => layer.name));
      for (let i = layers.length - 1; i >= 0; i--) if (!left.has(layers[i]!)) layers.splice(i, 1);
    },
    async () => {
      const from = layers.length === 0 || random(2) === 0 ? null : pick(layers);
      await both(`open a lineage on ${from}`, async (side) => {
        const on = from === null ? null : (await side.layer(from)).point;
        const point = await side.store.openLineage(on);
        if (from === null) await side.store.write(point, batch({ inodes: PARENTS.map(directory) }));
        side.privates.push(point);
      });
    },
    async () => {
      const at = random(Math.max(1, sides[0].privates.length));
      const point = sides[0].privates[at];
      if (point === undefined) return;
      const later = random(2);
      const next = { ...point, ordinal: point.ordinal + later };
      const change = await randomBatch(next);
      await both(`write ${at} +${later} ${JSON.stringify(change, big)}`, async (side) => {
        const { lineage, ordinal } = side.privates[at]!;
        side.privates[at] = { lineage, ordinal: ordinal + later };
        await side.store.write(side.privates[at], change);
      });
    },
    async () => {
      const at = random(Math.max(1, sides[0].privates.length));
      if (sides[0].privates[at] === undefined) return;
      const name = `p${names++}`, workspace = pick(workspaces);
      layers.push(name);
      await both(`publish ${at} as ${name}`, async (side) => {
        const [point] = side.privates.splice(at, 1);
        const uid = names.toString(16).padStart(32, "f");
        const createdAt = new Date(0);
        const layer = { uid, name, message: "", createdAt, point: point!, parent: null };
        await side.store.publish((await row(side, workspace)).id, [layer]);
      });
    },
    async () => {
      const at = random(Math.max(1, sides[0].privates.length));
      if (sides[0].privates[at] === undefined) return;
      await both(`discard ${at}`, async (side) => {
        const [point] = side.privates.splice(at, 1);
        await side.store.discardLineages([point!.lineage]);
      });
    },
  ];

  await create(null);
  for (let step = 1; step <= steps; step++) {
    await pick(operations)();
    if (step % checkEvery !== 0 && step !== steps) continue;
    const [a, b] = [await sides[0].facts(), await sides[1].facts()];
    assert.deepEqual(b, a, `seed ${seed}, after:\n${log.join("\n")}`);
  }
}

const big = (_: string, value: unknown) =>
  typeof value === "bigint" ? Number(value) : value instanceof Uint8Array ? `${value}` : value;
