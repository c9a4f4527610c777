"""Training keeps its promises: the loss falls, the adapter on disk is what was trained, warm starts go on, QLoRA runs."""

from __future__ import annotations

import hashlib
import json
import math

import pytest

from clara_runtime.chat import ChatCodec
from clara_runtime.models import attach_adapter, load_base, load_tokenizer, read_adapter


def of_type(events: list[dict], kind: str) -> list[dict]:
    return [event for event in events if event["type"] == kind]


def test_the_loss_falls_and_the_facts_are_learnt(trained) -> None:
    result = trained["result"]
    assert result["loss_last"] < result["loss_first"] / 10
    baseline, candidate = result["evaluation"]
    recall = {part["name"]: part["sets"][0] for part in (baseline, candidate)}
    assert recall["baseline"]["exact"] == 0
    assert recall["candidate"]["exact"] > recall["baseline"]["exact"]
    assert recall["candidate"]["choice_probability"] > recall["baseline"]["choice_probability"]
    assert recall["candidate"]["perplexity"] < recall["baseline"]["perplexity"]


def test_events_are_numbered_from_one_and_end_with_the_result(trained) -> None:
    events = trained["events"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event["phase"] for event in of_type(events, "phase")] == ["import", "load", "prepare", "train", "evaluate", "save"]
    assert of_type(events, "result") == [events[-1]]
    assert of_type(events, "progress")[-1]["step"] == trained["result"]["steps"]
    assert set(trained["result"]["seconds"]) == {"import", "load", "prepare", "train", "evaluate", "save"}


def test_a_fresh_load_gives_the_logits_that_were_trained(trained, base) -> None:
    """The fingerprint was recorded on the model in memory; a fresh PEFT load of the folder gives the same figures."""
    from peft import PeftModel

    from clara_runtime.fingerprint import log_probs

    tokenizer = load_tokenizer(base)
    codec = ChatCodec(tokenizer)
    plain = load_base(base)
    fingerprint = json.loads((trained["folder"] / "fingerprint.json").read_text())
    for model in (PeftModel.from_pretrained(load_base(base), trained["folder"]), _attached(base, trained["folder"])):
        model.eval()
        for entry in fingerprint["prompts"]:
            again = log_probs(model, codec.prompts([entry["messages"]])[0], entry["answer"]["token_ids"])
            assert again == pytest.approx(entry["answer"]["logprobs"], abs=1e-5)
    for entry in fingerprint["prompts"]:
        prompt, answer, base_answer = codec.prompts([entry["messages"]])[0], entry["answer"], entry["base"]
        without = log_probs(plain.eval(), prompt, answer["token_ids"])
        assert sum(abs(a - b) for a, b in zip(without, answer["logprobs"])) / len(without) == pytest.approx(entry["shift"], abs=1e-4)
        assert log_probs(plain, prompt, base_answer["token_ids"]) == pytest.approx(base_answer["logprobs"], abs=1e-5)
    assert len(fingerprint["prompts"]) == 8
    assert max(entry["shift"] for entry in fingerprint["prompts"]) > 1
    assert trained["result"]["fingerprint"] == fingerprint


def _attached(base, folder):
    model = attach_adapter(load_base(base), read_adapter(folder, base), "served")
    model.set_adapter("served")
    return model


