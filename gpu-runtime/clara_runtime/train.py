"""Train one adapter: a spec in, events out.

    python -m clara_runtime.train --spec spec.json --root /data/clara [--models DIR]

PEFT and TRL train (`trainer.py`); this file is the way through: read, load, prepare, train, evaluate, save. The same job run
again goes on from its newest whole checkpoint, and a finished one answers with its result. docs/runtime-protocol.md has the spec,
the events and the exit codes.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import RuntimeFault
from .paths import adapter_folder, atomic_folder, checkpoint_folder, inside
from .program import Context, main, run_job, set_threads
from .protocol import Emit, protocol_version

if TYPE_CHECKING:
    from .models import Adapter

LIBRARIES = ("torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes", "safetensors")


def run(spec: dict | str | bytes, root: str, emit: Emit, *, models: list[str] | None = None, first_seq: int = 1) -> int:
    """Run a training job in this process; returns its exit code, raises nothing. See `program.run_job`."""
    return run_job(train, "train", spec, root, emit, models=models, first_seq=first_seq)


def train(spec: dict, context: Context) -> dict:
    """The job itself; returns the protocol's TrainResult, raises RuntimeFault or Cancelled."""
    from .checkpoints import only_run_of

    check_combination(spec)
    target = adapter_folder(context.root, spec["adapter_name"])
    checkpoints = checkpoint_folder(context.root, spec["job_id"])
    with only_run_of(checkpoints):
        if target.exists():
            return finished_result(target, spec)
        return _Training(spec, context, target, checkpoints).run()


def check_combination(spec: dict) -> None:
    """What the schema cannot say: which fields belong together."""
    trainer, bits = spec["trainer"], spec.get("quantization")
    if trainer == "continuous" and not spec.get("init_adapter"):
        raise RuntimeFault("spec_invalid", "spec.init_adapter: the continuous trainer needs the adapter folder to go on from")
    if trainer == "lora" and bits is not None:
        raise RuntimeFault("spec_invalid", "spec.quantization: the lora trainer does not quantise; use the qlora trainer")
    if spec["settings"]["replay_per_epoch"] > 0 and not spec.get("replay_path"):
        raise RuntimeFault("spec_invalid", "spec.replay_path: replay_per_epoch is above 0, so the replay rows are needed")


