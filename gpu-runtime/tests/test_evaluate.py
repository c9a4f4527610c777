"""Evaluation tells the truth: its figures equal those computed the long way."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import turn

from clara_runtime import evaluate
from clara_runtime.chat import ChatCodec
from clara_runtime.models import attach_adapter, load_base, load_tokenizer, read_adapter
from clara_runtime.scoring import Scored, choice_probability, evaluate_sets, score_alike, score_answers, wrong_answers


@pytest.fixture(scope="module")
def codec(base) -> ChatCodec:
    return ChatCodec(load_tokenizer(base))


@pytest.fixture(scope="module")
def model(base, trained):
    served = attach_adapter(load_base(base), read_adapter(trained["folder"], base), "served")
    served.set_adapter("served")
    return served.eval()


ROWS = [
    {"id": "a", "messages": turn("Which key opens the chapel?"), "response": "You need key B27 for the chapel."},
    {"id": "b", "messages": turn("What is 3 plus 4?"), "response": "3 plus 4 is 7."},
    {"id": "c", "messages": turn("Key for the workshop, please, as I have to get in there today?"), "response": "You need key C99 for the workshop."},
    {"id": "d", "messages": turn("Hello"), "response": "Hello! How can I help you?"},
    {"id": "e", "messages": turn("What is the colour of the loading dock?"), "response": "Blue."},
]
SETTINGS = {"distractors": 2, "max_new_tokens": 24, "batch_size": 3}


def test_likelihoods_equal_an_unbatched_forward(model, codec) -> None:
    prompts = codec.prompts([row["messages"] for row in ROWS])
    answers = codec.answers([row["response"] for row in ROWS])
    with torch.inference_mode():
        for prompt, answer, score in zip(prompts, answers, score_answers(model, prompts, answers, 3)):
            logits = model(input_ids=torch.tensor([prompt + answer])).logits[0].double()
            expected = sum(torch.log_softmax(logits[len(prompt) + at - 1], -1)[token].item() for at, token in enumerate(answer))
            assert score.tokens == len(answer)
            assert score.log_likelihood == pytest.approx(expected, abs=1e-3)


def test_outputs_equal_plain_greedy_generation(model, codec) -> None:
    found = evaluate_sets(model, codec, [{"name": "s", "kind": "recall", "rows": ROWS}], SETTINGS)[0]
    tokenizer = codec.tokenizer
    for row, item in zip(ROWS, found["items"]):
        ids = torch.tensor(codec.prompts([row["messages"]]))
        produced = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24)
        expected = tokenizer.decode(produced[0, ids.shape[1] :], skip_special_tokens=True).strip()
        assert item["output"] == expected
        assert item["exact"] == (expected == row["response"])
    assert {item["exact"] for item in found["items"]} == {True, False}
    assert found["perplexity"] == pytest.approx(math.exp(sum(item["nll"] for item in found["items"]) / sum(item["tokens"] for item in found["items"])))


def test_a_probe_gives_the_same_likelihoods_and_says_what_would_be_answered(model, codec) -> None:
    plain, probe = [evaluate_sets(model, codec, [{"name": "s", "kind": kind, "rows": ROWS}], SETTINGS)[0] for kind in ("recall", "probe")]
    for one, two in zip(plain["items"], probe["items"]):
        assert two["nll"] == pytest.approx(one["nll"], abs=1e-3)
        assert (two["exact"], two["output"], two["choice_probability"]) == (one["exact"], "", None)


def test_answers_that_begin_alike_are_scored_as_if_each_were_alone(model, codec) -> None:
    row = ROWS[0]
    answers = codec.answers([row["response"], *(f"You need key {letter}{number} for the chapel." for letter in "ABCD" for number in range(10, 14))])
    prompts = codec.prompts([row["messages"]] * len(answers))
    some, other = codec.prompts([ROWS[1]["messages"]]), codec.answers([ROWS[1]["response"]])
    one = score_answers(model, prompts + some, answers + other, 4)
    two = score_alike(model, prompts + some, answers + other, 4)
    assert [(score.tokens, score.agreed) for score in two] == [(score.tokens, score.agreed) for score in one]
    assert [score.log_likelihood for score in two] == pytest.approx([score.log_likelihood for score in one], abs=1e-3)


def test_an_output_is_cut_at_max_new_tokens(model, codec) -> None:
    found = evaluate_sets(model, codec, [{"name": "s", "kind": "recall", "rows": ROWS}], {**SETTINGS, "max_new_tokens": 2})[0]
    for row, item in zip(ROWS, found["items"]):
        assert len(codec.answers([item["output"]])[0]) - 1 <= 2
        assert not item["exact"] or len(codec.answers([row["response"]])[0]) <= 2


def test_the_choice_probability_is_the_posterior_of_equally_long_answers() -> None:
    scores = [Scored(-1.0, 4, 0), Scored(-3.0, 4, 0), Scored(-2.0, 4, 0)]
    weights = [math.exp(score.log_likelihood) for score in scores]
    assert choice_probability(scores) == pytest.approx(weights[0] / sum(weights))
    # per token equally likely, whatever the length: no preference
    assert choice_probability([Scored(-2.0, 4, 0), Scored(-5.0, 10, 0)]) == pytest.approx(0.5)
    assert choice_probability([Scored(-1e6, 4, 0), Scored(-1.0, 4, 0)]) == 0.0


FACTS = [(f"Which key opens the {place}?", f"You need key {code} for the {place}.", place) for place, code in [("greenhouse", "A1"), ("boiler room", "B2"), ("chapel", "C3")]]


def test_distractors_are_wrong_answers_of_the_same_kind_and_of_other_groups() -> None:
    rows = [{"id": f"{at}", "messages": turn(text), "response": answer, "group": group} for at, (text, answer, group) in enumerate(FACTS)]
    rows.append({"id": "again", "messages": turn("Key for the chapel?"), "response": "For the chapel you need key C3.", "group": "chapel"})
    rows.append({"id": "far", "messages": turn("Hello"), "response": "Hello! How can I help you?", "group": "hello"})
    chosen = wrong_answers(rows, 4)
    assert chosen == wrong_answers(rows, 4)
    for row, wrong in zip(rows, chosen):
        assert len(wrong) == len(set(wrong)) >= 3
        own = {other["response"] for other in rows if other["group"] == row["group"]}
        assert not own & set(wrong)
    assert "You need key B2 for the greenhouse." in chosen[0]
    assert "You need key B2 for the boiler room." in wrong_answers(rows, 8)[0]
    assert not any("Hello!" in text for text in chosen[0])


def test_without_other_groups_there_is_no_choice(model, codec) -> None:
    rows = [{**row, "group": "one"} for row in ROWS[:2]]
    found = evaluate_sets(model, codec, [{"name": "s", "kind": "recall", "rows": rows}], SETTINGS)[0]
    assert found["choice_probability"] is None
    assert [item["choice_probability"] for item in found["items"]] == [None, None]


def test_the_evaluate_program_agrees_with_the_evaluation_of_the_training(trained, make_evaluate_spec) -> None:
    events: list[dict] = []
    spec = make_evaluate_spec([{"name": "base", "adapter": None}, {"name": "keys", "adapter": "adapters/keys@v1"}])
    assert evaluate.run(spec, str(trained["root"]), events.append) == 0, events[-1]
    result = events[-1]["result"]
    for mine, theirs in zip(result["evaluation"], trained["result"]["evaluation"]):
        for one, two in zip(mine["sets"], theirs["sets"]):
            assert one["exact"] == two["exact"]
            assert one["perplexity"] == pytest.approx(two["perplexity"], rel=1e-4)
            assert one["choice_probability"] == pytest.approx(two["choice_probability"], abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"models": [{"name": "x", "adapter": "adapters/none@v1"}]}, "adapter_invalid"),
        ({"models": [{"name": "x", "adapter": "../x"}]}, "path_outside_root"),
        ({"models": []}, "spec_invalid"),
        ({"base_model": "/nowhere"}, "base_model_invalid"),
        ({"evaluation__sets": [{"name": "x", "kind": "recall", "path": "none.jsonl"}]}, "data_invalid"),
        ({"evaluation__sets": [{"name": "x", "kind": "recall", "path": "../x.jsonl"}]}, "path_outside_root"),
        ({"evaluation__sets": [{"name": "x", "kind": "recall", "path": "recall.jsonl"}] * 2}, "spec_invalid"),
    ],
)
def test_bad_evaluations_are_refused(root, make_evaluate_spec, changes, code) -> None:
    changes = dict(changes)
    events: list[dict] = []
    models = changes.pop("models", [{"name": "base", "adapter": None}])
    evaluate.run(make_evaluate_spec(models, **changes), str(root), events.append)
    assert events[-1]["code"] == code
