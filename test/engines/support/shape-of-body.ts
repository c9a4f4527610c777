/** What stands in a record for a name of this machine: the name, and what is written for it. */
export type Names = readonly (readonly [name: string, written: string])[];

/** Fields whose values are the protocol's own. */
const LITERAL = new Set([
  "object",
  "role",
  "type",
  "code",
  "param",
  "finish_reason",
  "owned_by",
  "detail",
  "error",
  "status",
  "done_reason",
]);
/** Null says something in these; elsewhere a field that is null is as good as none, and releases add and drop such fields. */
const NULLABLE = new Set(["finish_reason", "param", "code", "parent"]);
/** What a model, a machine or a release makes of it. */
const LOOSE = new Set(["stop_reason", "system_fingerprint"]);

/** The shape of a body: its fields and their kinds, with the words that the protocol itself chose. */
export function shapeOfBody(text: string, names: Names): unknown {
  if (text.startsWith("data: ")) return shapesOf(text.split("\n\n"), /^data: /, names);
  if (text.trimEnd().includes("\n{")) return shapesOf(text.split("\n"), /^/, names);
  try {
    return shapeOf(JSON.parse(text), "", names);
  } catch {
    return neutral(text, names);
  }
}

/** Of a stream: how many events of a kind follow one another is the model's affair. */
function shapesOf(events: readonly string[], prefix: RegExp, names: Names): unknown[] {
  const shapes = events
    .filter((event) => event !== "")
    .map((event) => event.replace(prefix, ""))
    .map((event) => (event === "[DONE]" ? event : shapeOf(JSON.parse(event), "", names)));
  return shapes.filter((shape, index) => index === 0 || JSON.stringify(shape) !== JSON.stringify(shapes[index - 1]));
}

function shapeOf(value: unknown, key: string, names: Names): unknown {
  if (key === "message" && typeof value === "string") return neutral(value, names);
  if (LITERAL.has(key) && (typeof value !== "object" || value === null)) return neutral(value, names);
  if (Array.isArray(value)) return value.length === 0 ? [] : [shapeOf(value[0], key, names)];
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(
      Object.entries(value)
        .filter(([name, field]) => !LOOSE.has(name) && (field !== null || NULLABLE.has(name)))
        .sort(([left], [right]) => (left < right ? -1 : 1))
        .map(([name, field]) => [name, shapeOf(field, name, names)]),
    );
  }
  return value === null ? null : typeof value;
}

/** Names and numbers of this machine by what they are. */
export function neutral(value: unknown, names: Names): unknown {
  if (Array.isArray(value)) return value.map((one) => neutral(one, names));
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, field]) => [neutral(name, names) as string, neutral(field, names)]));
  }
  if (typeof value !== "string") return value;
  let text = value;
  for (const [name, written] of names) text = text.replaceAll(name, written);
  return text.replaceAll(/sha256:[0-9a-f]{64}/g, "sha256:DIGEST").replaceAll(/(?<![@v:\da-z])\d+/g, "N");
}
