import assert from "node:assert/strict";
import { join } from "node:path";
import { text, utf8 } from "../../src/base/bytes.ts";
import { parseImageName } from "../../src/oci/image_name.ts";
import { IMPORT_DEFAULTS } from "../../src/oci/import.ts";
import { pullImage } from "../../src/oci/pull.ts";
import { pushImage, type PushOptions } from "../../src/oci/push.ts";
import { RegistryClient, type RegistryOptions } from "../../src/oci/registry_client.ts";
import { findCredentials } from "../../src/oci/registry_credentials.ts";
import { describeTree, TreeFixture } from "../../src/oci/tree_fixture.ts";
import { memoryStore } from "../../src/store/memory/store.ts";
import type { LayerRow } from "../../src/store/rows.ts";
import type { Store } from "../../src/store/store.ts";
import { startRegistry } from "./registry.ts";

const PUSH: PushOptions = {
  compression: "gzip",
  squash: false,
  since: null,
  reference: "it",
  mountFrom: null,
  notes: { labels: {}, annotations: {} },
  leftOut: null,
  notice: () => {},
  told: () => {},
};

function client(image: string, options: Partial<RegistryOptions> = {}): RegistryClient {
  return new RegistryClient(parseImageName(image), true, {
    credentials: null,
    plainHttp: false,
    caCertificates: [],
    ...options,
  });
}

async function push(
  store: Store,
  image: string,
  layers: readonly LayerRow[],
  options: Partial<PushOptions & RegistryOptions> = {},
) {
  using registry = client(image, options);
  return await pushImage(store, registry, layers, { ...PUSH, ...options });
}

async function pull(
  image: string,
  options: Partial<RegistryOptions> = {},
  store: Store = memoryStore(),
) {
  const row = await store.workspace("main") ??
    await store.createWorkspace("main", null, { uid: 0, gid: 0, time: 0n });
  using registry = client(image, options);
  let bytes = 0;
  const pulled = await pullImage(store, row, registry, IMPORT_DEFAULTS, (more) => bytes += more);
  return { store, bytes, ...pulled };
}

/** Bytes that no compressor makes smaller. */
function noise(length: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(length);
  let seed = 7;
  for (let i = 0; i < length; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    out[i] = seed >>> 24;
  }
  return out;
}

async function twoLayers(size = 1000) {
  const tree = await TreeFixture.on(memoryStore());
  tree.mkdir("d");
  tree.file("d/big", noise(size));
  tree.link("d/big", "link");
  const layers = [await tree.seal("one", "the first")];
  tree.remove("link");
  tree.file("d/small", utf8("two"));
  layers.push(await tree.seal("two"));
  return { tree, layers };
}

async function skopeo(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command("skopeo", {
    args,
    signal: AbortSignal.timeout(60_000),
  }).output();
  assert.equal(code, 0, text(stderr));
  return text(stdout);
}

async function sameTrees(
  a: Store,
  b: Store,
  layers: readonly LayerRow[],
  others: readonly LayerRow[],
) {
  assert.deepEqual(layers.map(({ name }) => name), others.map(({ name }) => name));
  for (const [i, { point }] of layers.entries()) {
    assert.deepEqual(await describeTree(a, point), await describeTree(b, others[i]!.point));
  }
}

/** Where a request is to fail: called with its method and path; true ends the connection. */
type Fault = (method: string, path: string) => "before" | "after" | "within" | null;

