/** Work that every target does: shell commands as people run them, timed from start to end. */
import type { Fixtures, Size } from "./fixtures.ts";

/** One row of the table. Commands run in an empty directory of the target. */
export interface Workload {
  readonly name: string;
  /** Not timed: what must be there before. */
  readonly before?: string;
  /** The kernel and the server have nothing cached when the timed command starts. */
  readonly cold?: boolean;
  /** The timed command. */
  readonly command: string;
  /** Exit statuses that are good beside 0. */
  readonly status?: readonly number[];
}

const COUNTS: Readonly<
  Record<Size, { files: number; reopens: number; inserts: number; fioMegabytes: number }>
> = {
  small: { files: 1000, reopens: 2000, inserts: 100, fioMegabytes: 32 },
  full: { files: 10_000, reopens: 20_000, inserts: 1000, fioMegabytes: 256 },
};

const GIT = "git -c user.name=bench -c user.email=bench@example.org -c gc.auto=0";
const FIND = "find . -printf '%p %s %m %T@\\n' > /dev/null";
const GREP = "grep -rc observable . > /dev/null";

/** All workloads, in the order of the table. */
export function workloads(fixtures: Fixtures): Workload[] {
  const { files, reopens, inserts, fioMegabytes } = COUNTS[fixtures.size];
  const { tree, project, repository, random, filesProgram } = fixtures;
  const untar = `tar xf ${tree}`;
  const clone = `git clone -q --no-local ${repository} clone`;
  const quarter = Math.floor(fixtures.randomBytes / 4 / 2 ** 20);
  const fio = (kind: string, jobs: number) =>
    `fio --name=job --rw=${kind} --bs=4k --size=${fioMegabytes}M --numjobs=${jobs} ` +
    `--io_size=${Math.floor(fioMegabytes / 4)}M --ioengine=psync --fallocate=none ` +
    `--group_reporting --end_fsync=1 > /dev/null`;
  const laid = (jobs: number) =>
    `for i in $(seq 0 ${jobs - 1}); do ` +
    `dd if=${random} of=job.$i.0 bs=1M count=${fioMegabytes} status=none conv=fsync; done`;
  return [
    { name: "untar of an npm tree", command: untar },
    { name: "rm -rf of it", before: untar, command: "rm -rf node_modules" },
    {
      name: "npm ci, offline cache",
      before: `cp ${project}/package*.json .`,
      command: `npm ci --offline --cache ${fixtures.npmCache} --ignore-scripts --no-audit ` +
        "--no-fund --silent",
    },
    { name: "find and stat, cold", before: untar, cold: true, command: FIND },
    { name: "find and stat, warm", before: `${untar}; ${FIND}`, command: FIND },
    { name: "grep -r, cold", before: untar, cold: true, command: GREP, status: [1] },
    { name: "grep -r, warm", before: `${untar}; ${GREP}; true`, command: GREP, status: [1] },
    { name: "git clone", command: clone },
    {
      name: "git add",
      before: `${clone}; cd clone; rm -rf .git; git init -q`,
      command: `cd clone && ${GIT} add -A`,
    },
    {
      name: "git commit",
      before: `${clone}; cd clone; rm -rf .git; git init -q; ${GIT} add -A`,
      command: `cd clone && ${GIT} commit -q -m second`,
    },
    {
      name: "git status, warm",
      before: `${clone}; cd clone; git status > /dev/null`,
      command: "cd clone && git status > /dev/null",
    },
    { name: "git checkout", before: clone, command: "cd clone && git checkout -q HEAD~1" },
    {
      name: "TypeScript compile",
      before: `${untar}; cp -r ${project}/src ${project}/tsconfig.json .`,
      command: "node node_modules/typescript/bin/tsc -p .",
    },
    {
      name: "write of a large file, fsync",
      command: `dd if=${random} of=large bs=1M conv=fsync status=none`,
    },
    {
      name: "read of a large file, cold",
      before: `dd if=${random} of=large bs=1M conv=fsync status=none`,
      cold: true,
      command: "dd if=large of=/dev/null bs=1M status=none",
    },
    {
      name: "read of a large file, warm",
      before: `dd if=${random} of=large bs=1M conv=fsync status=none; cat large > /dev/null`,
      command: "dd if=large of=/dev/null bs=1M status=none",
    },
    ...[1, 4].flatMap((jobs): Workload[] => [
      {
        name: `fio 4 KiB random read, ${jobs} jobs`,
        before: laid(jobs),
        command: fio("randread", jobs),
      },
      {
        name: `fio 4 KiB random write, ${jobs} jobs`,
        before: laid(jobs),
        command: fio("randwrite", jobs),
      },
    ]),
    { name: `${files} small files`, command: `${filesProgram} create . ${files} 1000` },
    {
      name: `${files} small files, fsync each`,
      command: `${filesProgram} create . ${files} 1000 fsync`,
    },
    {
      name: `open, read, close of a warm file, ${reopens} times`,
      before: "echo some text > file; cat file",
      command: `${filesProgram} reopen file ${reopens}`,
    },
    {
      name: `SQLite, ${inserts} transactions`,
      before: "sqlite3 base 'create table t (i integer primary key, text text)'",
      command: `seq 1 ${inserts} | sed "s/.*/insert into t values (&, 'some text');/" | ` +
        "sqlite3 base",
    },
    {
      name: "cp -r of large files",
      before: `mkdir from; for i in 0 1 2 3; do dd if=${random} of=from/$i bs=1M ` +
        `count=${quarter} skip=$((i * ${quarter})) status=none conv=fsync; done`,
      command: "cp -r from to",
    },
  ];
}
