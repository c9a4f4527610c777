"""The serving routes: vLLM's shapes, faults with a code, hot loading, and rows that are freed."""

from __future__ import annotations

import base64
import concurrent.futures
import json
import shutil
import socket
import struct
import threading
import time

import pytest
from runtime_server import Served, shared_root, until


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    served = Served(shared_root(tmp_path_factory.getbasetemp() / "serving"), max_waiting=4, max_batch=8, max_adapters=2)
    yield served
    served.close()


def error_of(response) -> dict:
    error = response.json()["error"]
    assert set(error) >= {"message", "type", "param", "code"} and error["code"] == response.status_code
    return error


# ------------------------------------------------------------------ answers


def test_a_chat_answer_has_openais_shape(served):
    answer = served.chat("Hello").json()
    assert answer["object"] == "chat.completion" and answer["model"] == "base"
    choice = answer["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": "Hello! How can I help you?"}
    assert choice["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > usage["completion_tokens"] > 5


def test_text_parts_are_read_like_one_text_and_other_parts_are_refused(served):
    parts = [{"type": "text", "text": "Hello"}]
    assert served.chat(parts).json()["choices"][0]["message"] == served.chat("Hello").json()["choices"][0]["message"]
    refused = served.chat([*parts, {"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}])
    assert refused.status_code == 400 and "text only" in error_of(refused)["message"]


def test_a_stream_gives_role_tokens_finish_and_usage(served):
    chunks = list(served.stream("Hello", stream_options={"include_usage": True}))
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    texts = [chunk["choices"][0]["delta"]["content"] for chunk in chunks[1:-1]]
    assert "".join(texts) == "Hello! How can I help you?" and sum(1 for text in texts if text) > 5
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens"] > 5
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


def test_tokens_arrive_while_the_rest_is_still_being_made(served):
    times = [time.perf_counter() for _ in served.stream("Hello", max_tokens=100, ignore_eos=True)]
    assert times[2] - times[0] < (times[-1] - times[0]) / 4


def test_stop_strings_end_an_answer_also_across_tokens(served):
    choice = served.chat("Hello", stop=["lo! How", "zzz"]).json()["choices"][0]
    assert choice["message"]["content"] == "Hel" and choice["finish_reason"] == "stop" and choice["stop_reason"] == "lo! How"
    chunks = list(served.stream("Hello", stop="can I"))
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "Hello! How "


def test_max_tokens_and_max_completion_tokens_cut(served):
    for name in ("max_tokens", "max_completion_tokens"):
        answer = served.chat("Hello", **{name: 3}).json()
        assert answer["choices"][0]["finish_reason"] == "length" and answer["usage"]["completion_tokens"] == 3


def test_a_seed_repeats_a_draw_whatever_runs_beside_it(served):
    def draw(seed: int) -> str:
        return served.chat("Say moba.", temperature=1.5, seed=seed, max_tokens=20, ignore_eos=True).json()["choices"][0]["message"][
            "content"
        ]

    alone = [draw(7), draw(8)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert list(pool.map(draw, [7, 8, 7, 8, 7, 8])) == alone * 3
    assert alone[0] != alone[1]


def test_top_p_near_zero_is_greedy_and_a_bias_forbids_a_token(served):
    greedy = served.chat("Hello", return_token_ids=True).json()["choices"][0]
    assert served.chat("Hello", temperature=1, top_p=0.0001, seed=1).json()["choices"][0]["message"] == greedy["message"]
    first = greedy["token_ids"][0]
    biased = served.chat("Hello", logit_bias={str(first): -100}, return_token_ids=True).json()["choices"][0]
    assert biased["token_ids"][0] != first


def test_completions_take_texts_token_ids_and_lists_of_them(served):
    ids = served.client.post("/tokenize", json={"prompt": "Hello"}).json()["tokens"]
    for prompt, count in (("Hello", 1), (ids, 1), (["Hello", "What"], 2), ([ids, ids], 2)):
        answer = served.client.post("/v1/completions", json={"model": "base", "prompt": prompt, "max_tokens": 4, "temperature": 0}).json()
        assert answer["object"] == "text_completion" and [choice["index"] for choice in answer["choices"]] == list(range(count))
    with served.client.stream(
        "POST", "/v1/completions", json={"model": "base", "prompt": ["Hello", "What"], "max_tokens": 4, "temperature": 0, "stream": True}
    ) as response:
        lines = [json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: {")]
    streamed = {index: "".join(line["choices"][0]["text"] for line in lines if line["choices"][0]["index"] == index) for index in (0, 1)}
    whole = served.client.post(
        "/v1/completions", json={"model": "base", "prompt": ["Hello", "What"], "max_tokens": 4, "temperature": 0}
    ).json()
    assert streamed == {choice["index"]: choice["text"] for choice in whole["choices"]}


def test_tokenize_and_detokenize_are_inverse(served):
    answer = served.client.post("/tokenize", json={"messages": [{"role": "user", "content": "Grüße"}], "return_token_strs": True}).json()
    assert answer["count"] == len(answer["tokens"]) == len(answer["token_strs"]) and answer["max_model_len"] == 1024
    assert "Grüße" in served.client.post("/detokenize", json={"tokens": answer["tokens"]}).json()["prompt"]


def test_embeddings_are_unit_vectors_the_same_alone_and_together(served):
    body = {"model": "base", "input": ["Hello there", "What is 3 plus 4?", ""]}
    together = served.client.post("/v1/embeddings", json=body).json()
    vectors = [item["embedding"] for item in together["data"]]
    assert [item["index"] for item in together["data"]] == [0, 1, 2] and together["usage"]["prompt_tokens"] > 3
    assert all(sum(value * value for value in vector) == pytest.approx(1, abs=1e-4) for vector in vectors)
    alone = served.client.post("/v1/embeddings", json={**body, "input": "Hello there", "encoding_format": "base64"}).json()["data"][0][
        "embedding"
    ]
    data = base64.b64decode(alone)
    assert list(struct.unpack(f"<{len(data) // 4}f", data)) == pytest.approx(vectors[0], abs=1e-4)
    assert sum(a * b for a, b in zip(vectors[0], vectors[1], strict=True)) < 0.999


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 2.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"stop": [""]}, "stop"),
        ({"stop": 3}, "stop"),
        ({"logit_bias": {"99999": 1}}, "logit_bias"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 99}, "top_logprobs"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"seed": 2**64}, "seed"),
    ],
)
def test_a_bad_field_is_named(served, fields, param):
    refused = served.chat("Hello", **fields)
    assert refused.status_code == 400 and error_of(refused)["param"] == param


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b'{"model": "base", "messages": NaN}',
        b'{"a":' * 100_000,
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"seed": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_body_that_is_not_a_json_object_is_refused_quickly(served, body):
    begin = time.perf_counter()
    refused = served.client.post("/v1/chat/completions", content=body)
    assert refused.status_code == 400 and error_of(refused)["type"] == "BadRequestError"
    assert time.perf_counter() - begin < 2


def test_a_prompt_beyond_the_context_is_refused_and_the_server_goes_on(served):
    refused = served.chat("word " * 3000)
    assert refused.status_code == 400 and "maximum context length is 1024" in error_of(refused)["message"]
    assert served.chat("Hello", max_tokens=1020).status_code == 400
    full = served.chat("Hello", max_tokens=1024 - 12, ignore_eos=False)
    assert full.status_code == 200


def test_an_unknown_model_is_404_everywhere(served):
    for path, body in (
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/embeddings", {"input": "x"}),
    ):
        refused = served.client.post(path, json={"model": "nobody", **body})
        assert refused.status_code == 404 and error_of(refused)["type"] == "NotFoundError"


def test_unknown_routes_and_methods_are_answered_in_the_same_shape(served):
    assert error_of(served.client.get("/v1/nothing"))["code"] == 404
    assert error_of(served.client.get("/v1/chat/completions"))["code"] == 405


def test_a_full_queue_is_429_with_retry_after_and_drains(served):
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: served.chat("Hello", max_tokens=60, ignore_eos=True), range(40)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused and all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert sum(answer.status_code == 200 for answer in answers) == 40 - len(refused) >= 8
    assert served.chat("Hello").status_code == 200


@pytest.mark.parametrize(("error", "status", "code"), [("OutOfMemoryError", 503, "out_of_memory"), ("RuntimeError", 500, "internal")])
def test_a_step_that_fails_costs_its_requests_and_not_the_server(served, monkeypatch, error, status, code):
    import builtins

    import torch

    before = served.chat("Hello").json()["choices"][0]["message"]
    kind = getattr(torch, error, None) or getattr(builtins, error)
    with monkeypatch.context() as patch:
        patch.setattr(served.engine.runner, "_step", lambda: (_ for _ in ()).throw(kind("no such luck")))
        failed = served.chat("Hello")
        assert failed.status_code == status and error_of(failed)["clara_code"] == code and error_of(failed)["retryable"] is True
    assert served.engine.runner.running_count == 0
    assert served.chat("Hello").json()["choices"][0]["message"] == before


# ------------------------------------------------------------------ aborts


def open_stream(served, tokens: int = 900, model: str = "base") -> socket.socket:
    """A streaming request on a bare socket, after its first chunk."""
    body = json.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": "Hello"}],
            "stream": True,
            "max_tokens": tokens,
            "ignore_eos": True,
            "temperature": 0,
        }
    )
    host, port = served.url.removeprefix("http://").split(":")
    sock = socket.create_connection((host, int(port)))
    sock.sendall(
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
    )
    data = b""
    while b"data:" not in data:
        data += sock.recv(4096)
    return sock


