/**
 * One named question about a file system. It takes nothing but an empty directory to work in, owned
 * by root, mode 0755: so it runs on a native directory, its control, as well as on a mount.
 */
export interface PosixCheck {
  readonly name: string;
  /** @throws when the file system does not do what the man page says */
  readonly run: (directory: string) => void | Promise<void>;
}
