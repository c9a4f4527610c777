import type { z } from "zod";
import { ConflictError, NotFoundError, ValidationError } from "../errors.js";
import { tenantPartOf } from "../support/tenancy.js";
import { Adapter, AdapterInput } from "../types/adapter.js";
import type { Canary } from "../types/canary.js";
import type { CanaryEnd } from "./adapter-registry.js";

export { adapterNotFound } from "../support/adapter-not-found.js";

/** `name@vN`. */
export function adapterIdOf(name: string, version: number): string {
  return `${name}@v${version}`;
}

/** What `register` stores: input checked, defaults filled, texts that no database takes mended. */
export type CheckedAdapterInput = z.output<typeof AdapterInput>;

const LONE_SURROGATE = /[\ud800-\udfff]/gu;

/** Checks an `AdapterInput`; throws `ValidationError` `input_invalid` naming the fields. */
export function checkAdapterInput(input: AdapterInput): CheckedAdapterInput {
  const checked = AdapterInput.safeParse(input);
  if (!checked.success) {
    throw new ValidationError("input_invalid", `The adapter cannot be registered: ${issuesOf(checked.error)}.`, {
      details: { issues: checked.error.issues.map(({ path, message }) => ({ path: path.join("."), message })) },
    });
  }
  if (tenantPartOf(checked.data.name) !== tenantPartOf(checked.data.domain)) {
    throw new ValidationError(
      "input_invalid",
      `The adapter cannot be registered: name "${checked.data.name}" and domain "${checked.data.domain}" are not of the same tenant ("<tenant>--…").`,
      { details: { field: "name" } },
    );
  }
  // PostgreSQL's JSON knows neither NUL nor halves of surrogate pairs, and users' questions hold anything.
  const examples = checked.data.examples.map((example) => example.replaceAll("\u0000", "").replace(LONE_SURROGATE, "\ufffd"));
  return { ...checked.data, examples };
}

/** `field: message` for each issue, for error messages. */
export function issuesOf(error: z.ZodError): string {
  return error.issues.map(({ path, message }) => `${path.join(".") || "input"}: ${message}`).join("; ");
}

/** A fresh candidate. */
export function candidateOf(input: CheckedAdapterInput, version: number, createdAt: Date): Adapter {
  return Adapter.parse({
    id: adapterIdOf(input.name, version),
    name: input.name,
    version,
    domain: input.domain,
    path: input.path,
    baseModel: input.baseModel,
    sha256: input.sha256 ?? null,
    status: "candidate",
    metrics: input.metrics,
    lineage: input.lineage,
    examples: input.examples,
    metadata: input.metadata ?? {},
    createdAt: createdAt.toISOString(),
    activatedAt: null,
  });
}

/** Answers the existing version if the input describes the same bytes; otherwise throws `adapter_state_conflict`. */
export function sameAdapterOrConflict(existing: Adapter, input: CheckedAdapterInput): Adapter {
  const differing = [
    existing.domain !== input.domain && "domain",
    existing.path !== input.path && "path",
    existing.baseModel !== input.baseModel && "baseModel",
    existing.sha256 !== (input.sha256 ?? null) && "sha256",
  ].filter((field) => field !== false);
  if (differing.length === 0) return existing;
  throw new ConflictError(
    "adapter_state_conflict",
    `Adapter ${existing.id} is registered already with another ${differing.join(", ")}. Versions never change: register a new version.`,
    { details: { id: existing.id, differing } },
  );
}

export function canaryNotFound(id: string): NotFoundError {
  return new NotFoundError("canary_not_found", `There is no canary ${id}. List them with listCanaries().`, { details: { id } });
}

/** Refuses a version that cannot be put on trial. */
export function checkCanaryStart(adapter: Pick<Adapter, "id" | "status" | "revokedReason">, share: number): void {
  if (adapter.revokedReason !== undefined) throw revokedAdapter(adapter.id, adapter.status, adapter.revokedReason);
  if (adapter.status === "active") {
    throw new ConflictError(
      "adapter_state_conflict",
      `Adapter ${adapter.id} serves its domain already; a canary is a version that does not.`,
      {
        details: { id: adapter.id, status: adapter.status },
      },
    );
  }
  if (share > 0 && share < 1) return;
  throw new ValidationError("input_invalid", `The share of a canary must be above 0 and below 1, not ${share}.`, { details: { share } });
}

/** How a canary ends when an adapter goes out of service: on trial itself it is rolled back, and without its incumbent there is no trial. */
export function endWithout(canary: Canary, adapterId: string, reason: string): CanaryEnd | undefined {
  if (canary.adapterId === adapterId) return { status: "rolled_back", reason };
  if (canary.incumbentId === adapterId) return { status: "superseded", reason: `its incumbent went out of service: ${reason}` };
  return undefined;
}

export function canaryEnded({ id, status, reason }: Pick<Canary, "id" | "status" | "reason">): ConflictError {
  return new ConflictError("adapter_state_conflict", `The canary ${id} has ended already: ${status.replace("_", " ")} (${reason}).`, {
    details: { id, status },
  });
}

export function revokedAdapter(id: string, status: string, reason: string): ConflictError {
  return new ConflictError(
    "adapter_state_conflict",
    `Adapter ${id} is ${status} (${reason}) and can never serve again. Train a new version.`,
    {
      details: { id, status, reason },
    },
  );
}