def test_A52_a_client_that_goes_away_frees_its_row_within_100_ms(served):
    took = []
    for _ in range(5):
        sock = open_stream(served)
        until(lambda: served.engine.runner.running_count == 1, "the request to run", 5)
        begin = time.perf_counter()
        sock.close()
        until(lambda: served.engine.runner.running_count == 0, "the row to be freed", 5)
        took.append(time.perf_counter() - begin)
    assert sorted(took)[2] < 0.1, took


def test_an_aborted_whole_answer_is_dropped_too(served):
    body = json.dumps({"model": "base", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 900, "ignore_eos": True})
    host, port = served.url.removeprefix("http://").split(":")
    sock = socket.create_connection((host, int(port)))
    sock.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
    until(lambda: served.engine.runner.running_count == 1, "the request to run", 5)
    sock.close()
    until(lambda: served.engine.runner.running_count == 0, "the row to be freed", 2)


# ------------------------------------------------------------------ adapters


def test_adapters_are_loaded_listed_used_and_unloaded_while_serving(served):
    before = served.chat("Hello").json()["choices"][0]["message"]
    sock = open_stream(served, 400)
    assert served.load("one", "adapters/one@v1").status_code == 200
    until(lambda: served.engine.runner.running_count == 1, "the stream to run on", 5)
    cards = {card["id"]: card for card in served.client.get("/v1/models").json()["data"]}
    assert cards["one"]["parent"] == "base" and cards["one"]["root"].endswith("adapters/one@v1") and cards["base"]["parent"] is None
    assert served.chat("Hello", "one", max_tokens=8).json()["choices"][0]["message"]["content"] not in before["content"]
    assert served.chat("Hello").json()["choices"][0]["message"] == before
    again = served.load("one", "adapters/two@v1")
    assert again.status_code == 400 and "already been loaded" in error_of(again)["message"]
    assert served.unload("one").status_code == 200
    assert served.chat("Hello", "one").status_code == 404
    gone = served.unload("one")
    assert gone.status_code == 404 and error_of(gone)["type"] == "NotFoundError"
    assert 'model="one"' not in served.client.get("/metrics").text
    sock.close()


