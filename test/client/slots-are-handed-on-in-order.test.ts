import { setImmediate as nextTurn } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Slots } from "../../src/client/balancing/slots.js";
import { CallScope } from "../../src/client/http/call-scope.js";
import { AbortedError } from "../../src/errors.js";

interface Call {
  scope: CallScope;
  /** Undefined while it waits. */
  outcome?: "runs" | "aborted";
  free?: () => void;
}

/** Calls that each want a slot, and the order in which they got one. */
function callsOn(slots: Slots) {
  const started: Call[] = [];
  const begin = (): Call => {
    const call: Call = { scope: new CallScope({ limit: { ms: 60_000, option: "test" }, onDispose: () => undefined }) };
    slots.take(call.scope).then(
      (free) => {
        Object.assign(call, { outcome: "runs", free });
        started.push(call);
      },
      (error: unknown) => {
        if (error !== call.scope.reason) throw error;
        call.outcome = "aborted";
      },
    );
    return call;
  };
  return { started, begin };
}

const abort = ({ scope }: Call) => scope.abort(new AbortedError("enough"));

describe("the slots of an endpoint", () => {
  it("are handed on in the order in which calls came; a call that ended while it waited is passed over", async () => {
    const slots = new Slots(1);
    const { started, begin } = callsOn(slots);
    const [first, second, third] = [begin(), begin(), begin()] as [Call, Call, Call];
    await nextTurn();
    expect([slots.taken, slots.waiting, started]).toEqual([1, 2, [first]]);
    abort(second);
    first.free!();
    await nextTurn();
    expect([second.outcome, started, slots.waiting]).toEqual(["aborted", [first, third], 0]);
    for (const { scope } of [first, second, third]) scope.dispose();
  });

  it("are free at once where a call is aborted, also at the moment when its turn comes", async () => {
    const slots = new Slots(1);
    const { started, begin } = callsOn(slots);
    const [first, second, third] = [begin(), begin(), begin()] as [Call, Call, Call];
    await nextTurn();
    abort(first);
    // its turn has come, and it does not know yet
    abort(second);
    await nextTurn();
    expect([second.outcome, started]).toEqual(["aborted", [first, third]]);
    // a second time changes nothing
    first.free!();
    third.free!();
    expect([slots.taken, slots.waiting]).toEqual([0, 0]);
    for (const { scope } of [first, second, third]) scope.dispose();
  });

  it("are never more than there are, and never idle while a call waits", async () => {
    const steps = fc.array(fc.record({ kind: fc.constantFrom("begin", "begin", "free", "abort", "turn"), which: fc.nat(30) }), {
      maxLength: 60,
    });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 3 }), steps, async (size, given) => {
        const slots = new Slots(size);
        const { started, begin } = callsOn(slots);
        const calls: Call[] = [];
        for (const { kind, which } of given) {
          const call = calls[which % (calls.length || 1)];
          if (kind === "begin") calls.push(begin());
          else if (kind === "turn") await nextTurn();
          else if (kind === "free") call?.free?.();
          else if (call !== undefined) abort(call);
          expect(slots.taken).toBeLessThanOrEqual(size);
          if (slots.waiting > 0) expect(slots.taken).toBe(size);
        }
        for (const call of calls) {
          abort(call);
          await nextTurn();
        }
        expect([slots.taken, slots.waiting]).toEqual([0, 0]);
        const order = started.map((call) => calls.indexOf(call));
        expect(order).toEqual([...order].sort((left, right) => left - right));
        for (const { scope } of calls) scope.dispose();
      }),
    );
  });
});
