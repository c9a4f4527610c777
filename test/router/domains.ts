/** Facts in four phrasings each: two that an adapter's examples hold, and two that users ask later. */
export interface PhrasedDomain {
  name: string;
  examples: string[];
  paraphrases: string[];
  rewordings: string[];
}

type Phrasings = [string, string, string, string];

function domainOf(name: string, facts: Phrasings[]): PhrasedDomain {
  return {
    name,
    examples: facts.flatMap((fact) => fact.slice(0, 2)),
    paraphrases: facts.map((fact) => fact[2]),
    rewordings: facts.map((fact) => fact[3]),
  };
}

const museum = domainOf(
  "museum",
  ["sculpture hall", "planetarium", "cloakroom", "herb garden", "reading room", "clock tower", "aquarium"].flatMap((place): Phrasings[] => [
    [
      `What is the closing time of the ${place}?`,
      `Tell me the closing time of the ${place}.`,
      `Can you tell me the closing time of the ${place}?`,
      `When does the ${place} close in the evening?`,
    ],
    [
      `Who is the curator of the ${place}?`,
      `Please name the curator of the ${place}.`,
      `Do you know the curator of the ${place}?`,
      `I have to write to somebody about the ${place}, who is its curator?`,
    ],
    [
      `Where is the fire extinguisher of the ${place}?`,
      `Where can I find the fire extinguisher of the ${place}?`,
      `I am looking for the fire extinguisher of the ${place}.`,
      `It smells of smoke in the ${place}, where is the fire extinguisher?`,
    ],
    [
      `How many guests may enter the ${place}?`,
      `What is the guest limit of the ${place}?`,
      `How many guests are allowed in the ${place}?`,
      `Tell me the guest limit for the ${place}, please.`,
    ],
  ]),
);

const harbour = domainOf(
  "harbour",
  ["a mooring permit", "a fuel refund", "a crane booking", "a pilot certificate", "a waste declaration", "a crew visa"].flatMap(
    (thing): Phrasings[] => [
      [
        `Which form do I need for ${thing}?`,
        `What form is required for ${thing}?`,
        `I want to apply for ${thing}. Which form is it?`,
        `Form for ${thing}?`,
      ],
      [
        `What is the processing fee for ${thing}?`,
        `How high is the processing fee for ${thing}?`,
        `Tell me the processing fee for ${thing}.`,
        `How much do I have to pay for ${thing}?`,
      ],
      [
        `Who approves ${thing}?`,
        `Who has to approve ${thing}?`,
        `Which person approves ${thing}?`,
        `Whose signature do I need for ${thing}?`,
      ],
      [
        `How long does it take to get ${thing}?`,
        `How many weeks does ${thing} take?`,
        `What is the waiting time for ${thing}?`,
        `When can I expect ${thing}?`,
      ],
    ],
  ),
);

const recht = domainOf(
  "recht",
  [
    ["den Einspruch", "dem Einspruch"],
    ["die Räumungsklage", "der Räumungsklage"],
    ["das Elterngeld", "dem Elterngeld"],
    ["die Grundsteuer", "der Grundsteuer"],
    ["den Jagdschein", "dem Jagdschein"],
    ["die Vollmacht", "der Vollmacht"],
  ].flatMap(([accusative, dative]): Phrasings[] => [
    [
      `Welche Frist gilt für ${accusative}?`,
      `Wie lang ist die Frist für ${accusative}?`,
      `Nenne mir die Frist für ${accusative}.`,
      `Wie viel Zeit habe ich bei ${dative}?`,
    ],
    [
      `Welche Behörde ist für ${accusative} zuständig?`,
      `Wer ist zuständig für ${accusative}?`,
      `Wer kümmert sich um ${accusative}?`,
      `An welche Behörde wende ich mich mit ${dative}?`,
    ],
    [
      `Wie hoch ist die Gebühr für ${accusative}?`,
      `Welche Gebühr fällt für ${accusative} an?`,
      `Sag mir die Gebühr für ${accusative}.`,
      `Was muss ich für ${accusative} bezahlen?`,
    ],
    [
      `Welches Formular brauche ich für ${accusative}?`,
      `Welches Formular ist für ${accusative} nötig?`,
      `Ich brauche das Formular für ${accusative}.`,
      `Was muss ich bei ${dative} ausfüllen?`,
    ],
  ]),
);

/** Three domains that share their frames ("What is the … of the …?") and differ in their words. */
export const DOMAINS: readonly PhrasedDomain[] = [museum, harbour, recht];

/** What no adapter was made for; most of it is not among the router's own general questions. */
export const GENERAL_QUESTIONS: readonly string[] = `
Hello
Hey
Who are you?
Tell me who you are.
Thanks a lot!
What is 9 plus 2?
5 plus 1?
Was ist 6 plus 2?
What is the opposite of rich?
What is the opposite of night?
Repeat the word bako.
Please repeat: lurani
Wiederhole das Wort Krambel.
What day comes after Friday?
Which month comes after September?
Guten Tag
Was bist du?
Danke schön
What is the capital of Peru?
Who painted the Mona Lisa?
How do airplanes fly?
Give me a recipe for pancakes.
Write a haiku about snow.
Where do penguins live?
How many continents are there?
When was the printing press invented?
Can you help me with my homework?
Who invented the telephone?
What is the fastest land animal?
Translate "the cat sleeps" into Spanish.
Wie viele Bundesländer hat Deutschland?
Wer hat das Telefon erfunden?
Wo leben Pinguine?
Wie koche ich Reis?
Erkläre mir die Relativitätstheorie.
Was ist der Sinn des Lebens?
How do I remove a stain from a shirt?
Which language is spoken in Brazil?
Do you have feelings?
Explain how a bicycle stays upright.
`
  .trim()
  .split("\n");