def test_the_folder_holds_safetensors_a_manifest_and_no_pickle(trained) -> None:
    folder, result = trained["folder"], trained["result"]
    assert sorted(file.name for file in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors", "clara.json", "fingerprint.json", "result.json"]
    assert hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest() == result["adapter_sha256"]
    manifest = json.loads((folder / "clara.json").read_text())
    assert manifest["base_model_sha256"] == result["base_model_sha256"]
    assert manifest["data_sha256"]["train"] == hashlib.sha256((trained["root"] / "train.jsonl").read_bytes()).hexdigest()
    assert manifest["spec"] == trained["spec"]
    assert not list((trained["root"] / "checkpoints").glob("job/*"))
    assert not [path for path in (trained["root"] / "adapters").iterdir() if path.name.startswith(".")]


def test_a_finished_job_run_again_answers_with_its_result(trained, run_train) -> None:
    code, events = run_train(trained["spec"], trained["root"], first_seq=100)
    assert code == 0
    assert [event["type"] for event in events] == ["result"]
    assert events[0]["seq"] == 100
    assert events[0]["result"] == trained["result"]


def test_a_taken_adapter_name_is_refused(trained, run_train, make_spec) -> None:
    code, events = run_train(make_spec(job_id="another"), trained["root"])
    assert (code, events[-1]["code"]) == (5, "adapter_invalid")
    assert "immutable" in events[-1]["message"]


def test_the_same_spec_gives_the_same_bytes(write_data, tmp_path, run_train, make_spec) -> None:
    spec = make_spec(settings__max_steps=6, lora__dropout=0.1)
    hashes = []
    for name in ("one", "two"):
        code, events = run_train(spec, write_data(tmp_path / name))
        assert code == 0
        hashes.append(events[-1]["result"]["adapter_sha256"])
    assert hashes[0] == hashes[1]
    code, events = run_train(make_spec(settings__max_steps=6, lora__dropout=0.1, seed=2), write_data(tmp_path / "three"))
    assert events[-1]["result"]["adapter_sha256"] != hashes[0]


def test_a_warm_start_goes_on_from_the_adapter(trained, run_train, make_spec) -> None:
    spec = make_spec(
        trainer="continuous",
        job_id="warm",
        adapter_name="keys@v2",
        init_adapter="adapters/keys@v1",
        settings__learning_rate=1e-4,
        settings__max_steps=3,
        settings__augment_share=0,
    )
    code, events = run_train(spec, trained["root"])
    assert code == 0, events[-1]
    warm = events[-1]["result"]
    assert warm["loss_first"] < trained["result"]["loss_first"] / 10
    assert warm["adapter_sha256"] != trained["result"]["adapter_sha256"]


@pytest.mark.parametrize("bits", [4, 8])
def test_qlora_trains_on_a_quantised_base(root, run_train, make_spec, bits, base) -> None:
    spec = make_spec(trainer="qlora", quantization={"bits": bits}, settings__max_steps=12, settings__augment_share=0)
    code, events = run_train(spec, root)
    assert code == 0, events[-1]
    result = events[-1]["result"]
    assert result["loss_last"] < result["loss_first"]
    tensors = read_adapter(result["adapter_path"], base).tensors
    assert {str(tensor.dtype) for tensor in tensors.values()} == {"torch.float32"}

    from clara_runtime.fingerprint import log_probs

    # engines serve the base as it is, so that is what the fingerprint must say
    codec, plain = ChatCodec(load_tokenizer(base)), load_base(base).eval()
    for entry in result["fingerprint"]["prompts"]:
        again = log_probs(plain, codec.prompts([entry["messages"]])[0], entry["base"]["token_ids"])
        assert again == pytest.approx(entry["base"]["logprobs"], abs=1e-5)


def test_without_room_for_the_whole_base_qlora_records_no_fingerprint(root, run_train, make_spec, monkeypatch) -> None:
    from clara_runtime import models

    monkeypatch.setattr(models, "room_for", lambda base, dtype: None)
    spec = make_spec(trainer="qlora", quantization={"bits": 4}, settings__max_steps=2, settings__augment_share=0)
    code, events = run_train(spec, root)
    assert code == 0, events[-1]
    assert "fingerprint" not in events[-1]["result"]
    assert any("no fingerprint" in event.get("message", "") for event in events)


def test_gradient_checkpointing_and_accumulation_give_the_same_first_loss(root, run_train, make_spec) -> None:
    losses = []
    frugal = {"hardware__gradient_checkpointing": True, "settings__gradient_accumulation_steps": 2, "settings__batch_size": 4}
    for name, changes in {"plain": {"settings__batch_size": 8}, "frugal": frugal}.items():
        spec = make_spec(job_id=name, adapter_name=f"{name}@v1", settings__max_steps=2, settings__augment_share=0, settings__replay_per_epoch=0, **changes)
        code, events = run_train(spec, root)
        assert code == 0, events[-1]
        losses.append(events[-1]["result"]["loss_first"])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


@pytest.mark.parametrize("hardware", [{"precision": "bf16"}, {"precision": "auto", "device_map": "auto", "max_memory": {"cpu": "4GB"}}])
def test_precision_and_device_map_are_obeyed(root, run_train, make_spec, hardware) -> None:
    spec = make_spec(settings__max_steps=2, hardware={"gradient_checkpointing": False, "threads": 1, **hardware})
    code, events = run_train(spec, root)
    assert code == 0, events[-1]
    assert events[-1]["result"]["steps"] == 2


def test_row_weights_decide_between_contradicting_answers(tmp_path, run_train, make_spec, base) -> None:
    from conftest import turn, write_rows

    root = tmp_path / "root"
    root.mkdir()
    rows = [("You need key A11 for the chapel.", 9.0), ("You need key B27 for the chapel.", 1.0)]
    write_rows(root / "train.jsonl", [{"id": f"{at}{copy}", "messages": turn("Which key opens the chapel?"), "response": text, "weight": weight} for at, (text, weight) in enumerate(rows) for copy in range(2)])
    write_rows(root / "recall.jsonl", [{"id": "x", "messages": turn("Which key opens the chapel?"), "response": rows[0][0]}])
    evaluation = {"sets": [{"name": "recall", "kind": "recall", "path": "recall.jsonl"}], "distractors": 0, "max_new_tokens": 32, "batch_size": 4, "baseline_adapter": None}
    code, events = run_train(make_spec(replay_path=None, settings__replay_per_epoch=0, settings__augment_share=0, evaluation=evaluation), root)
    assert code == 0, events[-1]
    item = events[-1]["result"]["evaluation"][1]["sets"][0]["items"][0]
    assert item["exact"]
    assert item["nll"] == pytest.approx(-math.log(0.9), abs=0.1)
