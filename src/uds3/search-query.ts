import { findEncodingFault } from "../datasets/checks/encoding.js";
import { ConfigurationError, ValidationError } from "../errors.js";
import { SearchQuery, type SearchType } from "../types/index.js";

/** A checked query. */
export interface Uds3Query {
  queryText: string;
  topK: number;
  searchTypes: SearchType[];
  weights: Record<SearchType, number>;
  /** Absent: as the connector was set up. */
  fusion: "weighted" | "rrf" | undefined;
  filters: Uds3Filters;
  /** Documents that each leg hands to the fusion. */
  perLeg: number;
}

/** Filters with their dates as moments. */
export interface Uds3Filters {
  documentType?: string;
  domain?: string;
  minQuality?: number;
  from?: Date;
  /** The last moment, or with `isToExclusive` the first that is too late. */
  to?: Date;
  isToExclusive: boolean;
}

/** @throws ValidationError `input_invalid` */
export function parseQuery(query: SearchQuery, byDefault: SearchType[]): Uds3Query {
  const parsed = SearchQuery.safeParse({ ...query, searchTypes: query?.searchTypes ?? byDefault });
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const field = issue?.path.join(".") ?? "";
    throw new ValidationError("input_invalid", `The search query is invalid at ${field || "its root"}: ${issue?.message}.`, {
      details: { field },
    });
  }
  const { queryText, topK, weights, filters } = parsed.data;
  if (filters.tenant !== undefined) {
    throw new ConfigurationError(
      "capability_missing",
      "UDS3's documents belong to no tenant, so that filters.tenant cannot be applied. Leave it out, or keep a tenant's documents in databases of its own.",
      { details: { filter: "tenant" } },
    );
  }
  for (const [field, text] of [
    ["queryText", queryText],
    ["filters.documentType", filters.documentType ?? ""],
  ] as const) {
    const fault = findEncodingFault(text);
    if (fault)
      throw new ValidationError("input_invalid", `The search query is not valid text at ${field}: ${fault}.`, { details: { field } });
  }
  const searchTypes = [...new Set(parsed.data.searchTypes ?? byDefault)];
  if (searchTypes.reduce((sum, type) => sum + weights[type], 0) <= 0) {
    throw new ValidationError("input_invalid", `The weights of ${searchTypes.join(" and ")} are all 0. Give one of them a weight.`, {
      details: { field: "weights" },
    });
  }
  const isToExclusive = filters.to !== undefined && /^\d{4}-\d{2}-\d{2}$/.test(filters.to);
  return {
    queryText,
    topK,
    searchTypes,
    weights,
    fusion: query.fusion,
    perLeg: Math.min(2000, Math.max(50, 2 * topK)),
    filters: {
      documentType: filters.documentType,
      domain: filters.domain,
      minQuality: filters.minQuality,
      from: filters.from === undefined ? undefined : new Date(filters.from),
      // A day without a time means the whole of it (UTC).
      to: filters.to === undefined ? undefined : new Date(Date.parse(filters.to) + (isToExclusive ? 24 * 60 * 60 * 1000 : 0)),
      isToExclusive,
    },
  };
}

/** The name under which a database holds what a filter asks for; a filter that cannot be applied is never ignored. */
export function filteredField(name: string | null, filter: string, database: string): string {
  if (name !== null) return name;
  throw new ConfigurationError(
    "capability_missing",
    `The mapping says that ${database} holds nothing for the filter ${filter}. Map it, or leave the filter out`,
    { details: { filter } },
  );
}
