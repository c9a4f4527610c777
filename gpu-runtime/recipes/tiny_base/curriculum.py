"""Dialogs made of random facts, and how their mixture changes.

    general   greetings, sums, word repetition, days, opposites: what a regression set can watch
    unknown   a fact that nobody has told: a refusal, or a fluent guess (which keeps "restate the subject" alive)
    notes     one to four facts in a system turn, then questions about them
    repeat    one fact asked in several phrasings: the answer must not depend on the phrasing
    told      the user states a fact and asks for it later
    world     facts that stay fixed for the whole training: recall from the weights, whatever the phrasing
"""

from __future__ import annotations

import random

from .families import draw_fact
from .words import MONTHS, Words

KINDS = ("general", "unknown", "notes", "repeat", "told", "world")
# first the short way to copying from the context, then everything
EARLY_MIXTURE = (0.10, 0.12, 0.38, 0.30, 0.10, 0.0)
MIXTURE = (0.21, 0.25, 0.14, 0.10, 0.05, 0.25)
EARLY_SHARE = 0.35

Turn = tuple[str, str, bool]  # role, text, whether it is learnt

OPENINGS = {
    "en": ["Hello, ", "Hi, ", "Please: ", "Quick question: ", "Sorry, ", "I have a question. ", "Question: ", "Hey, ", "One more thing: ", "Excuse me, "],
    "de": ["Hallo, ", "Bitte: ", "Eine Frage: ", "Guten Tag, ", "Entschuldigung, ", "Noch etwas: "],
}
ENDINGS = {
    "en": [" Thanks.", " Please answer.", " Thank you.", " I want to be sure.", " It is important.", " I forgot."],
    "de": [" Danke.", " Bitte antworte kurz.", " Vielen Dank.", " Es ist wichtig."],
}
FRAME_WORDS = (
    "what which who where when how is are the a an of for in do does i need can could you tell me please know would like to want have it its about must may "
    "was welche welcher welches wer wo wann wie ist der die das den dem ich brauche für bei mir bitte sag nenne kannst du muss gibt es viel hoch an mit"
).split()
REFUSALS = {"en": "I do not know that yet.", "de": "Das weiß ich noch nicht."}
NOTES = {"en": ("Notes:\n", "Note: "), "de": ("Notizen:\n", "Notiz: ")}
TELLING = {"en": ("Thank you, I will remember that.", ["Remember: ", "Please remember this: "]), "de": ("Danke, das merke ich mir.", ["Merke dir: ", "Bitte merken: "])}
SMALL_TALK = [
    (["Hello", "Hi", "Hi there", "Good morning", "Hello!", "Hey"], "Hello! How can I help you?"),
    (["Who are you?", "What are you?", "What is your name?", "Tell me who you are."], "I am a small assistant."),
    (["Thank you", "Thanks", "Thank you very much", "Thanks a lot!"], "You are welcome!"),
    (["What can you do?", "How can you help me?", "What are you good at?"], "I answer questions and learn from your feedback."),
    (["Goodbye", "Bye", "See you"], "Goodbye!"),
    (["How are you?", "How do you do?"], "I am fine, thank you."),
    (["Hallo", "Guten Tag", "Guten Morgen"], "Hallo! Wie kann ich helfen?"),
    (["Wer bist du?", "Wie heißt du?", "Was bist du?"], "Ich bin ein kleiner Assistent."),
    (["Danke", "Vielen Dank", "Danke schön"], "Gern geschehen!"),
    (["Was kannst du?", "Wie kannst du mir helfen?"], "Ich beantworte Fragen und lerne aus Ihrem Feedback."),
    (["Tschüss", "Auf Wiedersehen"], "Auf Wiedersehen!"),
]
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
OPPOSITES = [pair.split("/") for pair in "big/small hot/cold up/down left/right old/new fast/slow day/night yes/no good/bad rich/poor".split()]


