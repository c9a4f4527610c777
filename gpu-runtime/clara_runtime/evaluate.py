"""Evaluate a base model and adapters on sets of questions: a spec in, events out.

    python -m clara_runtime.evaluate --spec spec.json --root /data/clara [--models DIR]

What is measured, and how, is at the head of scoring.py.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

from .errors import RuntimeFault
from .paths import inside
from .program import Context, main, run_job, set_threads
from .protocol import Emit


def run(spec: dict | str | bytes, root: str, emit: Emit, *, models: list[str] | None = None, first_seq: int = 1) -> int:
    """Run an evaluation job in this process; returns its exit code, raises nothing. See `program.run_job`."""
    return run_job(evaluate, "evaluate", spec, root, emit, models=models, first_seq=first_seq)


def read_sets(root: Path, settings: dict) -> list[dict]:
    """The evaluation sets of a spec with their rows and hashes; raises RuntimeFault `data_invalid` or `path_outside_root`."""
    from .data import file_hash, read_rows

    names = [part["name"] for part in settings["sets"]]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RuntimeFault("spec_invalid", f"spec.evaluation.sets: two sets are called {twice!r}")
    sets = []
    for part in settings["sets"]:
        path = inside(root, part["path"], what=f"evaluation set {part['name']!r}", code="data_invalid")
        sets.append({"name": part["name"], "kind": part["kind"], "rows": read_rows(path, "EvaluationRow"), "sha256": file_hash(path)})
    return sets


def evaluate(spec: dict, context: Context) -> dict:
    """The job itself; returns the protocol's EvaluateResult, raises RuntimeFault or Cancelled."""
    from .models import go_offline, resolve_base

    settings, hardware, root = spec["evaluation"], spec["hardware"], context.root
    sets = read_sets(root, settings)
    base = resolve_base(root, spec["base_model"], context.models)
    if not base.from_hub:
        go_offline()
    with context.phase("import"):
        import torch

        from .chat import ChatCodec
        from .models import attach_adapter, linear_shapes, load_base, load_tokenizer, pick_dtype, read_adapter
        from .scoring import evaluate_sets
    set_threads(hardware.get("threads"))

    with context.phase("load"):
        codec = ChatCodec(load_tokenizer(base))
        dtype = pick_dtype(hardware["precision"], torch.cuda.is_available())
        model = load_base(base, dtype=dtype, device_map=hardware.get("device_map"), max_memory=hardware.get("max_memory"))
        shapes = linear_shapes(model)
        wanted = list(dict.fromkeys(part["adapter"] for part in spec["models"] if part["adapter"] is not None))
        labels = {path: f"adapter{number}" for number, path in enumerate(wanted)}
        for path, label in labels.items():
            model = attach_adapter(model, read_adapter(path, base, shapes=shapes, root=root), label)

    evaluated = []
    with context.phase("evaluate"):
        for part in spec["models"]:
            adapter = part["adapter"]
            if adapter is not None:
                model.set_adapter(labels[adapter])
            with model.disable_adapter() if adapter is None and labels else nullcontext():
                found = evaluate_sets(model, codec, sets, settings, dtype, lambda text, name=part["name"]: context.emit.log(f"{name}: {text}"))
            evaluated.append({"name": part["name"], "adapter": adapter, "sets": found})
    return {
        "kind": "evaluate",
        "base_model": spec["base_model"],
        "base_model_sha256": base.sha256,
        "seconds": context.seconds,
        "evaluation": evaluated,
    }


if __name__ == "__main__":
    sys.exit(main(evaluate, "evaluate", "Evaluate a base model and adapters; events are JSON lines on stdout."))
