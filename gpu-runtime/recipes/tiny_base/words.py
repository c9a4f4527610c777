"""Random words: from a list, from made-up syllables, and from the tokenizer's own pieces; names and values made of them."""

from __future__ import annotations

import pydoc_data.topics
import random
import re
from pathlib import Path

ONSETS = "b bl br c ch cl cr d dr f fl fr g gl gr h j k kl kn kr l m n p pf ph pl pr qu r s sch sh sl sp st str t th tr tw v w wh z zw".split()
NUCLEI = "a e i o u ai au ea ee ei eu ie io oa oo ou ä ö ü".split()
ENGLISH_NUCLEI = len(NUCLEI) - 3
CODAS = ["", "", *"b ch ck d ft g k l ll lt m n nd ng nk nt p r rd rk rt s ss st t tt tz x".split()]
GERMAN_ENDINGS = {
    "f": "ung heit keit schaft frau zeit tät ur sicht age".split(),
    "m": "er ling mus wert grund lauf zug rat schein spruch".split(),
    "n": "nis tum chen werk recht haus buch geld".split(),
}
ARTICLES = {"m": ("der", "den", "dem"), "f": ("die", "die", "der"), "n": ("das", "das", "dem")}  # nominative, accusative, dative
MONTHS = "January February March April May June July August September October November December".split()
UNITS = ("days", "weeks", "months", "hours", "minutes")
PLACES = ("in", "on", "under", "behind", "beside", "above", "near", "next to")
CODE_LETTERS = "ABCDEFGHKLMN"
WORD_LIST_SIZE = 20_000


class Words:
    """Draws words. `banned` words, and words that contain a long banned one, are never drawn (test domains stay unseen)."""

    def __init__(self, word_list: str = "", banned: set[str] | None = None, seed: int = 0) -> None:
        banned = banned or set()
        # without a list: the English of Python's own manual, which every Python carries
        text = Path(word_list).read_text(encoding="utf-8") if word_list else " ".join(pydoc_data.topics.topics.values())
        parts = {word for word in banned if len(word) >= 5}
        known = sorted(set(re.findall(r"\b[a-z]{3,11}\b", text)))
        self.known = [word for word in known if word not in banned and not any(part in word for part in parts)]
        random.Random(seed).shuffle(self.known)
        del self.known[WORD_LIST_SIZE:]
        self.pieces: list[str] = []

    def made_up(self, dice: random.Random, german: bool = False) -> str:
        nuclei = NUCLEI if german else NUCLEI[:ENGLISH_NUCLEI]
        return "".join(dice.choice(ONSETS) + dice.choice(nuclei) + dice.choice(CODAS) for _ in range(dice.choice((1, 2, 2, 2, 3))))

    def word(self, dice: random.Random) -> str:
        chance = dice.random()
        if chance < 0.45:
            return dice.choice(self.known)
        if chance < 0.75 or not self.pieces:
            return self.made_up(dice)
        return "".join(dice.choice(self.pieces) for _ in range(dice.choice((1, 2, 2, 3))))[:14]

    def noun(self, dice: random.Random) -> str:
        return " ".join(self.word(dice) for _ in range(dice.choice((1, 1, 1, 2, 2))))

    def german_noun(self, dice: random.Random) -> tuple[str, str]:
        """(noun, gender), often a compound with a typical ending."""
        gender = dice.choice("fmn")
        stem = self.made_up(dice, german=True) if dice.random() < 0.6 or not self.pieces else "".join(dice.choice(self.pieces) for _ in range(2))
        ending = dice.choice(("", "s")) + dice.choice(GERMAN_ENDINGS[gender]) if dice.random() < 0.75 else ""
        return (stem + ending).capitalize(), gender

    def name(self, dice: random.Random) -> str:
        return f"{dice.choice(('Mr', 'Mrs', 'Ms'))} {(self.made_up(dice) if dice.random() < 0.6 else self.word(dice)).capitalize()}"

    def thing(self, dice: random.Random) -> tuple[str, str]:
        """A noun phrase with a determiner, and bare."""
        noun = self.noun(dice)
        phrase = f"{dice.choice(('the', 'the', 'the', 'the', 'a', 'our', ''))} {noun}".strip()
        if dice.random() < 0.15:
            place = f" {dice.choice(('in', 'at', 'of'))} {self.made_up(dice).capitalize()}"
            return phrase + place, noun + place
        return phrase, noun

    def value(self, dice: random.Random) -> str:
        """What an English answer may state: a time, a price, a span, a code, a person, a date, a place, a share, a thing, a number."""
        kind = dice.randrange(11)
        if kind == 0:
            return f"{dice.randint(1, 12)} o'clock"
        if kind == 1:
            return f"{dice.randint(1, 300)} euros"
        if kind == 2:
            return f"{dice.randint(2, 90)} {dice.choice(UNITS)}"
        if kind == 3:
            return code(dice)
        if kind == 4:
            return self.name(dice)
        if kind == 5:
            return date(dice)
        if kind == 6:
            return f"{dice.choice(PLACES[:7])} the {self.noun(dice)}"
        if kind == 7:
            return f"{dice.randint(1, 99)} percent"
        if kind == 8:
            return f"the {self.noun(dice)}"
        return str(dice.randint(1, 400)) if kind == 9 else self.noun(dice)

    def german_value(self, dice: random.Random) -> str:
        kind = dice.randrange(6)
        if kind == 0:
            count = dice.choice(("ein", "einen", "zwei", "drei", "vier", "fünf", "sechs", "zehn"))
            return f"{count} {dice.choice(('Monat', 'Monate', 'Woche', 'Wochen', 'Tag', 'Tage', 'Jahr', 'Jahre', 'Stunden'))}"
        if kind == 1:
            return f"{dice.randint(1, 300)} Euro"
        if kind == 2:
            return f"{dice.randint(1, 60)} {dice.choice(('Tage', 'Wochen', 'Monate', 'Jahre', 'Prozent'))}"
        if kind == 3:
            return code(dice)
        if kind == 4:
            return f"{dice.randint(1, 28)}. {dice.choice(('Januar', 'April', 'Mai', 'Juni', 'Juli', 'August', 'Oktober'))}"
        noun, gender = self.german_noun(dice)
        return f"{ARTICLES[gender][0]} {noun}"


def code(dice: random.Random) -> str:
    return f"{dice.choice(CODE_LETTERS)}{dice.randint(10, 99)}"


def date(dice: random.Random) -> str:
    return f"{dice.randint(1, 28)} {dice.choice(MONTHS)}"