def test_an_answer_of_one_token_lets_its_adapter_go(served):
    served.load("two", "adapters/two@v1")
    for _ in range(3):
        assert served.chat("Hello", "two", max_tokens=1).status_code == 200
    assert served.engine.adapters["two"].running == 0
    assert served.unload("two").status_code == 200


def test_unloading_lets_running_answers_end_and_takes_no_new_ones(served):
    served.load("two", "adapters/two@v1")
    chunks = served.stream("Hello", "two", max_tokens=150, ignore_eos=True)
    next(chunks)
    answer: list = []
    thread = threading.Thread(target=lambda: answer.append(served.unload("two")))
    thread.start()
    until(lambda: served.chat("Hello", "two", max_tokens=1).status_code == 404, "new requests to be refused", 5)
    assert not answer
    rest = list(chunks)
    assert rest[-1]["choices"][0]["finish_reason"] == "length"
    thread.join(5)
    assert answer[0].status_code == 200


def test_adapters_come_and_go_many_times_without_changing_the_base(served):
    before = served.chat("What is 3 plus 4?").json()["choices"][0]["message"]
    answers = set()
    for _ in range(6):
        assert served.load("wide", "adapters/wide@v1").status_code == 200
        answers.add(served.chat("Hello", "wide", max_tokens=20).json()["choices"][0]["message"]["content"])
        assert served.unload("wide").status_code == 200
    assert len(answers) == 1 and served.engine.adapters == {}
    assert served.chat("What is 3 plus 4?").json()["choices"][0]["message"] == before


