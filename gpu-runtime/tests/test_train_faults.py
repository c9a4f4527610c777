"""Bad input and a full machine end in an error with a code, a reason and the place, and leave nothing behind."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import turn, write_rows

from clara_runtime.errors import EXIT_CODES

RUNTIME = Path(__file__).resolve().parent.parent


def refused(run_train, spec: dict, root: Path, code: str) -> str:
    exit_code, events = run_train(spec, root)
    error = events[-1]
    assert (error["type"], error["code"], exit_code) == ("error", code, EXIT_CODES[code]), error
    assert not list((root / "adapters").glob("*@*")) if (root / "adapters").exists() else True
    return error["message"]


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"settings__epochs": 0}, "spec_invalid", "settings.epochs"),
        ({"settings": None}, "spec_invalid", "settings"),
        ({"protocol": 2}, "spec_invalid", "protocol"),
        ({"job_id": "../x"}, "spec_invalid", "job_id"),
        ({"adapter_name": "../up@v1"}, "spec_invalid", "adapter_name"),
        ({"trainer": "continuous"}, "spec_invalid", "init_adapter"),
        ({"quantization": {"bits": 4}}, "spec_invalid", "qlora"),
        ({"replay_path": None}, "spec_invalid", "replay_path"),
        ({"hardware__precision": "fp16"}, "spec_invalid", "GPU"),
        ({"lora__target_modules": ["q_proj", "nothing"]}, "spec_invalid", "nothing"),
        ({"train_path": "../outside.jsonl"}, "path_outside_root", "train_path"),
        ({"train_path": "/etc/passwd"}, "path_outside_root", "train_path"),
        ({"train_path": "train.jsonl\0"}, "path_outside_root", "train_path"),
        ({"train_path": "absent.jsonl"}, "data_invalid", "absent.jsonl"),
        ({"base_model": "no-such-base/at-all"}, "base_model_invalid", "no-such-base"),
        ({"base_model": "/no/such/folder"}, "base_model_invalid", "/no/such/folder"),
        ({"base_model": "/etc"}, "path_outside_root", "CLARA_RUNTIME_MODELS"),
        ({"init_adapter": "adapters/none@v1", "trainer": "continuous"}, "adapter_invalid", "none@v1"),
        ({"init_adapter": "../elsewhere", "trainer": "continuous"}, "path_outside_root", "elsewhere"),
        ({"settings__max_length": 8}, "data_invalid", "max_length"),
    ],
)
def test_a_bad_spec_is_refused_with_the_field(root, run_train, make_spec, monkeypatch, changes, code, words) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if "precision" in str(changes):
        import torch

        if torch.cuda.is_available():
            pytest.skip("fp16 is fine on a GPU")
    assert words in refused(run_train, make_spec(**changes), root, code)


GOOD = json.dumps({"id": "a", "messages": turn("Hi"), "response": "Hello"})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n  \n", "is empty"),
        (GOOD.encode(), "only one row"),
        (f"{GOOD}\n{GOOD[:-5]}\n".encode(), "line 2: not JSON"),
        (f"{GOOD}\n\xff\n".encode("latin-1"), "line 2: not UTF-8"),
        (f"{GOOD}\n[1]\n".encode(), "line 2"),
        (f'{GOOD}\n{{"id": "b", "messages": [], "response": "x"}}\n'.encode(), "line 2: messages"),
        (f'{GOOD}\n{{"id": "b", "messages": [{{"role": "user", "content": "x"}}], "response": " "}}\n'.encode(), "line 2: the response is blank"),
        (f'{GOOD}\n{{"id": "b", "messages": [{{"role": "user", "content": "x"}}], "response": "x", "weight": NaN}}\n'.encode(), "line 2: not JSON"),
        (f'{GOOD}\n{{"id": "b", "messages": [{{"role": "user", "content": "x"}}], "response": "x", "weight": -1}}\n'.encode(), "line 2: weight"),
        (GOOD.encode() + b"\n" + b"[" * 100_000, "line 2: not JSON"),
    ],
)
def test_a_broken_data_set_is_refused_with_file_and_line(root, run_train, make_spec, content, words) -> None:
    (root / "train.jsonl").write_bytes(content)
    message = refused(run_train, make_spec(), root, "data_invalid")
    assert "train.jsonl" in message
    assert words in message


def test_a_link_that_leads_outside_the_root_is_refused(root, tmp_path, run_train, make_spec) -> None:
    outside = write_rows(tmp_path / "outside.jsonl", [json.loads(GOOD)] * 2)
    (root / "link.jsonl").symlink_to(outside)
    refused(run_train, make_spec(train_path="link.jsonl"), root, "path_outside_root")


def test_memory_that_runs_out_is_reported_as_such(root, run_apart, make_spec) -> None:
    long = "word " * 900
    write_rows(root / "train.jsonl", [{"id": str(at), "messages": turn(long), "response": long[:500]} for at in range(64)])
    spec = make_spec(settings__batch_size=64, settings__max_length=4096, settings__replay_per_epoch=0, settings__augment_share=0)

    def limit() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        allowed = pages * os.sysconf("SC_PAGE_SIZE") + 400 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))

    code, events = run_apart(spec, root, before=limit)
    assert (code, events[-1]["code"], events[-1]["retryable"]) == (7, "out_of_memory", True), events[-1]
    assert "batch_size" in events[-1]["message"]


def test_a_full_disk_is_reported_as_such_and_the_job_resumes_later(tmp_path, write_data, run_apart, run_train, make_spec) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        root = write_data(disk / "root")
        spec = make_spec(settings__max_steps=4, checkpoint__every_steps=2, checkpoint__keep=1, lora__r=32)
        code, events = run_apart(spec, root)
        assert (code, events[-1]["code"], events[-1]["retryable"]) == (8, "disk_full", True), events[-1]
        assert not list((root / "adapters").glob("*")) if (root / "adapters").exists() else True
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        code, events = run_train(spec, root)
        assert code == 0, events[-1]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def program(root: Path, spec: dict, **options) -> subprocess.Popen:
    (root / "spec.json").write_text(json.dumps(spec))
    command = [sys.executable, "-m", "clara_runtime.train", "--spec", str(root / "spec.json"), "--root", str(root)]
    return subprocess.Popen(command, cwd=RUNTIME, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_sigterm_during_imports_cancels_within_two_seconds(root, make_spec) -> None:
    process = program(root, make_spec())
    first = json.loads(process.stdout.readline())
    assert first["phase"] == "import"
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert time.monotonic() - begin < 2.5
    last = json.loads(output.splitlines()[-1])
    assert (process.returncode, last["code"]) == (9, "cancelled")


def test_sigterm_during_training_and_evaluation_leaves_no_adapter(root, run_apart, make_spec) -> None:
    from conftest import EVALUATION

    for moment in ("progress", "evaluate"):

        def hook(event: dict, moment: str = moment) -> None:
            if event["type"] == moment or event.get("phase") == moment:
                os.kill(os.getpid(), signal.SIGTERM)

        code, events = run_apart(make_spec(settings__max_steps=6, evaluation=EVALUATION), root, hook)
        assert (code, events[-1]["code"]) == (9, "cancelled"), events[-1]
        assert not (root / "adapters" / "keys@v1").exists()


def test_only_events_reach_stdout_and_another_process_gives_the_same_bytes(root, tmp_path, write_data, run_train, make_spec) -> None:
    spec = make_spec(settings__max_steps=2)
    process = program(root, spec, env=os.environ | {"PYTHONHASHSEED": "1"})
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors.decode()[-2000:]
    events = [json.loads(line) for line in output.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "result"
    _, here = run_train(spec, write_data(tmp_path / "here"))
    assert here[-1]["result"]["adapter_sha256"] == events[-1]["result"]["adapter_sha256"]


def test_nobody_listening_ends_the_job(root, run_train, make_spec) -> None:
    from clara_runtime import train

    def gone(event: dict) -> None:
        if event["seq"] > 2:
            raise BrokenPipeError

    assert train.run(make_spec(), str(root), gone) == EXIT_CODES["cancelled"]


def test_an_unreadable_spec_file_is_a_spec_error(root) -> None:
    command = [sys.executable, "-m", "clara_runtime.train", "--spec", str(root / "none.json"), "--root", str(root)]
    done = subprocess.run(command, cwd=RUNTIME, capture_output=True, timeout=60)
    assert done.returncode == 2
    assert json.loads(done.stdout)["code"] == "spec_invalid"


def test_a_base_with_missing_weights_is_refused(root, run_train, make_spec) -> None:
    from safetensors.torch import load_file, save_file

    from clara_runtime.models import BUNDLED_MODELS

    broken = root / "broken-base"
    shutil.copytree(BUNDLED_MODELS / "tiny-base", broken)
    tensors = load_file(broken / "model.safetensors")
    tensors.pop("model.layers.2.mlp.up_proj.weight")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    assert "up_proj" in refused(run_train, make_spec(base_model="broken-base"), root, "base_model_invalid")
    (broken / "model.safetensors").write_bytes(b"not safetensors")
    refused(run_train, make_spec(base_model="broken-base"), root, "base_model_invalid")
    (broken / "model.safetensors").unlink()
    assert ".safetensors" in refused(run_train, make_spec(base_model="broken-base"), root, "base_model_invalid")
