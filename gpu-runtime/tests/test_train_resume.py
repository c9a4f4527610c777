"""A training that is killed and run again ends where an uninterrupted one ends."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest
from safetensors.numpy import load_file


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, write_data, run_train, make_spec):
    spec = make_spec(settings__max_steps=10, lora__dropout=0.1, checkpoint__every_steps=4, checkpoint__keep=3)
    root = write_data(tmp_path_factory.mktemp("uninterrupted"))
    code, events = run_train(spec, root)
    assert code == 0, events[-1]
    return {"spec": spec, "folder": root / "adapters" / "keys@v1", "result": events[-1]["result"]}


def die_at_step(step: int):
    def hook(event: dict) -> None:
        if event["type"] == "metrics" and event["step"] == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def equal_weights(one, two) -> bool:
    mine, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (one, two))
    return mine.keys() == theirs.keys() and all((mine[name] == theirs[name]).all() for name in mine)


def test_a_killed_job_resumes_to_the_same_weights(uninterrupted, root, run_apart, run_train) -> None:
    code, events = run_apart(uninterrupted["spec"], root, die_at_step(9))
    assert code == -signal.SIGKILL
    assert [event["step"] for event in events if event["type"] == "checkpoint"] == [4, 8]
    assert not (root / "adapters" / "keys@v1").exists()

    code, events = run_train(uninterrupted["spec"], root, first_seq=len(events) + 1)
    assert code == 0, events[-1]
    result = events[-1]["result"]
    assert result["resumed"]
    assert min(event["step"] for event in events if event["type"] == "metrics") == 9
    assert equal_weights(uninterrupted["folder"], root / "adapters" / "keys@v1")
    assert result["loss_first"] == uninterrupted["result"]["loss_first"]
    assert result["loss_last"] == uninterrupted["result"]["loss_last"]
    assert not (root / "checkpoints" / "job").exists()


def test_damaged_and_half_written_checkpoints_are_skipped_with_a_word(uninterrupted, root, run_apart, run_train) -> None:
    run_apart(uninterrupted["spec"], root, die_at_step(9))
    folder = root / "checkpoints" / "job"
    weights = folder / "checkpoint-8" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\1\2\3")
    shutil.copytree(folder / "checkpoint-4", folder / "checkpoint-9")
    (folder / "checkpoint-9" / "seal.json").unlink()

    code, events = run_train(uninterrupted["spec"], root)
    assert code == 0, events[-1]
    warnings = [event["message"] for event in events if event["type"] == "log" and event["level"] == "warning"]
    assert any("step 9" in text and "half-written" in text for text in warnings)
    assert any("step 8" in text and "damaged" in text for text in warnings)
    assert min(event["step"] for event in events if event["type"] == "metrics") == 5
    assert equal_weights(uninterrupted["folder"], root / "adapters" / "keys@v1")


def test_checkpoints_of_other_data_are_not_resumed(uninterrupted, root, run_apart, run_train) -> None:
    run_apart(uninterrupted["spec"], root, die_at_step(9))
    rows = (root / "train.jsonl").read_text().splitlines()
    (root / "train.jsonl").write_text("\n".join(rows[:-1]) + "\n")
    code, events = run_train(uninterrupted["spec"], root)
    assert code == 0, events[-1]
    assert not events[-1]["result"]["resumed"]


def test_a_crash_after_training_trains_nothing_again(uninterrupted, root, run_apart, run_train) -> None:
    def hook(event: dict) -> None:
        if event == {**event, "type": "phase", "phase": "save"}:
            os.kill(os.getpid(), signal.SIGKILL)

    run_apart(uninterrupted["spec"], root, hook)
    code, events = run_train(uninterrupted["spec"], root)
    assert code == 0, events[-1]
    assert not [event for event in events if event["type"] == "metrics"]
    assert equal_weights(uninterrupted["folder"], root / "adapters" / "keys@v1")
    assert json.loads((root / "adapters" / "keys@v1" / "clara.json").read_text())["steps"] == 10


def test_a_second_run_waits_for_the_first_and_then_gives_up(root, run_train, make_spec, monkeypatch) -> None:
    from clara_runtime import checkpoints

    monkeypatch.setattr(checkpoints, "LOCK_WAIT_S", 0.2)
    with checkpoints.only_run_of(root / "checkpoints" / "job"):
        code, events = run_train(make_spec(), root)
    assert (code, events[-1]["retryable"]) == (1, True)
    assert "still running" in events[-1]["message"]
