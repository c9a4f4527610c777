import { hashOf } from "../support/hash-of.js";
import { givenTenant, plainDomain, refuseForeignDomain, scopedDomain, tenantOf, tenantPart, tenantPartOf } from "../support/tenancy.js";
import type { FirewallFinding, PairSketch } from "../types/feedback.js";
import type { ParsedFeedback } from "./feedback-input.js";
import type { FoundGeneration, ServingPort } from "./ports.js";
import type { StageContext } from "./stages/stage.js";

/** `separate`: each tenant's feedback trains adapters of its own; `shared`: all of a domain train one adapter. */
export type TenantMode = "separate" | "shared";

/** Whose a feedback is: the answer's tenant where the answer has one. */
export function tenantOfFeedback(parsed: ParsedFeedback, generation: FoundGeneration | null): string | null {
  const given = givenTenant(parsed.metadata);
  return generation?.tenant ?? given;
}

/** The finding about feedback of one tenant on an answer to another; null: none. */
export function foreignTenant(parsed: ParsedFeedback, generation: FoundGeneration | null): FirewallFinding | null {
  const claimed = tenantOf(parsed.metadata);
  if (claimed === null || generation?.tenant == null || generation.tenant === claimed) return null;
  return { code: "not_own_generation", action: "reject", reason: "the answer was given to somebody else" };
}

/**
 * The domain in which it is learnt.
 * @throws ValidationError `input_invalid` for a domain of another tenant
 */
export function learningDomain(domain: string, tenant: string | null, mode: TenantMode): string {
  if (mode === "separate") return scopedDomain(domain, tenant);
  refuseForeignDomain(domain, tenant);
  return plainDomain(domain);
}

/** The same key of two tenants is two keys: neither may learn that the other gave something. */
export function keyWithin(domain: string, key: string): string {
  const part = tenantPartOf(domain);
  return part === null ? key : hashOf(part, key);
}

/** A sketch that is compared with those of the same tenant only. */
export function sketchWithin(domain: string, sketch: PairSketch): PairSketch {
  return { ...sketch, key: keyWithin(domain, sketch.key) };
}

/** The tenant whose cycle it is, by its own name, which the domain may hold only as a hash; null: the cycle is nobody's, or its people were erased. */
export async function tenantOfCycle({ store, cycle }: Pick<StageContext, "store" | "cycle">): Promise<string | null> {
  const part = tenantPartOf(cycle.domain);
  if (part === null) return null;
  const rows = await store.db
    .selectFrom("feedback")
    .innerJoin("samples", "samples.id", "feedback.id")
    .select("feedback.metadata")
    .where("samples.cycle_id", "=", cycle.id)
    .where("feedback.erased_at", "is", null)
    .limit(1)
    .execute();
  const tenant = tenantOf(rows[0]?.metadata as Record<string, unknown> | undefined);
  return tenant !== null && tenantPart(tenant) === part ? tenant : null;
}

/** A serving client that asks for the tenant, whose adapters answer nobody else. */
export function servingOf(serving: ServingPort, tenant: string | null): ServingPort {
  if (tenant === null) return serving;
  return {
    generate: ({ metadata, ...request }, options) => serving.generate({ ...request, metadata: { ...metadata, tenant } }, options),
    loadAdapter: (adapter, options) => serving.loadAdapter(adapter, options),
    unloadAdapter: (id, options) => serving.unloadAdapter(id, options),
  };
}