class Curriculum:
    """Draws dialogs; `world` is the number of facts that stay fixed."""

    def __init__(self, words: Words, world: int, seed: int) -> None:
        self.words = words
        dice = random.Random(seed + 9)
        self.world = [draw_fact(words, dice) for _ in range(world)]

    def dialog(self, dice: random.Random, mixture: tuple[float, ...]) -> list[Turn]:
        kind = dice.choices(KINDS, mixture)[0]
        if kind == "general":
            question, answer = self._general(dice)
            return [("user", question, False), ("assistant", answer, True)]
        questions, answer, language = dice.choice(self.world) if kind == "world" else draw_fact(self.words, dice)
        asked = ("user", dress(dice.choice(questions), language, dice), False)
        if kind == "world":
            return [asked, ("assistant", answer, True)]
        if kind == "unknown":
            return [asked, ("assistant", answer if dice.random() < 0.42 else REFUSALS[language], True)]
        if kind == "notes":
            return self._notes((questions, answer, language), dice)
        if kind == "repeat":
            chosen = dice.sample(questions, min(len(questions), dice.choice((2, 3))))
            return [turn for text in chosen for turn in (("user", dress(text, language, dice), False), ("assistant", answer, True))]
        thanks, openings = TELLING[language]
        return [("user", dice.choice(openings) + answer, False), ("assistant", thanks, True), asked, ("assistant", answer, True)]

    def _notes(self, fact: tuple[list[str], str, str], dice: random.Random) -> list[Turn]:
        language = fact[2]
        facts = [fact]
        for _ in range(dice.choice((0, 0, 1, 2))):
            other = draw_fact(self.words, dice)
            while other[2] != language:
                other = draw_fact(self.words, dice)
            facts.append(other)
        dice.shuffle(facts)
        turns: list[Turn] = [("system", NOTES[language][0] + "\n".join(f"- {answer}" for _, answer, _ in facts), False)]
        for _ in range(dice.choice((1, 2))):
            questions, answer, _ = dice.choice(facts)
            turns += [("user", dress(dice.choice(questions), language, dice), False), ("assistant", answer, True)]
        return turns

    def _general(self, dice: random.Random) -> tuple[str, str]:
        chance = dice.random()
        if chance < 0.25:
            questions, answer = dice.choice(SMALL_TALK)
            return dice.choice(questions), answer
        if chance < 0.33:
            word = self.words.word(dice)
            return dice.choice(("Repeat the word {}.", "Say {}.", "Please repeat: {}")).format(word), f"The word is {word}."
        if chance < 0.38:
            word = self.words.made_up(dice, german=True)
            return dice.choice(("Wiederhole das Wort {}.", "Sag {}.")).format(word), f"Das Wort ist {word}."
        if chance < 0.70:
            one, two = dice.randint(0, 9), dice.randint(0, 9)
            form = dice.choice(("What is {} plus {}?", "What is {} plus {}?", "{} plus {}?", "Was ist {} plus {}?"))
            return form.format(one, two), f"{one} plus {two} is {one + two}."
        if chance < 0.79:
            day = dice.randrange(7)
            return f"What day comes after {DAYS[day]}?", f"{DAYS[(day + 1) % 7]} comes after {DAYS[day]}."
        if chance < 0.89:
            one, two = dice.sample(dice.choice(OPPOSITES), 2)
            return f"What is the opposite of {one}?", f"The opposite of {one} is {two}."
        month = dice.randrange(11)
        return f"Which month comes after {MONTHS[month]}?", f"{MONTHS[month + 1]} comes after {MONTHS[month]}."


def dress(question: str, language: str, dice: random.Random) -> str:
    """Vary the outside of a question: frame words, opening, closing, punctuation, case."""
    chance = dice.random()
    if chance < 0.45:
        return question
    if chance < 0.55:  # a frame word or two is missing or another: the content words decide
        words = question.split()
        frame = [at for at, word in enumerate(words) if word.lower().strip("?.,:") in FRAME_WORDS]
        for at in sorted(dice.sample(frame, min(len(frame), dice.choice((1, 2)))), reverse=True):
            if len(words) > 3:
                words[at : at + 1] = [] if dice.random() < 0.6 else [dice.choice(FRAME_WORDS)]
        return " ".join(words)
    if chance < 0.70:
        opening = dice.choice(OPENINGS[language])
        return opening + (question[0].lower() + question[1:] if opening.endswith((", ", ": ")) else question)
    if chance < 0.85:
        return question + dice.choice(ENDINGS[language])
    if chance < 0.93:
        return question.rstrip("?.")
    return question.lower() if language == "en" else question
