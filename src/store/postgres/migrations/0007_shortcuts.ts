/** Lineages that sum up a run of others, so that a long chain is read as a short one. */
export const SHORTCUTS = `
create table shortcuts (
  tenant_id integer not null,
  lineage integer not null,
  ordinal integer not null,
  summary integer not null,
  primary key (tenant_id, lineage, ordinal),
  foreign key (tenant_id, lineage) references lineages on delete cascade,
  foreign key (tenant_id, summary) references lineages
);
create index idx_shortcut_summary on shortcuts (tenant_id, summary);
`;