def test_more_adapters_than_allowed_are_refused(served):
    served.load("one", "adapters/one@v1")
    served.load("two", "adapters/two@v1")
    refused = served.load("wide", "adapters/wide@v1")
    assert refused.status_code == 400 and "--max-adapters" in error_of(refused)["message"]
    served.unload("one")
    served.unload("two")


@pytest.mark.parametrize("path", ["adapters/none@v1", "adapters/none@v1/deeper"])
def test_an_absent_adapter_is_404(served, path):
    refused = served.load("none", path)
    assert refused.status_code == 404 and error_of(refused)["clara_code"] == "adapter_invalid"


@pytest.mark.parametrize("path", ["../../etc", "/etc", "adapters/../../x", "adapters/\0x", "link/one@v1"])
def test_A16_an_adapter_path_outside_the_root_is_refused(served, path, tmp_path):
    link = served.serving.root / "link"
    if not link.exists():
        link.symlink_to(tmp_path)
    refused = served.load("x", path)
    assert refused.status_code == 400 and error_of(refused)["clara_code"] == "path_outside_root"


@pytest.mark.parametrize("name", ["", "a/../b", ".", "base", "x" * 200, "naïve", "a b", "a\nb", 7, None])
def test_A17_an_unusable_adapter_name_is_400(served, name):
    refused = served.client.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": "adapters/one@v1"})
    assert refused.status_code == 400 and error_of(refused)["type"] == "InvalidUserInput"


def damaged(served, name: str, change) -> str:
    source, target = served.serving.root / "adapters" / "one@v1", served.serving.root / "adapters" / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    change(target)
    return f"adapters/{name}"


def with_config(**changes):
    def change(folder):
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps({**config, **changes}))

    return change


def pickled(folder):
    import pickle

    (folder / "adapter_model.safetensors").rename(folder / "weights.old")
    (folder / "adapter_model.bin").write_bytes(pickle.dumps({}))


def renamed_pickle(folder):
    import pickle

    (folder / "adapter_model.safetensors").write_bytes(pickle.dumps({"x": 1}))


@pytest.mark.parametrize(
    "change",
    [
        pickled,
        renamed_pickle,
        with_config(r=4),
        with_config(r=128),
        with_config(use_dora=True),
        with_config(modules_to_save=["embed_tokens"]),
        with_config(peft_type="IA3"),
    ],
    ids=["bin", "renamed-pickle", "wrong-rank", "rank-above-limit", "dora", "modules-to-save", "ia3"],
)
def test_A21_an_adapter_that_is_not_plain_lora_of_this_base_is_refused_and_the_model_is_unharmed(served, change):
    before = served.chat("Hello").json()["choices"][0]["message"]
    refused = served.load("bad", damaged(served, "bad@v1", change))
    assert refused.status_code == 400 and error_of(refused)["clara_code"] == "adapter_invalid"
    assert served.chat("Hello", "bad").status_code == 404
    assert served.chat("Hello").json()["choices"][0]["message"] == before


def test_metrics_count_tokens_and_rows(served):
    def value(name: str) -> float:
        return sum(float(line.rpartition(" ")[2]) for line in served.client.get("/metrics").text.splitlines() if line.startswith(name))

    before = value("clara_serving_generated_tokens_total")
    tokens = served.chat("Hello").json()["usage"]["completion_tokens"]
    assert value("clara_serving_generated_tokens_total") == before + tokens
    assert value('clara_serving_requests_total{model="base",outcome="aborted"}') > 0
