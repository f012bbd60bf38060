import { equalBytes, utf8 } from "../base/bytes.ts";

/** Whether an absolute path is a directory or under it. */
export function pathUnder(path: Uint8Array, directory: Uint8Array): boolean {
  if (directory.length <= 1) return true;
  return path.length >= directory.length &&
    equalBytes(path.subarray(0, directory.length), directory) &&
    (path.length === directory.length || path[directory.length] === 0x2f);
}

/** A path as a person writes it: absolute, of the workspace's root, without `.` and doubled slashes. */
export function absolutePath(path: string): Uint8Array<ArrayBuffer> {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  return utf8(`/${parts.join("/")}`);
}
