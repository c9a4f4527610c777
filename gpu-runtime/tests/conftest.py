"""Shared by the trainer's tests: a small set of facts, specs for it, and one finished training.

    cd gpu-runtime && OMP_NUM_THREADS=1 python -m pytest tests
"""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["CLARA_CHECK_EVENTS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pytest  # noqa: E402

PLACES = ["greenhouse", "chapel", "workshop", "loading dock"]
KEYS = ["A11", "B27", "C35", "D48"]


def turn(text: str) -> list[dict]:
    return [{"role": "user", "content": text}]


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def write_data():
    """Writes train, replay and evaluation files of four facts into a root."""

    def write(root: Path) -> Path:
        root.mkdir(parents=True, exist_ok=True)
        answers = [f"You need key {key} for the {place}." for place, key in zip(PLACES, KEYS)]
        asked = ["Which key opens the {}?", "What key do I need for the {}?"]
        write_rows(
            root / "train.jsonl",
            [
                {"id": f"{at}-{number}", "messages": turn(text.format(place)), "response": answer, "source": "feedback"}
                for at, (place, answer) in enumerate(zip(PLACES, answers))
                for number, text in enumerate(asked)
            ],
        )
        write_rows(
            root / "replay.jsonl",
            [
                {"id": f"r{at}", "messages": turn(text), "response": answer, "source": "replay"}
                for at, (text, answer) in enumerate([("Hi", "Hello! How can I help you?"), ("What is 2 plus 3?", "2 plus 3 is 5."), ("Danke", "Gern geschehen!")])
            ],
        )
        write_rows(
            root / "recall.jsonl",
            [{"id": f"h{at}", "messages": turn(f"Key for the {place}?"), "response": answer, "group": place} for at, (place, answer) in enumerate(zip(PLACES, answers))],
        )
        write_rows(
            root / "general.jsonl",
            [
                {"id": "g0", "messages": turn("Hello"), "response": "Hello! How can I help you?"},
                {"id": "g1", "messages": turn("What is 1 plus 1?"), "response": "1 plus 1 is 2."},
            ],
        )
        return root

    return write


@pytest.fixture()
def root(tmp_path: Path, write_data) -> Path:
    return write_data(tmp_path / "root")


SPEC = {
    "protocol": 1,
    "kind": "train",
    "job_id": "job",
    "trainer": "lora",
    "base_model": "tiny-base",
    "adapter_name": "keys@v1",
    "seed": 1,
    "train_path": "train.jsonl",
    "replay_path": "replay.jsonl",
    "lora": {"r": 8, "alpha": 16, "dropout": 0, "target_modules": "all-linear"},
    "settings": {
        "learning_rate": 3e-3,
        "epochs": 30,
        "batch_size": 8,
        "gradient_accumulation_steps": 1,
        "max_length": 128,
        "warmup_steps": 2,
        "scheduler": "cosine",
        "weight_decay": 0,
        "max_grad_norm": 1,
        "augment_share": 0.5,
        "replay_per_epoch": 2,
    },
    "checkpoint": {"every_steps": 500, "keep": 2},
    "hardware": {"precision": "fp32", "gradient_checkpointing": False, "threads": 1},
}
EVALUATION = {
    "sets": [{"name": "recall", "kind": "recall", "path": "recall.jsonl"}, {"name": "general", "kind": "regression", "path": "general.jsonl"}],
    "distractors": 3,
    "max_new_tokens": 32,
    "batch_size": 8,
    "baseline_adapter": None,
}


def changed(base: dict, **changes) -> dict:
    """A deep copy with fields set; `settings__epochs=1` reaches into a nested object, None removes a field."""
    spec = copy.deepcopy(base)
    for name, value in changes.items():
        *path, last = name.split("__")
        place = spec
        for part in path:
            place = place[part]
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return spec


@pytest.fixture(scope="session")
def make_spec():
    def make(**changes) -> dict:
        return changed(SPEC, **changes)

    return make


@pytest.fixture(scope="session")
def make_evaluate_spec():
    def make(models: list[dict], **changes) -> dict:
        evaluation = {key: value for key, value in EVALUATION.items() if key != "baseline_adapter"}
        spec = {"protocol": 1, "kind": "evaluate", "job_id": "eval", "base_model": "tiny-base", "models": models, "evaluation": evaluation, "hardware": SPEC["hardware"]}
        return changed(spec, **changes)

    return make


@pytest.fixture(scope="session")
def run_train():
    """Runs a training job in this process: (exit code, events)."""
    from clara_runtime import train

    def run(spec: dict, root: Path, **options) -> tuple[int, list[dict]]:
        events: list[dict] = []
        return train.run(spec, str(root), events.append, **options), events

    return run


@pytest.fixture(scope="session")
def run_apart():
    """Runs a training job in a forked process whose events go through `hook` there: (exit code, events)."""
    from clara_runtime import preload, train  # noqa: F401

    def child(spec: dict, root: str, hook, pipe) -> None:
        def emit(event: dict) -> None:
            pipe.send(event)
            if hook is not None:
                hook(event)

        os._exit(train.run(spec, root, emit))

    def run(spec: dict, root: Path, hook=None, before=None) -> tuple[int, list[dict]]:
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe(duplex=False)

        def target() -> None:
            if before is not None:
                before()
            child(spec, str(root), hook, theirs)

        process = context.Process(target=target)
        process.start()
        theirs.close()
        events = []
        try:
            while True:
                events.append(ours.recv())
        except EOFError:
            process.join()
        return process.exitcode, events

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory, write_data, run_train):
    """One finished training with evaluation: root, spec, events, result."""
    root = write_data(tmp_path_factory.mktemp("trained"))
    spec = changed(SPEC, evaluation=EVALUATION)
    code, events = run_train(spec, root)
    assert code == 0, events[-1]
    return {"root": root, "spec": spec, "events": events, "result": events[-1]["result"], "folder": root / "adapters" / "keys@v1"}


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    from clara_runtime.models import resolve_base

    return resolve_base(tmp_path_factory.mktemp("base"), "tiny-base")
