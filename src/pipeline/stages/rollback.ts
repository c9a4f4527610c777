import { notifyOthers } from "../../store/notifications.js";
import type { GateDecision, GateReason } from "../../types/cycle.js";
import type { Suspects } from "../probes/probe.js";
import { quarantineSamples, type SampleEnd } from "../sample-ledger.js";
import { ensureRegistered } from "./candidate.js";
import type { Stage, StageResult } from "./stage.js";

/** Puts the candidate on record as rejected, with the reasons, and the samples that spoilt it in quarantine. What serves is unchanged. */
export const rollback: Stage = async (context) => {
  const { cycle, state, router, serving, events, options, signal, store } = context;
  const gate = cycle.gate as GateDecision | null;
  const reasons = reasonsOf(gate, state.failure);
  const adapter = await ensureRegistered(context);
  const summary = reasons.map((reason) => `${reason.criterion}: ${reason.message}`).join("; ");
  if (adapter.status !== "rejected") await router.rejectAdapter(adapter.id, summary.slice(0, 2000), { signal });
  if (state.loadedForEvaluators === true) await serving.unloadAdapter(adapter.id, { signal }).catch(() => {}); // it holds no traffic: the engine drops it in time
  const suspects = state.suspects ?? [];
  return {
    next: null,
    detail: {
      adapterId: adapter.id,
      decision: gate?.decision ?? "failed",
      reasons,
      quarantined: new Set(suspects.flatMap(({ sampleIds }) => sampleIds)).size,
    },
    end: endOf(gate, state.failure, summary, suspects, options.maxSampleAttempts),
    commit: async (transaction) => {
      if (suspects.length === 0) return;
      await quarantineSamples(transaction, { cycleId: cycle.id, suspects, now: context.now() });
      await notifyOthers(transaction, "memory", "changed");
    },
    after: () => {
      if (suspects.length > 0) store.notifications.announce("memory", null);
      events.emit("adapter.rolledback", { adapterId: adapter.id, domain: cycle.domain, cycleId: cycle.id, reasons });
    },
  };
};

function reasonsOf(gate: GateDecision | null, failure: { code: string; message: string } | undefined): GateReason[] {
  if (failure !== undefined) return [{ criterion: "activation", verdict: "fail", message: failure.message }];
  return gate?.reasons.filter((reason) => reason.verdict !== "pass") ?? [];
}

function endOf(
  gate: GateDecision | null,
  failure: { code: string; message: string } | undefined,
  summary: string,
  suspects: readonly Suspects[],
  maxAttempts: number,
): NonNullable<StageResult["end"]> {
  const failed: SampleEnd = { kind: "failed", reason: summary, maxAttempts };
  if (failure !== undefined) return { status: "failed", samples: failed, error: failure };
  const codes = new Set(suspects.map(({ code }) => code));
  const isSpoilt = gate?.reasons.some(({ verdict, criterion }) => verdict === "fail" && !codes.has(criterion));
  // nothing is wrong with the rest: it is learnt without what is in quarantine
  if (gate?.decision === "reject" && codes.size > 0 && !isSpoilt) return { status: "rejected", samples: { kind: "inconclusive" } };
  if (gate?.decision === "reject") return { status: "rejected", samples: { kind: "rejected_by_gate", reason: summary } };
  return { status: "inconclusive", samples: { kind: "inconclusive" } };
}
