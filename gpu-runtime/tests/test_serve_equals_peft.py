"""What the engine says is what PEFT says: greedy answers and log-probabilities, alone and in one mixed batch."""

from __future__ import annotations

import concurrent.futures

import pytest
from runtime_server import Served, shared_root

QUESTIONS = ["Hello", "What is 3 plus 4?", "Wer bist du?", "Say moba.", "What is the opposite of cold? Please tell me, I need to know it."]
MODELS = ["base", "one", "two", "wide"]
TOLERANCE_NATS = 1e-3


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    root = shared_root(tmp_path_factory.getbasetemp() / "serving")
    served = Served(root)
    for name in MODELS[1:]:
        assert served.load(name, f"adapters/{name}@v1").status_code == 200
    yield served
    served.close()


@pytest.fixture(scope="module")
def peft(served):
    from peft import PeftModel

    from clara_runtime.models import load_base, resolve_base

    root = served.serving.root
    model = load_base(resolve_base(root, "tiny-base"))
    for name in MODELS[1:]:
        folder = str(root / "adapters" / f"{name}@v1")
        if isinstance(model, PeftModel):
            model.load_adapter(folder, name)
        else:
            model = PeftModel.from_pretrained(model, folder, name)
    return model.eval()


def by_peft(peft, tokenizer, question: str, name: str, tokens: int) -> tuple[str, list[int], list[float]]:
    import contextlib

    import torch

    text = tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False)
    ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False)])
    with torch.inference_mode(), peft.disable_adapter() if name == "base" else contextlib.nullcontext():
        if name != "base":
            peft.set_adapter(name)
        answer = peft.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False)
        logits = peft(input_ids=answer).logits[0, ids.shape[1] - 1 : -1].float().log_softmax(-1)
    new = answer[0, ids.shape[1] :]
    return tokenizer.decode(new, skip_special_tokens=True), new.tolist(), logits.gather(1, new[:, None])[:, 0].tolist()


@pytest.fixture(scope="module")
def expected(served, peft):
    tokenizer = served.engine.tokenizer
    return {(question, name): by_peft(peft, tokenizer, question, name, 24) for question in QUESTIONS for name in MODELS}


def test_the_adapters_really_say_different_things(expected):
    assert all(len({expected[question, name][0] for name in MODELS}) > 2 for question in QUESTIONS)


def same(answer: dict, want: tuple[str, list[int], list[float]]) -> None:
    choice = answer["choices"][0]
    assert choice["message"]["content"] == want[0]
    assert choice["token_ids"] == want[1]
    got = [entry["logprob"] for entry in choice["logprobs"]["content"]]
    assert got == pytest.approx(want[2], abs=TOLERANCE_NATS)


def test_alone(served, expected):
    for name in MODELS:
        answer = served.chat(QUESTIONS[1], name, max_tokens=24, logprobs=True, return_token_ids=True)
        same(answer.json(), expected[QUESTIONS[1], name])


def test_all_questions_to_all_models_at_once_run_in_one_mixed_batch(served, expected):
    served.engine.runner.largest_batch = 0
    pairs = list(expected)
    with concurrent.futures.ThreadPoolExecutor(len(pairs)) as pool:
        answers = list(
            pool.map(lambda pair: served.chat(*pair, max_tokens=24, logprobs=True, top_logprobs=2, return_token_ids=True).json(), pairs)
        )
    for pair, answer in zip(pairs, answers, strict=True):
        same(answer, expected[pair])
        for entry in answer["choices"][0]["logprobs"]["content"]:
            assert entry["top_logprobs"][0]["logprob"] == pytest.approx(entry["logprob"], abs=1e-6)
            assert len(entry["top_logprobs"]) == 2
    assert served.engine.runner.largest_batch >= 8


def test_streams_say_the_same_and_carry_the_same_log_probabilities(served, expected):
    for name in MODELS:
        chunks = list(served.stream(QUESTIONS[2], name, max_tokens=24, logprobs=True))
        text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
        logprobs = [entry["logprob"] for chunk in chunks for entry in (chunk["choices"][0]["logprobs"] or {"content": []})["content"]]
        assert text == expected[QUESTIONS[2], name][0]
        assert logprobs == pytest.approx(expected[QUESTIONS[2], name][2], abs=TOLERANCE_NATS)


def test_prompt_log_probabilities_equal_pefts(served, peft):
    import torch

    prompt = "What is 3 plus 4?"
    ids = served.engine.encode(prompt)
    peft.set_adapter("two")
    with torch.inference_mode():
        logits = peft(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)
    want = [logits[at, token].item() for at, token in enumerate(ids[1:])]
    body = {"model": "two", "prompt": prompt, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    entries = served.client.post("/v1/completions", json=body).json()["choices"][0]["prompt_logprobs"]
    assert entries[0] is None
    assert [entry[str(token)]["logprob"] for entry, token in zip(entries[1:], ids[1:], strict=True)] == pytest.approx(
        want, abs=TOLERANCE_NATS
    )
    echoed = served.client.post("/v1/completions", json={**body, "prompt_logprobs": None, "echo": True, "logprobs": 0}).json()["choices"][0]
    assert echoed["text"].startswith(prompt)
    assert echoed["logprobs"]["token_logprobs"][1 : len(ids)] == pytest.approx(want, abs=TOLERANCE_NATS)


def test_a_trained_adapter_serves_its_fingerprint(trained):
    """What training recorded is what is served: the proof that the SDK asks every replica for."""
    import json

    fingerprint = json.loads((trained["folder"] / "fingerprint.json").read_text(encoding="utf-8"))
    served = Served(trained["root"])
    try:
        assert served.load("keys@v1", "adapters/keys@v1").status_code == 200
        cards = {card["id"]: card for card in served.client.get("/v1/models").json()["data"]}
        assert cards["keys@v1"]["sha256"] == trained["result"]["adapter_sha256"]
        for entry in fingerprint["prompts"]:
            for model, recorded in (("keys@v1", entry["answer"]), ("base", entry["base"])):
                body = {
                    "model": model,
                    "messages": entry["messages"],
                    "temperature": 0,
                    "max_tokens": len(recorded["token_ids"]),
                    "logprobs": True,
                }
                choice = served.client.post("/v1/chat/completions", json=body).json()["choices"][0]
                assert choice["message"]["content"] == recorded["text"]
                assert [item["logprob"] for item in choice["logprobs"]["content"]] == pytest.approx(recorded["logprobs"], abs=TOLERANCE_NATS)
    finally:
        served.close()
