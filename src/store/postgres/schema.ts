import { BASE } from "./migrations/0001_base.ts";
import { IMAGES } from "./migrations/0002_images.ts";
import { SHARING } from "./migrations/0003_sharing.ts";
import { GARBAGE } from "./migrations/0004_garbage.ts";
import { AMEND } from "./migrations/0005_amend.ts";
import { READS } from "./migrations/0006_reads.ts";
import { SHORTCUTS } from "./migrations/0007_shortcuts.ts";
import { CLAIMS } from "./migrations/0008_claims.ts";
import { LAYERS } from "./migrations/0009_layers.ts";
import { QUOTAS } from "./migrations/0010_quotas.ts";

/**
 * The schema as ordered steps; a step that was ever released is never edited, only followed by
 * another. spec/data-model.md says what the tables mean.
 */
export const MIGRATIONS: readonly string[] = [
  BASE,
  IMAGES,
  SHARING,
  GARBAGE,
  AMEND,
  READS,
  SHORTCUTS,
  CLAIMS,
  LAYERS,
  QUOTAS,
];
