"""Question families: all phrasings that ask for one kind of fact, and the forms of its answer.

English: {k} attribute, {x} thing with its determiner, {X} the same capitalised, {b} without, {w}/{ws} verb, {n} person,
{c} code, {v} any value, {i} number, {u} unit, {d} date, {p} place.
German: {K} attribute, {wl}/{wlA}/{wlD} which, {kn}/{ka} attribute with article, {xn}/{xa}/{xd} thing with article, {yn}/{yd} another.
"""

from __future__ import annotations

import random

from .words import ARTICLES, PLACES, UNITS, Words, code, date

ENGLISH = [
    (
        [
            "What is the {k} of {x}?", "Tell me the {k} of {x}.", "Can you tell me the {k} of {x}?", "Do you know the {k} of {x}?",
            "I need the {k} of {x}.", "Please give me the {k} of {x}.", "What {k} does {x} have?", "{b} {k}?", "Which {k} has {x}?",
            "I would like to know the {k} of {x}.", "About {x}: what is the {k}?", "Could you name the {k} of {x}?",
            "For {x}, what is the {k}?", "I have to deal with {x}, what is its {k}?", "How about the {k} of {x}?",
        ],
        ["The {k} of {x} is {v}."],
    ),
    (
        [
            "What is the {k} for {x}?", "Tell me the {k} for {x}.", "Can you tell me the {k} for {x}?", "How high is the {k} for {x}?",
            "I need the {k} for {x}.", "{k} for {x}?", "Please look up the {k} for {x}.", "Do you know the {k} for {x}?",
            "For {x}, what {k} is there?", "What {k} applies to {x}?",
        ],
        ["The {k} for {x} is {v}."],
    ),
    (
        ["What is the {k} in {x}?", "Which {k} is in {x}?", "Tell me the {k} in {x}.", "In {x}, what is the {k}?", "I am looking for the {k} in {x}."],
        ["The {k} in {x} is {v}."],
    ),
    (
        [
            "Where is the {k} of {x}?", "Where can I find the {k} of {x}?", "I am looking for the {k} of {x}.",
            "Where do I see the {k} of {x}?", "I cannot find the {k} of {x}, where is it?", "In {x}, where is the {k}?",
        ],
        ["The {k} of {x} is {p}."],
    ),
    (
        ["Where is {x}?", "Where can I find {x}?", "How do I get to {x}?", "I am looking for {x}.", "I cannot find {x}.", "Tell me where {x} is.", "In which place is {x}?"],
        ["{X} is {p}."],
    ),
    (
        [
            "Which {k} do I need for {x}?", "What {k} is needed for {x}?", "What {k} do I need for {x}?", "I want to use {x}. Which {k} is it?",
            "{k} for {x}?", "Is there a {k} for {x}?", "I need {x}, which {k} must I take?", "For {x}, which {k} is required?",
            "What {k} must I have for {x}?", "Which {k} {ws} {x}?",
        ],
        ["You need {k} {c} for {x}."],
    ),
    (
        [
            "Who {ws} {x}?", "Who has to {w} {x}?", "Which person {ws} {x}?", "Who can {w} {x}?", "Do you know who {ws} {x}?",
            "I want somebody to {w} {x}. Who is it?", "Whose {k} do I need to {w} {x}?",
        ],
        ["{n} {ws} {x}."],
    ),
    (
        [
            "Who is the {k} of {x}?", "Please name the {k} of {x}.", "Do you know the {k} of {x}?", "Tell me who is the {k} of {x}.",
            "I have to call the {k} of {x}, who is that?", "{b}, who is the {k}?", "Who works as the {k} of {x}?",
        ],
        ["The {k} of {x} is {n}."],
    ),
    (
        ["How long does it take to {w} {x}?", "How many {u} does {x} take?", "What is the time for {x}?", "When can I have {x}?", "Tell me how long {x} takes.", "How long must I wait for {x}?"],
        ["It takes {i} {u} to {w} {x}."],
    ),
    (
        ["How many {k} may {w} {x}?", "How many {k} can {w} {x}?", "What is the number of {k} for {x}?", "How many {k} are in {x}?", "Tell me how many {k} may {w} {x}."],
        ["At most {i} {k} may {w} {x}.", "Up to {i} {k} {w} {x}."],
    ),
    (
        ["How much is {x}?", "How much does {x} cost?", "What does {x} cost?", "What do I pay for {x}?", "Tell me the price of {x}."],
        ["{X} costs {i} euros."],
    ),
    (
        ["When does {x} {w}?", "At what time does {x} {w}?", "From when does {x} {w}?", "Tell me when {x} {ws}.", "Until when does {x} {w}?"],
        ["{X} {ws} at {i} o'clock.", "{X} {ws} on {d}."],
    ),
    (
        ["May I {w} {x}?", "Can I {w} {x}?", "Am I allowed to {w} {x}?", "Is it possible to {w} {x}?"],
        ["No, you may not {w} {x}.", "Yes, you may {w} {x} {p}."],
    ),
]  # fmt: skip

