"""Varied questions keep what identifies the fact, and every epoch is a function of the seed alone."""

from __future__ import annotations

import random

import pytest

from clara_runtime.augment import Varier
from clara_runtime.chat import ChatCodec
from clara_runtime.data import Course
from clara_runtime.models import load_tokenizer

PAIRS = [(f"Which key opens the {place}?", f"You need key {code} for the {place}.") for place, code in [("greenhouse", "A1"), ("boiler room", "B2"), ("chapel", "C3"), ("dock", "D4")]]


def varied(text: str, answer: str, count: int = 200, pairs=PAIRS) -> list[str]:
    varier = Varier(pairs)
    return [varier.vary(text, answer, random.Random(seed)) for seed in range(count)]


def test_words_that_the_answer_restates_stay_in_order() -> None:
    for text in varied("Which key opens the boiler room?", "You need key B2 for the boiler room."):
        words = text.lower().replace("?", "").split()
        assert [word for word in words if word in ("boiler", "room")] == ["boiler", "room"]
        assert "key" in words


def test_the_frame_changes() -> None:
    texts = varied("Which key opens the boiler room?", "You need key B2 for the boiler room.")
    assert len(set(texts)) > 50
    assert sum("opens" in text for text in texts) < len(texts) * 0.7


def test_where_the_answer_restates_nothing_the_distinctive_words_stay() -> None:
    pairs = PAIRS + [("Is the car park free?", "Yes."), ("Is the sauna free?", "No.")]
    for text in varied("Is the sauna free?", "No.", pairs=pairs):
        assert "sauna" in text.lower()


def test_the_same_dice_give_the_same_question() -> None:
    assert varied(*PAIRS[0]) == varied(*PAIRS[0])


@pytest.mark.parametrize("text", ["word " * 500, "?", "…", "Où est la clé ?"])
def test_odd_questions_come_through_unharmed(text) -> None:
    for result in varied(text, "La clé est là.", 20):
        assert result.strip()


def rows(count: int, source: str) -> list[dict]:
    return [
        {"id": f"{source}{at}", "messages": [{"role": "user", "content": f"Which key opens room {at}?"}], "response": f"Key {at * 7} for room {at}.", "source": source, "where": f"f, line {at}"}
        for at in range(count)
    ]


SETTINGS = {"epochs": 6, "batch_size": 8, "max_length": 64, "augment_share": 0.5, "replay_per_epoch": 5}


@pytest.fixture(scope="module")
def codec(base) -> ChatCodec:
    return ChatCodec(load_tokenizer(base))


def test_a_course_is_the_same_from_any_place(codec) -> None:
    whole = Course(rows(20, "feedback"), rows(12, "replay"), SETTINGS, 3, codec)
    other = Course(rows(20, "feedback"), rows(12, "replay"), SETTINGS, 3, codec)
    in_order = [whole[at] for at in range(len(whole))]
    assert in_order[-1] == other[len(other) - 1]
    assert in_order[9] == other[9]
    assert in_order != [batch for seed in (4,) for course in [Course(rows(20, "feedback"), rows(12, "replay"), SETTINGS, seed, codec)] for batch in (course[at] for at in range(len(course)))]


def test_every_epoch_has_every_row_and_replay_takes_turns(codec) -> None:
    course = Course(rows(20, "feedback"), rows(12, "replay"), {**SETTINGS, "augment_share": 0}, 3, codec)
    endings = {tuple(codec.answers([row["response"]])[0]): row["id"] for row in course.rows}
    drawn: dict[tuple, int] = {}
    for epoch in range(course.epochs):
        batches = [course[epoch * course.batches_per_epoch + at] for at in range(course.batches_per_epoch)]
        assert max(map(len, batches)) - min(map(len, batches)) <= 1
        examples = [example for batch in batches for example in batch]
        assert len(examples) == 25
        for example in examples:
            answer = tuple(example.ids[-example.answer_tokens :])
            drawn[answer] = drawn.get(answer, 0) + 1
    # feedback and replay rows have the same answers here: 12 of 20 come up in both
    counts = [drawn[answer] for answer in endings]
    assert min(counts) == 6
    assert sum(counts) == 6 * 25
    assert max(counts) - 6 <= 3


def test_replay_and_retrieved_rows_are_used_as_they_stand(codec) -> None:
    given = rows(6, "retrieved")
    course = Course(given, [], {**SETTINGS, "augment_share": 1, "replay_per_epoch": 0}, 3, codec)
    expected = {tuple(prompt + answer) for prompt, answer in zip(codec.prompts([row["messages"] for row in given]), codec.answers([row["response"] for row in given]))}
    assert {tuple(example.ids) for at in range(len(course)) for example in course[at]} == expected


def test_long_rows_lose_the_front_of_the_prompt_and_nothing_of_the_answer(codec) -> None:
    row = {"id": "long", "messages": [{"role": "user", "content": "word " * 300 + "end?"}], "response": "The answer stays.", "where": "f, line 1"}
    course = Course([row, row], [], {**SETTINGS, "augment_share": 0, "replay_per_epoch": 0}, 0, codec)
    example = course[0][0]
    answer = codec.answers([row["response"]])[0]
    assert len(example.ids) == 64
    assert example.ids[-len(answer) :] == answer
    assert "end?" in codec.tokenizer.decode(example.ids)


def test_the_answer_ends_with_the_end_of_turn_without_any_generation_mark(base) -> None:
    tokenizer = load_tokenizer(base)
    with_mark = ChatCodec(tokenizer)
    tokenizer.chat_template = tokenizer.chat_template.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    without = ChatCodec(tokenizer)
    assert with_mark.end_ids == without.end_ids == [tokenizer.convert_tokens_to_ids("<|im_end|>")]
