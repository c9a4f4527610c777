import type { Adapter } from "../types/adapter.js";

/** A value of both adapters. */
export interface ComparedValue<T> {
  name: string;
  /** Null where the adapter lacks it. */
  a: T | null;
  b: T | null;
}

/** Two adapters side by side. */
export interface AdapterComparison {
  a: Adapter;
  b: Adapter;
  /** Every metric that either has, by name; `difference` is b - a, null where one lacks it. */
  metrics: (ComparedValue<number> & { difference: number | null })[];
  /** What differs: domain, base model, data set, job, cycle, parent. */
  differences: ComparedValue<string>[];
  examples: { a: number; b: number; shared: number };
}

/** Lays two adapters side by side; judges nothing, since for some metrics less is better. */
export function compareAdapters(a: Adapter, b: Adapter): AdapterComparison {
  const metricNames = [...new Set([...Object.keys(a.metrics), ...Object.keys(b.metrics)])].sort();
  const facts = (adapter: Adapter): Record<string, string | undefined> => ({
    domain: adapter.domain,
    baseModel: adapter.baseModel,
    status: adapter.status,
    path: adapter.path,
    sha256: adapter.sha256 ?? undefined,
    ...adapter.lineage,
  });
  const [factsOfA, factsOfB] = [facts(a), facts(b)];
  const factNames = [...new Set([...Object.keys(factsOfA), ...Object.keys(factsOfB)])];
  const examplesOfA = new Set(a.examples);
  const examplesOfB = new Set(b.examples);
  return {
    a,
    b,
    metrics: metricNames.map((name) => {
      const [left, right] = [a.metrics[name] ?? null, b.metrics[name] ?? null];
      return { name, a: left, b: right, difference: left === null || right === null ? null : right - left };
    }),
    differences: factNames
      .map((name) => ({ name, a: factsOfA[name] ?? null, b: factsOfB[name] ?? null }))
      .filter((fact) => fact.a !== fact.b),
    examples: { a: examplesOfA.size, b: examplesOfB.size, shared: [...examplesOfA].filter((text) => examplesOfB.has(text)).length },
  };
}