def finished_result(target: Path, spec: dict) -> dict:
    """The stored result where this very job wrote `target`; raises RuntimeFault `adapter_invalid` for anybody else's folder."""
    try:
        manifest = json.loads((target / "clara.json").read_text(encoding="utf-8"))
        if manifest["job_id"] == spec["job_id"]:
            return json.loads((target / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not written by a job of ours: refused below like any other folder
    raise RuntimeFault("adapter_invalid", f"adapter {spec['adapter_name']!r} exists already and is immutable: choose the next version")


class _Training:
    def __init__(self, spec: dict, context: Context, target: Path, checkpoints: Path) -> None:
        self.spec, self.context, self.target, self.checkpoints = spec, context, target, checkpoints
        self.emit = context.emit
        self.bits: int | None = (spec.get("quantization") or {"bits": 4 if spec["trainer"] == "qlora" else None})["bits"]
        self.hashes: dict[str, str | None] = {}

    def run(self) -> dict:
        # Everything that needs no library comes first: bad input fails within a second
        self.read_data()
        with self.context.phase("import"):
            from . import preload  # noqa: F401
        set_threads(self.spec["hardware"].get("threads"))
        with self.context.phase("load"):
            self.load()
        with self.context.phase("prepare"):
            self.prepare()
        with self.context.phase("train"):
            self.fit()
        evaluation = None
        if self.spec.get("evaluation"):
            with self.context.phase("evaluate"):
                evaluation = self.evaluate()
        with self.context.phase("save"):
            return self.save(evaluation)

    def read_data(self) -> None:
        from .data import file_hash, read_rows
        from .evaluate import read_sets
        from .models import go_offline, resolve_base

        spec, root = self.spec, self.context.root
        train_path = inside(root, spec["train_path"], what="train_path", code="data_invalid")
        self.rows = read_rows(train_path, "TrainingRow", at_least=2)
        self.hashes["train"] = file_hash(train_path)
        self.replay: list[dict] = []
        if spec.get("replay_path"):
            replay_path = inside(root, spec["replay_path"], what="replay_path", code="data_invalid")
            self.replay = read_rows(replay_path, "TrainingRow")
            self.hashes["replay"] = file_hash(replay_path)
        self.sets = read_sets(root, spec["evaluation"]) if spec.get("evaluation") else []
        self.base = resolve_base(root, spec["base_model"], self.context.models)
        if not self.base.from_hub:
            go_offline()
        self.hashes["base"] = self.base.sha256

    def load(self) -> None:
        import torch
        from peft import prepare_model_for_kbit_training
        from transformers import set_seed

        from .chat import ChatCodec
        from .models import attach_adapter, linear_shapes, load_base, load_tokenizer, pick_dtype, read_adapter

        spec, hardware, root = self.spec, self.spec["hardware"], self.context.root
        self.tokenizer = load_tokenizer(self.base)
        self.codec = ChatCodec(self.tokenizer)
        self.dtype = pick_dtype(hardware["precision"], torch.cuda.is_available())
        model = load_base(
            self.base,
            dtype=self.dtype,
            quantization_bits=self.bits,
            device_map=hardware.get("device_map"),
            max_memory=hardware.get("max_memory"),
        )
        shapes = linear_shapes(model)
        if self.bits is not None:
            model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
        self.baseline = None
        baseline = (spec.get("evaluation") or {}).get("baseline_adapter")
        if baseline is not None:
            self.baseline = read_adapter(baseline, self.base, shapes=shapes, root=root)
        set_seed(spec["seed"] % 2**32)
        if spec.get("init_adapter"):
            start = read_adapter(spec["init_adapter"], self.base, shapes=shapes, root=root)
            self.hashes["init"] = start.sha256
            if start.rank != spec["lora"]["r"]:
                raise RuntimeFault("adapter_invalid", f"init_adapter has rank {start.rank}, the spec asks for {spec['lora']['r']}: they must be equal")
            self.model = attach_adapter(model, start, "default", trainable=True, dropout=spec["lora"]["dropout"])
        else:
            self.model = new_lora(model, spec["lora"], shapes)
        self.shapes = shapes

    def prepare(self) -> None:
        from .checkpoints import fingerprint_of, newest_whole
        from .data import Course

        settings = dict(self.spec["settings"])
        context_tokens = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if context_tokens and settings["max_length"] > context_tokens:
            self.emit.log(f"max_length {settings['max_length']} is more than the base can read; {context_tokens} is used", "warning")
            settings["max_length"] = context_tokens
        self.course = Course(self.rows, self.replay, settings, self.spec["seed"], self.codec)
        steps = -(-len(self.course) // settings["gradient_accumulation_steps"])
        self.steps = min(steps, settings.get("max_steps") or steps)
        self.owner = fingerprint_of(self.spec, self.hashes)
        self.resume_from = newest_whole(self.checkpoints, self.owner, self.emit.log)
        rows = f"{len(self.rows)} rows, {self.course.replay_count} replayed per epoch"
        self.emit.log(f"{rows}; {self.steps} steps of about {settings['batch_size'] * settings['gradient_accumulation_steps']} rows")

    def fit(self) -> None:
        from .trainer import CourseTrainer, training_arguments

        trainer = CourseTrainer(
            self.model,
            training_arguments(self.spec, self.steps, self.checkpoints, self.dtype),
            self.course,
            self.tokenizer,
            self.emit,
            self.owner,
            self.spec["checkpoint"]["keep"],
        )
        self.resumed = self.resume_from is not None
        if self.resume_from is not None:
            folder, step = self.resume_from
            self.emit.log(f"resuming from the checkpoint at step {step} of {self.steps}")
        if self.resume_from is not None and self.resume_from[1] >= self.steps:
            history = self.take_over(self.resume_from[0])
        else:
            trainer.train(resume_from_checkpoint=str(self.resume_from[0]) if self.resume_from else None)
            history = trainer.state.log_history
        losses = [entry["loss"] for entry in history if "loss" in entry]
        self.loss_first, self.loss_last = losses[0], losses[-1]
        # mixed precision wraps the forward; evaluation must see the plain model
        self.model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)

    def take_over(self, folder: Path) -> list[dict]:
        """Weights and log of a checkpoint that was written after the last step."""
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        set_peft_model_state_dict(self.model, load_file(folder / "adapter_model.safetensors"), adapter_name="default")
        return json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]

    def evaluate(self) -> list[dict]:
        from .models import attach_adapter
        from .scoring import evaluate_sets

        settings, dtype = self.spec["evaluation"], self.dtype
        log = self.emit.log
        candidate = evaluate_sets(self.model, self.codec, self.sets, settings, dtype, lambda text: log(f"candidate: {text}"))
        if self.baseline is not None:
            self.model = attach_adapter(self.model, self.baseline, "baseline")
            self.model.set_adapter("baseline")
        with nullcontext() if self.baseline is not None else self.model.disable_adapter():
            baseline = evaluate_sets(self.model, self.codec, self.sets, settings, dtype, lambda text: log(f"baseline: {text}"))
        self.model.set_adapter("default")
        return [
            {"name": "baseline", "adapter": settings["baseline_adapter"], "sets": baseline},
            {"name": "candidate", "adapter": f"adapters/{self.target.name}", "sets": candidate},
        ]

    def save(self, evaluation: list[dict] | None) -> dict:
        import shutil

        from .data import file_hash
        from .models import read_adapter

        spec, begin = self.spec, time.monotonic()
        with atomic_folder(self.target) as folder:
            write_adapter(self.model, folder, self.base.name)
            config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
            sha256 = file_hash(folder / "adapter_model.safetensors")
            result = {
                "kind": "train",
                "adapter_name": spec["adapter_name"],
                "adapter_path": str(self.target),
                "adapter_sha256": sha256,
                "base_model": spec["base_model"],
                "base_model_sha256": self.base.sha256,
                "rank": config["r"],
                "target_modules": config["target_modules"],
                "samples": len(self.rows),
                "steps": self.steps,
                "resumed": self.resumed,
                "loss_first": self.loss_first,
                "loss_last": self.loss_last,
                "seconds": self.context.seconds,
                "evaluation": evaluation,
            }
            write_json(folder / "clara.json", self.manifest(result))
            # what we would not load, we do not publish
            adapter = read_adapter(folder, self.base, shapes=self.shapes)
            found = self.fingerprint(adapter)
            if found is not None:
                result["fingerprint"] = found
                write_json(folder / "fingerprint.json", found)
            result["seconds"] = {**self.context.seconds, "save": round(time.monotonic() - begin, 3)}
            write_json(folder / "result.json", result)
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        return result

    def fingerprint(self, adapter: Adapter) -> dict | None:
        """What the adapter says on the base as engines serve it: a quantised one answers otherwise. None where that does not fit beside it."""
        import torch

        from . import fingerprint
        from .models import attach_adapter, load_base, pick_dtype, room_for

        if self.bits is None:
            return fingerprint.record(self.model, self.codec, self.rows)
        dtype = pick_dtype("auto", torch.cuda.is_available())
        place = room_for(self.base, dtype)
        if place is None:
            self.emit.log("no fingerprint: the base fits into no memory as it is served, so that engines cannot be asked for proof of this adapter")
            return None
        model = attach_adapter(load_base(self.base, dtype=dtype, device_map=place), adapter, "default")
        return fingerprint.record(model, self.codec, self.rows)

    def manifest(self, result: dict) -> dict:
        summary = [
            {**part, "sets": [{key: value for key, value in found.items() if key != "items"} for found in part["sets"]]}
            for part in result["evaluation"] or []
        ]
        described = ("adapter_name", "adapter_sha256", "base_model", "base_model_sha256", "rank", "target_modules", "samples", "steps")
        return {
            "protocol": protocol_version(),
            "job_id": self.spec["job_id"],
            "created_at": round(time.time(), 3),
            **{key: result[key] for key in described},
            "data_sha256": {**self.hashes, **{f"evaluation/{part['name']}": part["sha256"] for part in self.sets}},
            "evaluation": summary,
            "spec": self.spec,
            "versions": {name: version(name) for name in LIBRARIES} | {"python": sys.version.split()[0]},
        }


def new_lora(model, settings: dict, shapes: dict[str, tuple[int, int]]):
    """A fresh LoRA adapter `default` on the model; raises RuntimeFault `spec_invalid` for modules that it lacks."""
    from peft import LoraConfig, get_peft_model

    wanted = settings["target_modules"]
    if wanted != "all-linear":
        known = {part for name in shapes for part in (name, name.rsplit(".", 1)[-1])}
        unknown = [name for name in wanted if name not in known]
        if unknown:
            available = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in shapes}))
            raise RuntimeFault("spec_invalid", f"spec.lora.target_modules: the base has no module {unknown[0]!r} (it has {available})")
    config = LoraConfig(
        r=settings["r"], lora_alpha=settings["alpha"], lora_dropout=settings["dropout"], target_modules=wanted, task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config)


def write_adapter(model, folder: Path, base_name: str) -> None:
    """adapter_model.safetensors and adapter_config.json of the adapter `default`, byte for byte the same for the same weights."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    weights = get_peft_model_state_dict(model, adapter_name="default", save_embedding_layers=False)
    tensors = {name: weights[name].detach().to("cpu").contiguous() for name in sorted(weights)}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config: dict[str, Any] = model.peft_config["default"].to_dict()
    config.update(
        inference_mode=True,
        base_model_name_or_path=base_name,
        target_modules=sorted(config["target_modules"]),
        peft_type="LORA",
        task_type="CAUSAL_LM",
    )
    write_json(folder / "adapter_config.json", config)
    (folder / "adapter_model.safetensors").chmod(0o644)  # safetensors writes 0600; another user may serve it


def write_json(path: Path, value: dict) -> None:
    def plain(item: Any) -> Any:
        return sorted(item) if isinstance(item, set) else getattr(item, "value", str(item))

    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=plain) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(train, "train", "Train a LoRA adapter; events are JSON lines on stdout."))