GERMAN = [
    (
        [
            "{wl} {K} gilt für {xa}?", "Wie ist {kn} für {xa}?", "Nenne mir {ka} für {xa}.", "Ich brauche {ka} für {xa}.",
            "Kannst du mir {ka} für {xa} sagen?", "{K} für {xa}?", "Wie hoch ist {kn} für {xa}?", "Sag mir bitte {ka} für {xa}.",
            "Was gilt bei {xd}?", "Wie lang ist {kn} bei {xd}?", "{wl} {K} gibt es bei {xd}?", "{wl} {K} fällt für {xa} an?",
            "Wie viel {K} habe ich bei {xd}?", "Was ist {kn} bei {xd}?",
        ],
        ["{Kn} für {xa} beträgt {v}.", "{Kn} für {xa} ist {v}."],
    ),
    (
        [
            "{wl} {K} ist für {xa} da?", "Wer macht {xa}?", "Wer hilft mir bei {xd}?", "Wer hat {xa}?", "Für {xa} brauche ich wen?",
            "An wen wende ich mich mit {xd}?", "An {wlA} {K} gehe ich mit {xd}?", "Wer ist für {xa} {w}?",
        ],
        ["Für {xa} ist {yn} {w}."],
    ),
    (
        [
            "{wl} {K} brauche ich für {xa}?", "{wl} {K} ist für {xa} {w}?", "Ich brauche {ka} für {xa}.", "Was brauche ich für {xa}?",
            "Was muss ich bei {xd} {w}?", "Ich möchte {xa}. {wl} {K} ist das?",
        ],
        ["Für {xa} brauchen Sie {ka} {c}."],
    ),
    (
        ["{wl} {K} {ws} {xa}?", "In {wlD} {K} ist {xn}?", "Nach {wlD} {K} geht {xn}?", "{K} für {xa}?", "Was {ws} {xa}?", "Wo steht {xn}?"],
        ["{K} {i} {ws} {xa}."],
    ),
    (["Was kostet {xn}?", "Wie viel kostet {xn}?", "Was muss ich für {xa} geben?", "Sag mir, was {xn} kostet."], ["{Xn} kostet {i} Euro."]),
    (["Wo finde ich {xa}?", "Wo ist {xn}?", "Ich suche {xa}.", "Wo gibt es {xa}?"], ["{Xa} finden Sie bei {yd}.", "{Xn} ist bei {yd}."]),
    (["Wann {ws} {xn}?", "Um wie viel Uhr {ws} {xn}?", "Sag mir, wann {xn} {ws}.", "Ab wann {ws} {xn}?"], ["{Xn} {ws} um {i} Uhr."]),
]  # fmt: skip

ENGLISH_SHARE = 0.62


def draw_fact(words: Words, dice: random.Random) -> tuple[list[str], str, str]:
    """One made-up fact: all its questions, its answer, its language."""
    if dice.random() < ENGLISH_SHARE:
        questions, answers = dice.choice(ENGLISH)
        phrase, bare = words.thing(dice)
        verb = words.word(dice)
        slots = {
            "k": words.noun(dice), "x": phrase, "X": capital(phrase), "b": bare, "w": verb, "ws": verb + "s", "n": words.name(dice),
            "c": code(dice), "v": words.value(dice), "i": dice.randint(1, 300) if dice.random() < 0.5 else dice.randint(1, 12),
            "u": dice.choice(UNITS), "d": date(dice), "p": f"{dice.choice(PLACES)} the {words.noun(dice)}",
        }  # fmt: skip
        return [text.format(**slots) for text in questions], dice.choice(answers).format(**slots), "en"
    questions, answers = dice.choice(GERMAN)
    (attribute, gender), (thing, thing_gender), (other, other_gender) = (words.german_noun(dice) for _ in range(3))
    verb = words.made_up(dice, german=True)
    which = {"m": ("Welcher", "welchen", "welchem"), "f": ("Welche", "welche", "welcher"), "n": ("Welches", "welches", "welchem")}[gender]
    of_attribute, of_thing, of_other = (
        [f"{article} {noun}" for article in ARTICLES[found]] for noun, found in ((attribute, gender), (thing, thing_gender), (other, other_gender))
    )
    slots = {
        "K": attribute, "wl": which[0], "wlA": which[1], "wlD": which[2], "kn": of_attribute[0], "ka": of_attribute[1],
        "Kn": capital(of_attribute[0]), "xn": of_thing[0], "xa": of_thing[1], "xd": of_thing[2], "Xn": capital(of_thing[0]),
        "Xa": capital(of_thing[1]), "yn": of_other[0], "yd": of_other[2], "w": verb, "ws": verb + "t", "v": words.german_value(dice),
        "i": dice.randint(1, 200), "c": code(dice),
    }  # fmt: skip
    return [capital(text.format(**slots)) for text in questions], dice.choice(answers).format(**slots), "de"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]
