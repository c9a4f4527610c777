"""TRL's SFTTrainer on a course: weighted loss on answers only, sealed checkpoints, progress as events."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from datasets import Dataset
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig, SFTTrainer

from .answer_head import AnswerHead
from .checkpoints import keep_newest, seal
from .data import Course
from .errors import RuntimeFault
from .protocol import Emitter, finite

PROGRESS_EVERY_S = 0.5


def training_arguments(spec: dict, steps: int, output: Path, dtype: torch.dtype) -> SFTConfig:
    """SFTConfig for a spec. Defaults of our own: AdamW with beta2 .99, which suits runs of a few hundred steps."""
    settings, cuda = spec["settings"], torch.cuda.is_available()
    warmup = settings["warmup_steps"]
    scheduler = settings["scheduler"]
    arguments = SFTConfig(
        output_dir=str(output),
        # one item of the dataset is a whole batch of the course
        per_device_train_batch_size=1,
        gradient_accumulation_steps=settings["gradient_accumulation_steps"],
        max_steps=steps,
        learning_rate=settings["learning_rate"],
        lr_scheduler_type="constant_with_warmup" if scheduler == "constant" and warmup else scheduler,
        warmup_steps=warmup,
        weight_decay=settings["weight_decay"],
        max_grad_norm=settings["max_grad_norm"],
        optim="adamw_torch_fused",
        adam_beta2=0.99,
        seed=spec["seed"] % 2**32,
        data_seed=spec["seed"] % 2**32,
        bf16=dtype == torch.bfloat16,
        fp16=dtype == torch.float16,
        use_cpu=not cuda,
        gradient_checkpointing=spec["hardware"]["gradient_checkpointing"],
        gradient_checkpointing_kwargs={"use_reentrant": False},
        save_strategy="steps",
        save_steps=spec["checkpoint"]["every_steps"],
        logging_steps=max(1, steps // 100),
        logging_first_step=True,
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        average_tokens_across_devices=False,
    )
    # One process trains on one GPU, or on several by device_map. transformers would take every visible one for DataParallel,
    # which TRL refuses; the count is settled when the device is first asked for.
    _ = arguments.device
    arguments._n_gpu = min(1, arguments._n_gpu)
    return arguments


class CourseTrainer(SFTTrainer):
    """Trains the adapter of a PEFT model on a Course. `owner` seals its checkpoints, of which `keep` are kept."""

    def __init__(self, model, args: SFTConfig, course: Course, tokenizer, emit: Emitter, owner: str, keep: int) -> None:
        # TRL turns the adapter of a quantised base into bf16, where updates of a small learning rate are rounded away
        exact = {name: weight.data.float() for name, weight in model.named_parameters() if weight.requires_grad}
        # the model's forward is patched by TRL for its fused head; ours is computed by AnswerHead
        self._course, self._emit, self._owner, self._keep = course, emit, owner, keep
        self._tokens_seen = 0
        super().__init__(
            model=model,
            args=args,
            data_collator=self._collate,
            train_dataset=Dataset.from_dict({"position": range(len(course))}),
            processing_class=tokenizer,
            callbacks=[Reporter(emit, len(course) / course.epochs / args.gradient_accumulation_steps, course.epochs, lambda: self._tokens_seen)],
        )
        for name, weight in self.model.named_parameters():
            if name in exact:
                weight.data = exact[name]
        self.remove_callback(PrinterCallback)
        # the loss below is a mean per batch, so transformers must divide it by the accumulation steps
        self.model_accepts_loss_kwargs = False
        self._head = AnswerHead(self.model)

    def _get_train_sampler(self, train_dataset=None) -> torch.utils.data.Sampler:
        return torch.utils.data.SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)

    def _collate(self, items: list[dict]) -> dict[str, torch.Tensor]:
        examples = [example for item in items for example in self._course[item["position"]]]
        width = max(len(example.ids) for example in examples)
        # right padding needs no attention mask: a causal model never looks at what comes later
        ids = torch.full((len(examples), width), self.processing_class.pad_token_id, dtype=torch.long)
        learn = torch.zeros((len(examples), width), dtype=torch.bool)
        for line, example in enumerate(examples):
            ids[line, : len(example.ids)] = torch.tensor(example.ids)
            learn[line, len(example.ids) - example.answer_tokens : len(example.ids)] = True
        weights = torch.tensor([example.weight for example in examples])[:, None].expand_as(learn)[learn]
        self._tokens_seen += sum(len(example.ids) for example in examples)
        return {"input_ids": ids, "learn": learn, "weights": weights}

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Mean over the batch's answer tokens of weight times cross-entropy."""
        ids, learn = inputs["input_ids"], inputs["learn"]
        logits = self._head.logits(model, ids, learn).float()
        targets = ids[:, 1:][learn[:, 1:]].to(logits.device)
        losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        loss = (losses * inputs["weights"].to(losses.device)).mean()
        return (loss, {"logits": logits}) if return_outputs else loss

    def _save_checkpoint(self, model, trial) -> None:
        Trainer._save_checkpoint(self, model, trial)  # past TRL's, which writes a model card each time
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        seal(folder, self._owner)
        keep_newest(folder.parent, self._keep)
        self._emit("checkpoint", step=self.state.global_step, path=str(folder))


class Reporter(TrainerCallback):
    """Trainer callbacks to protocol events."""

    def __init__(self, emit: Emitter, steps_per_epoch: float, epochs: int, tokens: Callable[[], int]) -> None:
        self._emit, self._steps_per_epoch, self._epochs, self._tokens = emit, steps_per_epoch, epochs, tokens
        self._said = 0.0

    def on_train_begin(self, args, state, control, **_) -> None:
        self._begin = self._last_log = time.monotonic()
        self._begin_step, self._last_tokens = state.global_step, 0

    def on_step_end(self, args, state, control, **_):
        now, last = time.monotonic(), state.global_step >= state.max_steps
        if last:
            # the last step is logged and saved whatever the intervals: a crash in what follows costs no training
            control.should_log = control.should_save = True
        if last or now - self._said >= PROGRESS_EVERY_S:
            self._said = now
            pace = (now - self._begin) / max(1, state.global_step - self._begin_step)
            self._emit(
                "progress",
                step=state.global_step,
                total_steps=state.max_steps,
                epoch=round(state.global_step / self._steps_per_epoch, 3),
                total_epochs=min(self._epochs, round(state.max_steps / self._steps_per_epoch, 3)),
                eta_seconds=round(pace * (state.max_steps - state.global_step), 1),
            )
        return control

    def on_log(self, args, state, control, logs=None, **_) -> None:
        if not logs or "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise RuntimeFault("internal", f"training diverged: the loss is not finite at step {state.global_step}; lower learning_rate", retryable=False)
        now, tokens = time.monotonic(), self._tokens()
        speed = (tokens - self._last_tokens) / max(1e-6, now - self._last_log)
        self._last_log, self._last_tokens = now, tokens
        self._emit(
            "metrics",
            step=state.global_step,
            loss=float(logs["loss"]),
            learning_rate=float(logs.get("learning_rate") or 0.0),
            grad_norm=finite(logs.get("grad_norm")),
            tokens_per_second=round(speed, 1),
        )
