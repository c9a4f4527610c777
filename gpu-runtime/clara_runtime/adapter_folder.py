"""LoRA adapters on disk: checked before anything of them is loaded, and attached from the bytes that were checked."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .bases import Base, read_json, shapes_of
from .errors import RuntimeFault, fault_of
from .paths import inside

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
ADAPTER_CONFIG, ADAPTER_WEIGHTS, MANIFEST = "adapter_config.json", "adapter_model.safetensors", "clara.json"
SAFETENSORS_HEADER_LIMIT = 16 * 1024 * 1024
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
LORA_KEY = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight$")


@dataclass(frozen=True)
class Adapter:
    """A checked adapter. `tensors` are what was hashed: attach these, do not read the file again."""

    folder: Path
    sha256: str
    rank: int
    alpha: float
    dropout: float
    rslora: bool
    target_modules: list[str]
    manifest: dict | None
    tensors: dict[str, "torch.Tensor"] = field(repr=False)


def read_adapter(
    folder: str | os.PathLike,
    base: Base,
    *,
    shapes: dict[str, tuple[int, int]] | None = None,
    max_rank: int | None = None,
    root: str | os.PathLike | None = None,
) -> Adapter:
    """Read and check a LoRA adapter folder against its base; nothing of it is executed.

    Only adapter_config.json, adapter_model.safetensors and clara.json are opened. Refused: pickles, a safetensors header
    that lies, foreign tensors (embeddings, modules_to_save), unknown modules, shapes or ranks that do not fit, NaN and
    infinities, and an adapter of another base. With `root`, the folder and its files must lie inside it, links followed.
    Raises RuntimeFault `adapter_invalid` or `path_outside_root`.
    """
    folder = Path(folder)
    if root is not None:
        folder = inside(root, str(folder), what="adapter", code="adapter_invalid")
    if not folder.is_dir():
        raise RuntimeFault("adapter_invalid", f"adapter folder {folder} does not exist")
    pickles = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in PICKLES)
    if pickles:
        raise _refuse(folder, f"holds {pickles[0]}: only safetensors are accepted")
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if root is not None:
            inside(root, str(folder / name), what="adapter file", code="adapter_invalid")
        if not (folder / name).is_file():
            raise _refuse(folder, f"has no {name}")

    config = read_json(folder / ADAPTER_CONFIG, "adapter_invalid")
    rank, alpha = _check_config(folder, config, max_rank)
    manifest = read_json(folder / MANIFEST, "adapter_invalid") if (folder / MANIFEST).is_file() else None
    if manifest is not None and manifest.get("base_model_sha256") != base.sha256:
        raise _refuse(folder, f"was trained on another base ({manifest.get('base_model')!r}) than {base.name!r}")
    data = (folder / ADAPTER_WEIGHTS).read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    if manifest is not None and manifest.get("adapter_sha256") not in (None, sha256):
        raise _refuse(folder, f"{ADAPTER_WEIGHTS} differs from the hash in {MANIFEST}: it was changed after training")
    modules = _check_tensors(folder, _safetensors_header(folder, data), rank, shapes_of(base.folder) if shapes is None else shapes)

    import torch
    from safetensors.torch import load

    try:
        tensors = load(data)
    except Exception as error:
        raise _refuse(folder, f"{ADAPTER_WEIGHTS} cannot be read: {fault_of(error).message}") from error
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise _refuse(folder, f"tensor {name} holds NaN or infinity")
    return Adapter(
        folder=folder,
        sha256=sha256,
        rank=rank,
        alpha=alpha,
        dropout=float(config.get("lora_dropout") or 0.0),
        rslora=bool(config.get("use_rslora")),
        target_modules=modules,
        manifest=manifest,
        tensors=tensors,
    )


def attach_adapter(model: "PreTrainedModel | PeftModel", adapter: Adapter, name: str, *, trainable: bool = False, dropout: float | None = None) -> "PeftModel":
    """Put a checked adapter on a model (plain, or already a PEFT model) under `name`; returns the PEFT model.

    Does not switch to it: call `set_adapter(name)`. Raises RuntimeFault `adapter_invalid` where a tensor finds no place.
    """
    from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict

    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout if dropout is None else dropout,
        use_rslora=adapter.rslora,
        target_modules=adapter.target_modules,
        task_type="CAUSAL_LM",
        inference_mode=not trainable,
    )
    if isinstance(model, PeftModel):
        model.add_adapter(name, config)
    else:
        model = get_peft_model(model, config, adapter_name=name)
    outcome = set_peft_model_state_dict(model, adapter.tensors, adapter_name=name)
    if outcome.unexpected_keys:
        raise _refuse(adapter.folder, f"tensor {outcome.unexpected_keys[0]} finds no place in the model")
    return model


def _check_config(folder: Path, config: dict, max_rank: int | None) -> tuple[int, float]:
    if config.get("peft_type") != "LORA":
        raise _refuse(folder, f"is of type {config.get('peft_type')!r}, expected LORA")
    harmless = {
        "peft_type", "task_type", "r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora", "inference_mode",
        "base_model_name_or_path", "revision", "bias", "init_lora_weights", "peft_version", "fan_in_fan_out", "exclude_modules",
        "megatron_core", "ensure_weight_tying", "qalora_group_size", "runtime_config", "velora_config", "lora_ga_config", "eva_config", "corda_config", "loftq_config",
    }  # fmt: skip
    extra = sorted(key for key, value in config.items() if key not in harmless and value not in (None, False, [], {}, ""))
    if extra:
        raise _refuse(folder, f"{ADAPTER_CONFIG} sets {extra[0]!r}, which is not accepted")
    if config.get("bias", "none") != "none":
        raise _refuse(folder, "trains biases, which is not accepted")
    rank, alpha = config.get("r"), config.get("lora_alpha", 8)
    if not isinstance(rank, int) or isinstance(rank, bool) or not 1 <= rank <= 512:
        raise _refuse(folder, f"has rank {rank!r}, expected 1 to 512")
    if max_rank is not None and rank > max_rank:
        raise _refuse(folder, f"has rank {rank}, above the limit of {max_rank}")
    if not isinstance(alpha, (int, float)) or isinstance(alpha, bool) or not alpha > 0:
        raise _refuse(folder, f"has lora_alpha {alpha!r}")
    return rank, alpha


def _safetensors_header(folder: Path, data: bytes) -> dict[str, dict]:
    """The header, after checking that it describes the file exactly: no gap, no overlap, no surplus."""
    if len(data) < 8:
        raise _refuse(folder, f"{ADAPTER_WEIGHTS} is too short to be safetensors")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(len(data) - 8, SAFETENSORS_HEADER_LIMIT):
        raise _refuse(folder, f"{ADAPTER_WEIGHTS} is not safetensors, or its header length is false")
    try:
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        spans = []
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            size = ITEM_BYTES[entry["dtype"]]
            for extent in entry["shape"]:
                size *= extent
            if end - begin != size or size <= 0:
                raise ValueError(f"tensor {name} claims {end - begin} bytes, its shape needs {size}")
            spans.append((begin, end))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _refuse(folder, f"{ADAPTER_WEIGHTS} has a false header: {fault_of(error).message}") from error
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise _refuse(folder, f"{ADAPTER_WEIGHTS} has tensors that overlap or leave gaps")
        position = end
    if position != len(data) - 8 - length or not header:
        raise _refuse(folder, f"{ADAPTER_WEIGHTS} is cut off or has surplus bytes")
    return header


def _check_tensors(folder: Path, header: dict[str, dict], rank: int, shapes: dict[str, tuple[int, int]]) -> list[str]:
    """Names and shapes against the base; returns the sorted target module names."""
    sides: dict[str, set[str]] = {}
    for name, entry in header.items():
        match = LORA_KEY.fullmatch(name)
        if match is None:
            raise _refuse(folder, f"holds tensor {name[:120]!r}, which is no LoRA weight of a linear module")
        module, side = match["module"], match["side"]
        if module not in shapes:
            raise _refuse(folder, f"adapts module {module[:120]!r}, which the base does not have: it belongs to another base")
        out_features, in_features = shapes[module]
        expected = [rank, in_features] if side == "A" else [out_features, rank]
        if entry["shape"] != expected:
            raise _refuse(folder, f"tensor {name} has shape {entry['shape']}, the base and rank {rank} need {expected}")
        sides.setdefault(module, set()).add(side)
    half = sorted(module for module, found in sides.items() if found != {"A", "B"})
    if half:
        raise _refuse(folder, f"module {half[0]} lacks one of its two LoRA tensors")
    names = sorted({module.rsplit(".", 1)[-1] for module in sides})
    # PEFT and vLLM go by the last part of a name: it must mean the same modules for them as for us
    uncovered = [module for module in shapes if module.rsplit(".", 1)[-1] in names and module not in sides]
    return names if not uncovered else sorted(sides)


def _refuse(folder: Path, why: str) -> RuntimeFault:
    return RuntimeFault("adapter_invalid", f"adapter {folder.name!r} {why}")
