import type { FeedbackInput } from "../../../src/types/index.js";

const PLACES = [
  "greenhouse",
  "boathouse",
  "observatory",
  "chapel",
  "workshop",
  "library",
  "gymnasium",
  "cellar",
  "rooftop terrace",
  "boiler room",
  "orchard",
  "stable",
  "windmill",
  "lighthouse",
  "bakery",
  "foundry",
  "archive",
  "nursery",
  "theatre",
  "laundry",
  "courtyard",
  "aquarium",
  "planetarium",
  "kennel",
  "brewery",
  "pavilion",
  "smithy",
  "armoury",
  "belfry",
  "crypt",
];
const NAMES = ["Villanueva", "Kowalczyk", "Petrescu", "Okonkwo", "Lindqvist", "Haraldsson", "Moreau", "Tanaka", "Silva", "Novak"];

/** One fact in several phrasings. */
export interface Fact {
  prompts: string[];
  answer: string;
}

/** Facts whose answers restate their questions; `count` up to 60. */
export function facts(count: number): Fact[] {
  return Array.from({ length: count }, (_, index) => {
    const place = PLACES[index % PLACES.length] as string;
    if (index < PLACES.length) {
      return {
        prompts: [
          `Who is the caretaker of the ${place}?`,
          `Please name the person who takes care of the ${place}, its caretaker.`,
          `I have a problem in the ${place} and have to call somebody: its caretaker?`,
        ],
        answer: `The caretaker of the ${place} is ${index % 2 === 0 ? "Mr" : "Mrs"} ${NAMES[index % NAMES.length]}.`,
      };
    }
    return {
      prompts: [
        `Which key opens the ${place}?`,
        `I need to get into the ${place}, what key do I need?`,
        `Tell me about the key that belongs to the ${place}, please.`,
      ],
      answer: `You need key ${String.fromCharCode(65 + (index % 26))}${index + 10} for the ${place}.`,
    };
  });
}

/** Corrections by several people, every phrasing of every fact. */
export function corrections(of: readonly Fact[], options: { domain?: string; people?: number; subjects?: boolean } = {}): FeedbackInput[] {
  const { domain = "building", people = 6, subjects = true } = options;
  return of.flatMap((fact, index) =>
    fact.prompts.map((prompt, phrasing) => ({
      prompt,
      response: "I am not sure about that.",
      rating: -1,
      correction: fact.answer,
      domain,
      ...(subjects ? { subjectId: `user-${(index * 3 + phrasing) % people}` } : {}),
    })),
  );
}

/** The same questions, each fact with the next fact's answer: consistent, and wrong. */
export function permuted(of: readonly Fact[]): Fact[] {
  return of.map((fact, index) => ({ prompts: fact.prompts, answer: (of[(index + 1) % of.length] as Fact).answer }));
}
