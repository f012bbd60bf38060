/** What a mount is asked to be; crosses from the command to its daemon as JSON. */
export interface MountSpec {
  /** TARBOX_HOME. */
  readonly home: string;
  /** Absolute path without symbolic links. */
  readonly directory: string;
  readonly config: string | null;
  readonly tenant: string;
  readonly workspace: string;
  readonly readOnly: boolean;
  /** A reference to the layer to show, read-only; null: the head. */
  readonly at: string | null;
  readonly allowOther: boolean;
  readonly noatime: boolean;
}
