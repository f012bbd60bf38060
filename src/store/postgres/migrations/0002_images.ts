/** What is known of sealed states as container images (spec/oci.md). */
export const IMAGES = `
create table changesets (
  tenant_id integer not null,
  lineage integer not null,
  ordinal integer not null,
  below_lineage integer not null,
  below_ordinal integer not null,
  diff_id text not null,
  packing text not null,
  digest text not null,
  size bigint not null,
  repositories text[] not null,
  primary key (tenant_id, lineage, ordinal, below_lineage, below_ordinal, digest, packing),
  foreign key (tenant_id, lineage) references lineages on delete cascade
);
create index idx_changeset_diff on changesets (tenant_id, diff_id);

create table image_configs (
  tenant_id integer not null,
  lineage integer not null,
  ordinal integer not null,
  config text not null,
  primary key (tenant_id, lineage, ordinal),
  foreign key (tenant_id, lineage) references lineages on delete cascade
);
`;
