import { hash } from "node:crypto";
import { ValidationError } from "../errors.js";

/**
 * What a tenant teaches is learnt in domains of its own, named `<tenant>--<domain>`, and so are its data sets and adapters. By the name
 * alone everybody knows whose something is, the database's constraint among them (`clara.refuse_foreign_samples`).
 */
const SEPARATOR = "--";
const MAX_DOMAIN_CHARACTERS = 64;
/** A tenant that is such a name itself is taken as it is; at the edges a sign would be lost in an adapter's name or run into the separator. */
const PLAIN_TENANT = /^[a-z0-9](?:[a-z0-9_-]{0,18}[a-z0-9_])?$/;
const HASHED_TENANT = /^t[0-9a-f]{12}$/;
const HASH_DIGITS = 12;

/** The tenant that the metadata of a feedback or of a request names; null: none. */
export function tenantOf(metadata: Readonly<Record<string, unknown>> | undefined | null): string | null {
  const tenant = metadata?.tenant;
  return typeof tenant === "string" && tenant !== "" ? tenant : null;
}

/**
 * The tenant that a caller's metadata names; null: none. What stands there and is no text would pass for nobody's, and teach everybody.
 * @throws ValidationError `input_invalid`
 */
export function givenTenant(metadata: Readonly<Record<string, unknown>> | undefined | null): string | null {
  const given = metadata?.tenant;
  const tenant = tenantOf(metadata);
  if (tenant !== null || given === undefined || given === null) return tenant;
  throw new ValidationError(
    "input_invalid",
    `metadata.tenant: ${JSON.stringify(given)} names no tenant. Give a text that is not empty, or leave it out.`,
    {
      details: { field: "metadata.tenant" },
    },
  );
}

/** The tenant as it stands in names: itself where it is a short one, else the beginning of its SHA-256. */
export function tenantPart(tenant: string): string {
  if (PLAIN_TENANT.test(tenant) && !tenant.includes(SEPARATOR) && !HASHED_TENANT.test(tenant)) return tenant;
  return `t${hash("sha256", tenant, "hex").slice(0, HASH_DIGITS)}`;
}

/** Whose a domain or an adapter is: the tenant's part of its name; null: everybody's. */
export function tenantPartOf(domainOrAdapterId: string): string | null {
  const end = domainOrAdapterId.indexOf(SEPARATOR);
  return end === -1 ? null : domainOrAdapterId.slice(0, end);
}

/** Whether an adapter may answer a tenant, or with null a request that names none. */
export function mayAnswer(adapterId: string, tenant: string | null): boolean {
  const owner = tenantPartOf(adapterId);
  return owner === null || (tenant !== null && owner === tenantPart(tenant));
}

/** A domain as people name it. */
export function plainDomain(domain: string): string {
  const end = domain.indexOf(SEPARATOR);
  return end === -1 ? domain : domain.slice(end + SEPARATOR.length);
}

/** The domain of a tenant by its part of the name. */
export function domainOfPart(domain: string, part: string): string {
  return `${part}${SEPARATOR}${domain}`;
}

/**
 * Refuses a domain that is another tenant's, or that holds `--` without being one that the router returned for this tenant.
 * @throws ValidationError `input_invalid` naming the field
 */
export function refuseForeignDomain(domain: string, tenant: string | null, field = "domain"): void {
  const end = domain.indexOf(SEPARATOR);
  if (end === -1) return;
  const isOwn = tenant !== null && domain.slice(0, end) === tenantPart(tenant) && !plainDomain(domain).includes(SEPARATOR);
  if (isOwn && end + SEPARATOR.length < domain.length) return;
  throw new ValidationError(
    "input_invalid",
    `${field}: "${domain}" is not a domain of this request's tenant. "--" stands between a tenant and its domain only; give the domain without the tenant.`,
    { details: { field } },
  );
}

/**
 * The domain in which a tenant's feedback is learnt; without a tenant the domain itself. One that is this tenant's already stays.
 * @throws ValidationError `input_invalid` naming the field, where it is another tenant's or too long
 */
export function scopedDomain(domain: string, tenant: string | null, field = "domain"): string {
  refuseForeignDomain(domain, tenant, field);
  if (tenant === null || tenantPartOf(domain) !== null) return domain;
  const scoped = domainOfPart(domain, tenantPart(tenant));
  if (scoped.length <= MAX_DOMAIN_CHARACTERS) return scoped;
  const longest = MAX_DOMAIN_CHARACTERS - (scoped.length - domain.length);
  throw new ValidationError(
    "input_invalid",
    `${field}: "${domain}" has ${domain.length} characters; ${longest} are allowed beside this tenant's name. Give a shorter domain.`,
    { details: { field, longest } },
  );
}

/** What keeps a tenant's prompts apart in an engine's prefix cache. */
export function cacheSaltOf(tenant: string): string {
  return hash("sha256", tenant, "hex");
}
