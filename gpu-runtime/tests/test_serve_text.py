"""Text that leaves the engine: whole characters, stop strings found wherever tokens end, nothing lost and nothing twice."""

from __future__ import annotations

import random

import pytest

from clara_runtime.detokenizer import Detokenizer
from clara_runtime.models import load_tokenizer

TEXTS = [
    "Grüße aus Köln, 25 € – ja!",
    "😀👩‍👩‍👧 naïve 漢字 ok",
    "  leading and  double spaces\n\nlines",
    "plain",
]  # emoji and Han are several tokens a character


@pytest.fixture(scope="module")
def tokenizer(base):
    return load_tokenizer(base)


def run(tokenizer, ids, **options):
    detokenizer = Detokenizer(tokenizer, tokenizer.encode("Frage: "), **options)
    pieces = []
    for token in ids:
        pieces.append(detokenizer.push(token))
        if detokenizer.stopped_by is not None:
            return pieces, detokenizer
    pieces.append(detokenizer.finish())
    return pieces, detokenizer


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_are_whole_characters_and_add_up_to_the_text(tokenizer, text):
    ids = tokenizer.encode(text)
    pieces, _ = run(tokenizer, ids)
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


def test_a_character_that_never_ends_is_told_at_the_end_only(tokenizer):
    ids = tokenizer.encode("ok 😀")[:-1]
    pieces, _ = run(tokenizer, ids)
    assert "".join(pieces[:-1]) == "ok "
    assert pieces[-1].strip("\ufffd") == ""


@pytest.mark.parametrize("seed", range(30))
def test_a_stop_string_is_found_wherever_tokens_end(tokenizer, seed):
    draw = random.Random(seed)
    text = "".join(draw.choice("ab€ Straße😀\n") for _ in range(40))
    start = draw.randrange(5, 30)
    stop = text[start : start + draw.randrange(1, 6)]
    expected = text[: text.index(stop)]
    ids = tokenizer.encode(text)
    pieces, detokenizer = run(tokenizer, ids, stop=(stop,))
    assert "".join(pieces) == expected
    assert detokenizer.stopped_by == stop
    with_stop, _ = run(tokenizer, ids, stop=(stop,), include_stop=True)
    assert "".join(with_stop) == expected + stop


def test_text_held_back_for_a_stop_string_that_does_not_come_is_given_out(tokenizer):
    pieces, detokenizer = run(tokenizer, tokenizer.encode("one two thr"), stop=("three", "two three"))
    assert "".join(pieces) == "one two thr"
    assert detokenizer.stopped_by is None
