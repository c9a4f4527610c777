import type { Store } from "../../store/store.js";
import type { CallOptions, Embedder } from "../../types/common.js";
import type { FirewallFinding } from "../../types/feedback.js";
import type { PipelineEmitter } from "../events.js";
import { type BatchScreen, holdBack } from "../held-feedback.js";
import type { Answer, SameMeaning } from "./answers.js";
import { type Claim, contestedClaims } from "./claims.js";
import type { Firewall } from "./firewall.js";
import type { FirewallOptions } from "./firewall-options.js";
import { cosineOf, embedPairs } from "./meaning-clusters.js";
import { type Person, readTrackRecords } from "./reputation.js";
import { saidOf } from "./said-lately.js";
import { type Statement, statementOf } from "./statements.js";
import { type Outcome, settle } from "./weighted-votes.js";

/** Statements that are compared, as a multiple of what a batch may hold; the newest count. */
const COMPARED_BATCHES = 20;

/** What the screen works with. */
export interface DisputeScreenParts {
  store: Store;
  pipeline: string;
  firewall: Firewall;
  /** Tells what says the same in other words; without it only words are compared. */
  embedder: Embedder | undefined;
  options: FirewallOptions;
  /** Samples that a batch may hold. */
  capacity: number;
  events: PipelineEmitter;
  clock: () => number;
}

/**
 * Compares what different people say of the same question before a batch is chosen: what loses a dispute, or is in one that cannot be
 * decided, goes to review. What nobody contradicts stays, however much it differs from the model's answer.
 */
export class DisputeScreen implements BatchScreen {
  readonly #parts: DisputeScreenParts;

  constructor(parts: DisputeScreenParts) {
    this.#parts = parts;
  }

  /** Looks at what waits in a domain. */
  async apply(domain: string, callOptions: CallOptions = {}): Promise<void> {
    const { store, pipeline, firewall, embedder, options, capacity, clock } = this.#parts;
    const people = new Map<string, Person>();
    const statements: Statement[] = [];
    const since = new Date(clock() - options.disputeWindowMs);
    const { rows } = await saidOf({ pipeline, domain, since, limit: capacity * COMPARED_BATCHES }).execute(store.db);
    for (const row of rows) {
      const person = JSON.stringify([row.tenant, row.subject_id]);
      // feedback without a `subjectId` is one person's, of whom nothing is known
      if (row.subject_id !== null) people.set(person, { key: person, subject: row.subject_id, tenant: row.tenant });
      const statement = statementOf({ ...row, person, at: row.created_at.getTime(), mayBeHeld: row.may_be_held });
      if (statement !== null) statements.push(statement);
    }
    const meanings = embedder && { embedder, minSimilarity: options.questionSimilarity, ...callOptions };
    const claims = await contestedClaims(statements, (answers) => this.#compareMeanings(answers, callOptions), meanings);
    if (!claims.some(mayBeHeld)) return;
    const disputants = new Set(claims.flatMap((claim) => [...claim.for, ...claim.against].map(({ person }) => person)));
    const records = await readTrackRecords(store, {
      pipeline,
      people: [...people.values()].filter(({ key }) => disputants.has(key)),
      since: new Date(clock() - options.reputationWindowMs),
      hasGold: options.gold.length > 0,
      agreesWithGold: (prompt, lesson) => firewall.agreesWithGold(prompt, lesson),
    });
    const outcomes = settle(claims, records, options);
    for (const [index, claim] of claims.entries()) {
      const outcome = outcomes[index]!;
      if (outcome.verdict === "upheld" || !mayBeHeld(claim)) continue;
      const ids = claim.statements.filter((statement) => statement.mayBeHeld).map(({ id }) => id);
      await holdBack(this.#parts, domain, { pipeline, ids, finding: findingOf(claim, outcome) });
    }
  }

  async #compareMeanings(answers: readonly Answer[], callOptions: CallOptions): Promise<SameMeaning> {
    const { embedder, options } = this.#parts;
    if (embedder === undefined) return () => false;
    const distinct = [...new Map(answers.map((answer) => [keyOf(answer), answer])).values()];
    const pairs = distinct.map(({ prompt, text }) => ({ prompt, response: text }));
    const embedded = await embedPairs(embedder, pairs, callOptions);
    const vectors = new Map(distinct.map((answer, index) => [keyOf(answer), embedded[index]!]));
    return (left, right) => {
      const [one, other] = [vectors.get(keyOf(left)), vectors.get(keyOf(right))];
      return one !== undefined && other !== undefined && cosineOf(one, other) >= options.clusterSimilarity;
    };
  }
}

function keyOf({ prompt, text }: Answer): string {
  return JSON.stringify([prompt, text]);
}

function mayBeHeld(claim: Claim): boolean {
  return claim.statements.some((statement) => statement.mayBeHeld);
}

function findingOf(claim: Claim, { verdict, share }: Outcome): FirewallFinding {
  const newest = (side: readonly Statement[]) => Math.max(...side.map(({ at }) => at));
  const isNewer = claim.for.length > 0 && Math.min(...claim.for.map(({ at }) => at)) > newest(claim.against);
  const sides = `${claim.against.length} say otherwise and ${claim.for.length} the same`;
  const weight = `weighed by how often each was right, ${Math.round(share * 100)} % speak for it`;
  const result = verdict === "refuted" ? "people contradict it" : "people are at odds about it";
  const change = isNewer ? "; who says it said so later, so the fact may have changed" : "";
  return { code: "disputed", action: "review", reason: `${result}: ${sides}; ${weight}${change}` };
}
