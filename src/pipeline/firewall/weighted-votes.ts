import type { Claim } from "./claims.js";
import type { FirewallOptions } from "./firewall-options.js";
import { type Evidence, reputationOf, type TrackRecord } from "./reputation.js";
import type { Statement } from "./statements.js";

/** What a clear majority of others says of a person counts half of what a trusted answer or a reviewer says. */
const MAJORITY_EVIDENCE = 0.5;
/** Rounds in which reputations and outcomes settle; what turns to and fro is as open as it looks. */
const MAX_ROUNDS = 10;

/** Outcome of a vote on a claim. */
export interface Outcome {
  verdict: "upheld" | "refuted" | "open";
  /** Share (0..1) of the weight that speaks for it. */
  share: number;
}

/**
 * Decides claims by votes that are weighed by reputation, and reputations by claims that were decided, in turn (iterative weighted majority
 * voting: Li and Yu, "Error rate bounds and iterative weighted majority voting for crowdsourcing", 2014, after Dawid and Skene 1979). What
 * a person gains or loses by a question does not count in a vote that rests on it.
 */
export function settle(
  claims: readonly Claim[],
  records: ReadonlyMap<string, TrackRecord>,
  options: Pick<FirewallOptions, "disputeMajority" | "maxAlike">,
): Outcome[] {
  let outcomes: Outcome[] = claims.map(() => ({ verdict: "open", share: 0.5 }));
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const gained = gains(claims, outcomes, records);
    const next = claims.map((claim) => vote(claim, gained, records, options));
    const isSettled = round > 0 && next.every(({ verdict }, index) => verdict === outcomes[index]!.verdict);
    outcomes = next;
    if (isSettled) break;
  }
  return outcomes;
}

/** By person and question: above 0 where majorities were with them, below where they were against them. */
type Gains = ReadonlyMap<string, ReadonlyMap<string, number>>;

function gains(claims: readonly Claim[], outcomes: readonly Outcome[], records: ReadonlyMap<string, TrackRecord>): Gains {
  const gained = new Map<string, Map<string, number>>();
  claims.forEach((claim, index) => {
    const { verdict } = outcomes[index]!;
    if (verdict === "open") return;
    for (const [side, sign] of [
      [claim.for, verdict === "upheld" ? 1 : -1],
      [claim.against, verdict === "upheld" ? -1 : 1],
    ] as const) {
      for (const { person, id } of side) {
        // a reviewer or a trusted answer has said so already
        if (records.get(person)?.ids.has(id)) continue;
        const ofPerson = gained.get(person) ?? new Map<string, number>();
        gained.set(person, ofPerson);
        ofPerson.set(claim.question, (ofPerson.get(claim.question) ?? 0) + sign);
      }
    }
  });
  return gained;
}

function vote(
  claim: Claim,
  gained: Gains,
  records: ReadonlyMap<string, TrackRecord>,
  { disputeMajority, maxAlike }: Pick<FirewallOptions, "disputeMajority" | "maxAlike">,
): Outcome {
  const spokenTo = new Set([claim.question, ...[...claim.for, ...claim.against].map(({ question }) => question)]);
  const weigh = (side: readonly Statement[]) => {
    let proven = 0;
    const unproven: number[] = [];
    for (const { person } of side) {
      const record = records.get(person);
      const weight = reputationOf(evidenceOf(spokenTo, record, gained.get(person)));
      if (record === undefined) unproven.push(weight);
      else proven += weight;
    }
    // accounts cost nothing: a crowd of which nothing is known counts like a few
    const counted = unproven.sort((left, right) => right - left).slice(0, maxAlike);
    return counted.reduce((sum, weight) => sum + weight, proven);
  };
  const [pros, cons] = [weigh(claim.for), weigh(claim.against)];
  const share = pros / (pros + cons);
  const verdict = share >= disputeMajority ? "upheld" : 1 - share >= disputeMajority ? "refuted" : "open";
  return { verdict, share };
}

function evidenceOf(
  spokenTo: ReadonlySet<string>,
  record: Evidence | undefined,
  gained: ReadonlyMap<string, number> | undefined,
): Evidence {
  let { right, wrong } = record ?? { right: 0, wrong: 0 };
  for (const [of, sign] of gained ?? []) {
    if (spokenTo.has(of)) continue;
    if (sign > 0) right += MAJORITY_EVIDENCE;
    else if (sign < 0) wrong += MAJORITY_EVIDENCE;
  }
  return { right, wrong };
}
