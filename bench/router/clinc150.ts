/** CLINC150 (Larson et al. 2019) as a routing task: an adapter a domain, and questions out of scope for the base model. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { seededRandom } from "../../src/support/seeded-random.js";

export interface Question {
  text: string;
  /** Null: out of scope. */
  domain: string | null;
}

/** What a router may learn from, by domain, and what it is asked. */
export interface Task {
  examples: Map<string, string[]>;
  questions: Question[];
}

type Row = [text: string, intent: string];

/** Every text of the data set in this folder, each once. */
export function textsOf(folder: string): string[] {
  return [...new Set(Object.values(readData(folder)).flatMap((rows) => rows.map(([text]) => text)))];
}

const EXAMPLES_OF_FEW = 10;
const UNSEEN_INTENTS = 5;

/** Tasks drawn from the data set in this folder; the same seed draws the same ones. */
export function drawTasks(folder: string, seed: number): Record<"few" | "unseen" | "full", Task> {
  const data = readData(folder);
  const intentsOf = read<Record<string, string[]>>(folder, "domains.json");
  const domainOf = new Map(Object.entries(intentsOf).flatMap(([domain, intents]) => intents.map((intent) => [intent, domain])));
  const random = seededRandom(seed);
  const unseen = new Set(Object.values(intentsOf).flatMap((intents) => shuffled(intents, random).slice(0, UNSEEN_INTENTS)));
  const trained = shuffled(data.train!, random);
  const outOfScope = data.oos_test!.map(([text]) => ({ text, domain: null }));
  const taskOf = (isTrained: (intent: string) => boolean, isAsked: (intent: string) => boolean, limit: number): Task => {
    const examples = new Map<string, string[]>(Object.keys(intentsOf).map((domain) => [domain, []]));
    for (const [text, intent] of trained) {
      const texts = examples.get(domainOf.get(intent)!)!;
      if (isTrained(intent) && texts.length < limit) texts.push(text);
    }
    const asked = data.test!.filter(([, intent]) => isAsked(intent)).map(([text, intent]) => ({ text, domain: domainOf.get(intent)! }));
    return { examples, questions: [...asked, ...outOfScope] };
  };
  const all = () => true;
  return {
    few: taskOf(all, all, EXAMPLES_OF_FEW),
    unseen: taskOf(
      (intent) => !unseen.has(intent),
      (intent) => unseen.has(intent),
      Number.POSITIVE_INFINITY,
    ),
    full: taskOf(all, all, Number.POSITIVE_INFINITY),
  };
}

const readData = (folder: string) => read<Record<string, Row[]>>(folder, "data_full.json");

function read<T>(folder: string, file: string): T {
  return JSON.parse(readFileSync(join(folder, "clinc150", file), "utf8"));
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const copy = [...items];
  for (let index = copy.length - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1));
    [copy[index], copy[other]] = [copy[other]!, copy[index]!];
  }
  return copy;
}
