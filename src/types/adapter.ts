import { z } from "zod";
import { Metadata, Slug } from "./common.js";
import { AdapterFingerprint } from "./runtime-protocol.js";

/**
 * `candidate`: registered, not serving. `canary`: serves a share of its domain's users. `active`: serves its domain. `retired`: served
 * before. `rejected`: refused for good.
 */
export const AdapterStatus = z.enum(["candidate", "canary", "active", "retired", "rejected"]);
export type AdapterStatus = z.infer<typeof AdapterStatus>;

/** Where an adapter comes from. */
export const AdapterLineage = z.object({
  datasetId: z.string().optional(),
  jobId: z.string().optional(),
  cycleId: z.string().optional(),
  /** The adapter it was warm-started from. */
  parentAdapterId: z.string().optional(),
});
export type AdapterLineage = z.infer<typeof AdapterLineage>;

/** What the trainer recorded, by which an engine can show that it serves this very adapter. */
export const AdapterIdentity = z.object({
  /** SHA-256 of the weights that it was trained on, hex. */
  baseModelSha256: z.string(),
  rank: z.number().int().min(1),
  targetModules: z.array(z.string()),
  fingerprint: AdapterFingerprint,
});
export type AdapterIdentity = z.infer<typeof AdapterIdentity>;

/** What `registerAdapter` takes. */
export const AdapterInput = z.object({
  name: Slug,
  domain: Slug,
  /** Folder on the runtime's or engine's machine. */
  path: z.string().min(1),
  baseModel: z.string().min(1),
  metrics: z.record(z.string(), z.number()).default({}),
  lineage: AdapterLineage.default({}),
  /** Questions this adapter is meant for; the router embeds them. */
  examples: z.array(z.string()).default([]),
  sha256: z.string().optional(),
  /** Kept until the adapter is rejected or withdrawn; without it no engine can be asked for proof. */
  identity: AdapterIdentity.optional(),
  /** Pins the version, for example the one that the trainer wrote; default: the next of this name. */
  version: z.number().int().min(1).optional(),
  metadata: Metadata.optional(),
});
export type AdapterInput = z.input<typeof AdapterInput>;

/** A registered adapter version; immutable but for its status. */
export const Adapter = z.object({
  /** `name@vN`, also the name under which engines load it. */
  id: z.string(),
  name: z.string(),
  version: z.number().int().min(1),
  domain: z.string(),
  path: z.string(),
  baseModel: z.string(),
  sha256: z.string().nullable(),
  status: AdapterStatus,
  metrics: z.record(z.string(), z.number()),
  lineage: AdapterLineage,
  examples: z.array(z.string()),
  metadata: Metadata,
  createdAt: z.iso.datetime(),
  activatedAt: z.iso.datetime().nullable(),
  /** Why it was rejected or withdrawn; with a reason it can never be active again. */
  revokedReason: z.string().optional(),
});
export type Adapter = z.infer<typeof Adapter>;
