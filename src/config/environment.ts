import { z } from "zod";
import { nearestWord } from "../support/nearest-word.js";
import { keysAt, schemaAt } from "./config-file.js";
import type { SettingSources } from "./setting-sources.js";

export type Environment = Readonly<Record<string, string | undefined>>;

/** UDS3's own names; the passwords are read where the connections are made, and stand nowhere else. */
const UDS3 = {
  UDS3_POSTGRES_HOST: ["uds3", "postgresql", "host"],
  UDS3_POSTGRES_PORT: ["uds3", "postgresql", "port"],
  UDS3_POSTGRES_DATABASE: ["uds3", "postgresql", "database"],
  UDS3_POSTGRES_USER: ["uds3", "postgresql", "user"],
  UDS3_CHROMA_HOST: ["uds3", "chromadb", "host"],
  UDS3_CHROMA_PORT: ["uds3", "chromadb", "port"],
  UDS3_NEO4J_HOST: ["uds3", "neo4j", "host"],
  UDS3_NEO4J_PORT: ["uds3", "neo4j", "port"],
  UDS3_NEO4J_USER: ["uds3", "neo4j", "user"],
} as const;

/** Prefixes of the environment, and the section that each stands for. */
const PREFIXES = { CLARA_TRAINING_: "training", CLARA_SERVICE_: "service" } as const;

/** A variable that has the prefix of a section and names no key of it. */
export interface UnknownVariable {
  variable: string;
  nearest: string | undefined;
}

/** Puts what the environment says over what the file says. An empty variable says nothing. */
export function overlayEnvironment(data: Record<string, unknown>, environment: Environment, sources: SettingSources): UnknownVariable[] {
  const set = (path: readonly string[], variable: string, value: string): void => {
    if (put(data, path, typed(value, schemaAt(path)))) sources.inVariable(path.join("."), variable);
  };
  const usesUds3 = data.uds3 !== undefined || Object.keys(UDS3).some((name) => name.endsWith("_HOST") && environment[name]);
  for (const [variable, path] of usesUds3 ? Object.entries(UDS3) : []) {
    const value = environment[variable];
    if (value) set(path, variable, value);
  }
  const unknown: UnknownVariable[] = [];
  for (const [variable, value] of Object.entries(environment)) {
    const prefix = Object.keys(PREFIXES).find((one) => variable.startsWith(one)) as keyof typeof PREFIXES | undefined;
    if (prefix === undefined || !value) continue;
    const path = [PREFIXES[prefix], ...variable.slice(prefix.length).toLowerCase().split("__")];
    const schema = schemaAt(path);
    if (schema === undefined || schema instanceof z.ZodObject)
      unknown.push({ variable, nearest: nearestWord(variable, variablesOf(prefix)) });
    else set(path, variable, value);
  }
  return unknown;
}

function variablesOf(prefix: keyof typeof PREFIXES): string[] {
  const below = (path: string[]): string[][] => {
    const keys = keysAt(path);
    return keys.length === 0 ? [path] : keys.flatMap((key) => below([...path, key]));
  };
  return below([PREFIXES[prefix]]).map(([, ...keys]) => prefix + keys.join("__").toUpperCase());
}

/** False where the file has something other than a section on the way; its own problem is told then. */
function put(data: Record<string, unknown>, path: readonly string[], value: unknown): boolean {
  const [key, ...rest] = path as [string, ...string[]];
  if (rest.length === 0) {
    data[key] = value;
    return true;
  }
  data[key] ??= {};
  const below = data[key];
  if (typeof below !== "object" || below === null || Array.isArray(below)) return false;
  return put(below as Record<string, unknown>, rest, value);
}

/** The text as its key wants it; what does not fit stays a text, and the schema says so. */
function typed(value: string, schema: z.core.$ZodType | undefined): unknown {
  if (schema instanceof z.ZodArray) return value.split(",").map((item) => item.trim());
  if (schema instanceof z.ZodBoolean) return { true: true, false: false }[value.toLowerCase()] ?? value;
  if (schema instanceof z.ZodNumber || schema instanceof z.ZodUnion) return /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value;
  return value;
}
