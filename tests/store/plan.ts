/** A node of what `explain (analyze, format json)` gives. */
export interface Plan {
  readonly "Node Type": string;
  readonly "Relation Name"?: string;
  readonly "Actual Rows": number;
  readonly "Actual Loops": number;
  readonly "Rows Removed by Filter"?: number;
  readonly "Rows Removed by Index Recheck"?: number;
  readonly Plans?: readonly Plan[];
}

/** What a plan touched: rows of tables, and tables that were read from end to end. */
export function touched(plan: Plan): { rows: number; sequential: string[] } {
  const relation = plan["Relation Name"];
  const below = (plan.Plans ?? []).map(touched);
  const filtered = (plan["Rows Removed by Filter"] ?? 0) +
    (plan["Rows Removed by Index Recheck"] ?? 0);
  const own = relation === undefined
    ? 0
    : Math.round((plan["Actual Rows"] + filtered) * plan["Actual Loops"]);
  return {
    rows: own + below.reduce((sum, { rows }) => sum + rows, 0),
    sequential: [
      ...(plan["Node Type"] === "Seq Scan" ? [relation ?? "?"] : []),
      ...below.flatMap(({ sequential }) => sequential),
    ],
  };
}