/** A proxy before a registry that breaks connections; what it says of locations is its own. */
function flakyProxy(host: string, fault: Fault) {
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
    const url = new URL(request.url);
    const what = fault(request.method, url.pathname);
    const body = request.body === null ? undefined : await request.bytes();
    if (what === "before") return new Response("not now", { status: 503 });
    const headers = new Headers(request.headers);
    headers.set("host", host);
    const response = await fetch(`http://${host}${url.pathname}${url.search}`, {
      method: request.method,
      headers,
      body: body === undefined || body.length === 0 ? undefined : body,
    });
    if (what === "after") {
      await response.body?.cancel();
      return new Response("the answer is lost", { status: 502 });
    }
    if (what === "within") {
      const bytes = await response.bytes();
      const half = bytes.subarray(0, bytes.length >> 1);
      let sent = false;
      const stream = new ReadableStream({
        pull(controller) {
          if (sent) controller.error(new Error("cut"));
          else controller.enqueue(half);
          sent = true;
        },
      });
      return new Response(stream, { status: response.status, headers: response.headers });
    }
    const own = new Headers(response.headers);
    const location = own.get("location");
    if (location !== null) own.set("location", location.replace(host, url.host));
    return new Response(response.body, { status: response.status, headers: own });
  });
  return { host: `127.0.0.1:${server.addr.port}`, close: () => server.shutdown() };
}

async function withDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "tarbox-registry-" });
  try {
    await body(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("push and pull: a second checkpoint sends and fetches its own layer alone", async () => {
  await withDirectory(async (directory) => {
    await using registry = await startRegistry(directory);
    const { tree, layers } = await twoLayers();
    const image = `${registry.host}/agents/work:latest`;
    const first = await push(tree.store, image, layers.slice(0, 1));
    assert.deepEqual([first.uploaded, first.layers], [1, 1]);
    const mine = await pull(image);
    await sameTrees(tree.store, mine.store, layers.slice(0, 1), mine.layers);

    const second = await push(tree.store, image, layers);
    assert.deepEqual([second.uploaded, second.layers], [1, 2]);
    assert.equal((await push(tree.store, image, layers)).uploaded, 0);
    const grown = await pull(image, {}, mine.store);
    assert.equal(grown.digest, second.digest);
    assert.equal(grown.layers[0]!.id, mine.layers[0]!.id);
    await sameTrees(tree.store, mine.store, layers, grown.layers);
    const again = await pull(image, {}, mine.store);
    assert.deepEqual(again.layers, grown.layers);
    assert.ok(again.bytes < 2000, "nothing but the documents is downloaded");

    // Another client sees the same image, and gives it on unchanged.
    const inspected = JSON.parse(
      await skopeo("inspect", "--tls-verify=false", `docker://${image}`),
    );
    assert.equal(inspected.Digest, second.digest);
    assert.equal(inspected.Layers.length, 2);
    const copy = join(directory, "copy");
    await skopeo("copy", "-q", "--src-tls-verify=false", `docker://${image}`, `dir:${copy}`);
    const other = `${registry.host}/other:x`;
    await skopeo("copy", "-q", "--dest-tls-verify=false", `dir:${copy}`, `docker://${other}`);
    const theirs = await pull(`${registry.host}/other@${second.digest}`);
    assert.equal(theirs.digest, second.digest);
    await sameTrees(tree.store, theirs.store, layers, theirs.layers);

    // What was pulled goes into another repository without being sent: it is mounted.
    const moved = await push(theirs.store, `${registry.host}/elsewhere:1`, theirs.layers);
    assert.equal(moved.uploaded, 0);
    const elsewhere = await pull(`${registry.host}/elsewhere:1`);
    await sameTrees(tree.store, elsewhere.store, layers, elsewhere.layers);
  });
});

Deno.test("chunked uploads and downloads go on after lost connections", async () => {
  await withDirectory(async (directory) => {
    await using registry = await startRegistry(directory);
    const { tree, layers } = await twoLayers(36 << 20);
    let faults: (ReturnType<Fault>)[] = [null, "before", "before"];
    let method = "PATCH";
    const seen: string[] = [];
    const proxy = flakyProxy(registry.host, (asked, path) => {
      if (asked !== method || !/\/(blobs|manifests)\//.test(path)) return null;
      const fault = faults.shift() ?? null;
      seen.push(`${asked} ${fault ?? "whole"}`);
      return fault;
    });
    try {
      const image = `${proxy.host}/big:1`;
      await push(tree.store, image, layers);
      // 36 MiB are three chunks, and none of them went twice.
      const whole = ["PATCH whole", "PATCH whole"];
      assert.deepEqual(seen, ["PATCH whole", "PATCH before", "PATCH before", ...whole]);
      // After an answer that was lost docker-registry forgets the upload: it begins anew.
      faults = ["after"];
      await push(tree.store, `${proxy.host}/again:1`, layers, { compression: "zstd" });
      method = "PUT";
      faults = ["after"];
      tree.file("d/third", utf8("3"));
      await push(tree.store, image, [...layers, await tree.seal("three")]);

      method = "GET";
      faults = ["within", "before", "within", "within", "within"];
      seen.length = 0;
      const { store, layers: got } = await pull(image);
      assert.deepEqual(seen.slice(0, 3), ["GET within", "GET before", "GET within"]);
      const chain = await store.chain(got[1]!.point);
      assert.equal(chain.length, 1);
      assert.deepEqual(
        await describeTree(store, got[1]!.point),
        await describeTree(tree.store, layers[1]!.point),
      );
    } finally {
      await proxy.close();
    }
  });
});

Deno.test("passwords out of docker's configuration, helpers and the environment", async () => {
  await withDirectory(async (directory) => {
    await using registry = await startRegistry(directory, { login: true });
    const { tree, layers } = await twoLayers();
    const image = `${registry.host}/private:1`;
    await assert.rejects(push(tree.store, image, layers), /access to private is denied/);
    const names = ["DOCKER_CONFIG", "TARBOX_REGISTRY_PASSWORD", "PATH", "REGISTRY_AUTH_FILE"];
    const before = names.map((name) => [name, Deno.env.get(name)] as const);
    try {
      Deno.env.set("DOCKER_CONFIG", directory);
      Deno.env.delete("REGISTRY_AUTH_FILE");
      const config = (value: unknown) =>
        Deno.writeTextFile(join(directory, "config.json"), JSON.stringify(value));
      await config({ auths: { [registry.host]: { auth: utf8("robot:wrong").toBase64() } } });
      const wrong = await findCredentials(registry.host, null);
      await assert.rejects(push(tree.store, image, layers, { credentials: wrong }), /denied/);
      await config({ auths: { [registry.host]: { auth: utf8("robot:s3cret:word").toBase64() } } });
      const stored = await findCredentials(registry.host, null);
      await push(tree.store, image, layers, { credentials: stored });

      const helper = join(directory, "docker-credential-tarbox-test");
      const answer = JSON.stringify({ Username: "robot", Secret: "s3cret:word" });
      await Deno.writeTextFile(
        helper,
        `#!/bin/sh\nread server\ntest "$server" = ${registry.host} && echo '${answer}'\n`,
      );
      await Deno.chmod(helper, 0o755);
      Deno.env.set("PATH", `${directory}:${Deno.env.get("PATH")}`);
      await config({ credHelpers: { [registry.host]: "tarbox-test" } });
      const credentials = await findCredentials(registry.host, null);
      await sameTrees(
        tree.store,
        ...await pull(image, { credentials }).then((got) =>
          [got.store, layers, got.layers] as const
        ),
      );
      await config({ credsStore: "tarbox-missing" });
      await assert.rejects(findCredentials(registry.host, null), /not installed/);

      await assert.rejects(findCredentials(registry.host, "robot"), /no password for robot/);
      Deno.env.set("TARBOX_REGISTRY_PASSWORD", "s3cret:word");
      const typed = await findCredentials(registry.host, "robot");
      assert.equal((await pull(image, { credentials: typed })).layers.length, 2);
    } finally {
      for (const [name, value] of before) {
        if (value === undefined) Deno.env.delete(name);
        else Deno.env.set(name, value);
      }
    }
  });
});

Deno.test("bearer tokens: asked for by scope, renewed when they expire, sent nowhere else", async () => {
  await withDirectory(async (directory) => {
    await using registry = await startRegistry(directory);
    const { tree, layers } = await twoLayers();
    let uses = 0;
    let token = 0;
    const asked: string[] = [];
    const server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      async (request) => {
        const url = new URL(request.url);
        if (url.pathname === "/token") {
          asked.push(url.searchParams.getAll("scope").join(" "));
          const authorized = request.headers.get("authorization") ===
            `Basic ${utf8("robot:secret").toBase64()}`;
          if (!authorized) return new Response("no", { status: 401 });
          uses = 0;
          return Response.json({ token: `token-${++token}` });
        }
        const authorization = request.headers.get("authorization");
        const body = request.body === null ? undefined : await request.bytes();
        if (authorization !== `Bearer token-${token}` || ++uses > 4) {
          return new Response(null, {
            status: 401,
            headers: {
              "www-authenticate": `Bearer realm="http://${url.host}/token",service="test"`,
            },
          });
        }
        const response = await fetch(`http://${registry.host}${url.pathname}${url.search}`, {
          method: request.method,
          headers: { ...Object.fromEntries(request.headers), host: url.host },
          body: body?.length === 0 ? undefined : body,
        });
        // Locations of the registry lead past this server, where a token would be a leak.
        return new Response(response.body, response);
      },
    );
    try {
      const image = `127.0.0.1:${server.addr.port}/team/it:1`;
      const credentials = { username: "robot", password: "secret" };
      await assert.rejects(
        push(tree.store, image, layers, { credentials: { username: "robot", password: "no" } }),
        /token server refused/,
      );
      await push(tree.store, image, layers, { credentials });
      assert.ok(token >= 2, "it was renewed");
      assert.ok(asked.every((scope) => scope === "repository:team/it:pull,push"), asked.join());
      const { layers: got, store } = await pull(image, { credentials });
      await sameTrees(tree.store, store, layers, got);
    } finally {
      await server.shutdown();
    }
  });
});

Deno.test("a registry that is damaged or not there is told, and nothing is added", async () => {
  await withDirectory(async (directory) => {
    await using registry = await startRegistry(directory);
    const { tree, layers } = await twoLayers();
    const image = `${registry.host}/it:1`;
    await push(tree.store, image, layers);
    await assert.rejects(pull(`${registry.host}/it:2`), /status 404/);
    await assert.rejects(pull(`${registry.host}/none:1`), /status 404/);
    const blobs = join(registry.storage, "docker/registry/v2/blobs/sha256");
    const known = await tree.store.changesetsTo([layers[0]!.point]);
    const digest = known[0]!.digest.slice("sha256:".length);
    const file = join(blobs, digest.slice(0, 2), digest, "data");
    const bytes = await Deno.readFile(file);
    bytes[bytes.length >> 1]! ^= 1;
    await Deno.writeFile(file, bytes);
    const store = memoryStore();
    await assert.rejects(pull(image, {}, store), /has the digest/);
    assert.deepEqual(await store.layers(), []);
  });
  await assert.rejects(pull("localhost:1/it:1"), /cannot be reached/);
});

Deno.test("names of images", () => {
  const parts = (written: string) => {
    const { host, repository, tag, digest } = parseImageName(written);
    return [host, repository, tag, digest];
  };
  assert.deepEqual(parts("debian"), ["registry-1.docker.io", "library/debian", "latest", null]);
  assert.deepEqual(parts("me/it:2"), ["registry-1.docker.io", "me/it", "2", null]);
  assert.deepEqual(parts("localhost/a/b"), ["localhost", "a/b", "latest", null]);
  assert.deepEqual(parts("docker://r.example.org:5000/a:T"), [
    "r.example.org:5000",
    "a",
    "T",
    null,
  ]);
  const digest = `sha256:${"a".repeat(64)}`;
  assert.deepEqual(parts(`h.io/a:1@${digest}`), ["h.io", "a", "1", digest]);
  for (
    const wrong of [
      "",
      "A",
      "h.io/",
      "h.io/a:",
      "h.io/a@md5:1",
      "h.io/../a",
      "h.io/a b",
      "x@y/z.w/a",
    ]
  ) {
    assert.throws(() => parseImageName(wrong), /image /, wrong);
  }
});
