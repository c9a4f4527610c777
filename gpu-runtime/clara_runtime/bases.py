"""Base models: find, hash, load; and the shapes of their modules. Heavy libraries are imported inside the functions."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import RuntimeFault, fault_of
from .paths import write_atomically

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BUNDLED_MODELS = Path(__file__).resolve().parent.parent / "models"
HUB_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?$")


@dataclass(frozen=True)
class Base:
    """A base model on disk. `name` is what the spec calls it, `folder` holds config, tokenizer and safetensors."""

    name: str
    folder: Path
    cache: Path | None = None
    from_hub: bool = False

    @property
    def sha256(self) -> str:
        return base_hash(self.folder, self.cache)

    @functools.cached_property
    def config(self) -> dict:
        return read_json(self.folder / "config.json", "base_model_invalid")


def model_folders(extra: Iterable[str | os.PathLike] = ()) -> list[Path]:
    """Folders outside the root that base models may be read from: the bundled ones, CLARA_RUNTIME_MODELS, and `extra`."""
    named = [part for part in os.environ.get("CLARA_RUNTIME_MODELS", "").split(os.pathsep) if part]
    return [Path(folder).resolve() for folder in (BUNDLED_MODELS, *named, *extra)]


def resolve_base(root: str | os.PathLike, base_model: str, extra: Iterable[str | os.PathLike] = ()) -> Base:
    """Find a base model: a folder under the root or a model folder, the name of one there, or a hub id.

    Raises RuntimeFault `base_model_invalid`, or
    `path_outside_root` for a folder that is neither inside the root nor inside a model folder.
    """
    cache = Path(root).resolve() / "cache" / "base-hashes.json"
    folders = model_folders(extra)
    candidates = [Path(root).resolve() / base_model, *(folder / base_model for folder in folders)]
    found = next((path for path in candidates if base_model and "\0" not in base_model and path.is_dir()), None)
    if found is None:
        if Path(base_model).is_absolute() or base_model.startswith((".", "~")) or not HUB_ID.fullmatch(base_model) or ".." in base_model:
            raise RuntimeFault("base_model_invalid", f"base model {base_model[:200]!r} is neither a folder nor a model hub id")
        return Base(base_model, _download(base_model), cache, from_hub=True)
    real = found.resolve()
    if not any(real == allowed or allowed in real.parents for allowed in (Path(root).resolve(), *folders)):
        raise RuntimeFault(
            "path_outside_root",
            f"base model folder {base_model!r} is outside the runtime's root and model folders: "
            "name its folder in CLARA_RUNTIME_MODELS (or --models)",
        )
    if not (real / "config.json").is_file():
        raise RuntimeFault("base_model_invalid", f"base model {base_model!r}: {real} has no config.json")
    weight_files(real)
    return Base(base_model, real, cache)


def go_offline() -> None:
    """Turn the model hub off for this process: what a folder does not hold is missing, not looked for elsewhere."""
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
    constants = sys.modules.get("huggingface_hub.constants")
    if constants is not None:  # imported before, in a process that was forked warm
        constants.HF_HUB_OFFLINE = True


def _download(hub_id: str) -> Path:
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(hub_id, allow_patterns=["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]))
    except Exception as error:  # network, unknown id, gated: all of them mean that there is no such base here
        raise RuntimeFault(
            "base_model_invalid",
            f"base model {hub_id!r} is no folder under the root or a model folder, and the model hub does not give it: {fault_of(error).message}",
        ) from error


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a base model, in name order. Raises RuntimeFault `base_model_invalid` when there are none."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(read_json(index, "base_model_invalid").get("weight_map", {}).values()))
        files = [folder / name for name in names if "/" not in name]
    elif (folder / "model.safetensors").is_file():
        files = [folder / "model.safetensors"]
    else:
        files = sorted(folder.glob("*.safetensors"))
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        what = f"lacks {missing[0]}" if missing else "has no .safetensors weights (other formats are not read)"
        raise RuntimeFault("base_model_invalid", f"base model folder {folder} {what}")
    return files


def base_hash(folder: str | os.PathLike, cache: Path | None = None) -> str:
    """SHA-256 over the weight files' bytes in name order (`cat *.safetensors | sha256sum`).

    With `cache`, remembered in that JSON file under the files' names, sizes and times of change.
    """
    files = weight_files(Path(folder).resolve())
    stamp = json.dumps([[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files])
    known = _hash_memory.get(stamp) or _cached_hashes(cache).get(stamp)
    if known is None:
        digest = hashlib.sha256()
        for file in files:
            with file.open("rb") as stream:
                while block := stream.read(1 << 22):
                    digest.update(block)
        known = digest.hexdigest()
        if cache is not None:
            write_atomically(cache, json.dumps({**_cached_hashes(cache), stamp: known}))
    _hash_memory[stamp] = known
    return known


_hash_memory: dict[str, str] = {}


def _cached_hashes(cache: Path | None) -> dict[str, str]:
    if cache is None or not cache.is_file():
        return {}
    try:
        stored = json.loads(cache.read_text(encoding="utf-8"))
    except ValueError:  # a broken cache costs one hashing, nothing else
        return {}
    return stored if isinstance(stored, dict) else {}


def pick_dtype(precision: str, cuda: bool) -> "torch.dtype":
    """`auto`: bf16 where the GPU has it, else fp16 on a GPU, fp32 on a CPU. Raises RuntimeFault `spec_invalid` for fp16 on a CPU."""
    import torch

    if precision == "auto":
        precision = ("bf16" if torch.cuda.is_bf16_supported() else "fp16") if cuda else "fp32"
    if precision == "fp16" and not cuda:
        raise RuntimeFault("spec_invalid", "spec.hardware.precision: fp16 training needs a GPU; use auto, fp32 or bf16")
    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def load_tokenizer(base: Base) -> "PreTrainedTokenizerBase":
    """The base's tokenizer, with a padding token and a chat template. Raises RuntimeFault `base_model_invalid`."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(base.folder, trust_remote_code=False)
    except Exception as error:
        raise _base_fault(base, error) from error
    if tokenizer.eos_token_id is None:
        raise RuntimeFault("base_model_invalid", f"base model {base.name!r}: its tokenizer has no end token")
    if not tokenizer.chat_template:
        raise RuntimeFault("base_model_invalid", f"base model {base.name!r} has no chat template: use a chat (instruct) model")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(
    base: Base,
    *,
    dtype: "torch.dtype | None" = None,
    quantization_bits: int | None = None,
    device_map: str | None = None,
    max_memory: dict[str, str] | None = None,
) -> "PreTrainedModel":
    """Load a base model for inference or as the frozen part of a LoRA training.

    Without `device_map` it goes to the first GPU, else the CPU. `quantization_bits` 4 is nf4 with double quantisation,
    8 is LLM.int8(); both by bitsandbytes. Raises RuntimeFault `base_model_invalid` also when weights are missing.
    """
    import torch
    from transformers import AutoModelForCausalLM

    cuda = torch.cuda.is_available()
    options: dict[str, Any] = {"dtype": dtype or torch.float32, "trust_remote_code": False, "use_safetensors": True}
    if quantization_bits is not None:
        options["quantization_config"] = quantization_config(quantization_bits, options["dtype"])
        device_map = device_map or ("cuda:0" if cuda else "cpu")
    if device_map is not None:
        options["device_map"] = device_map
        if max_memory:
            options["max_memory"] = {int(device) if device.isdigit() else device: size for device, size in max_memory.items()}
    try:
        model, report = AutoModelForCausalLM.from_pretrained(base.folder, output_loading_info=True, **options)
    except Exception as error:
        raise _base_fault(base, error) from error
    absent = sorted(str(key) for key in [*report.get("missing_keys", ()), *report.get("mismatched_keys", ())])
    if absent:
        raise RuntimeFault("base_model_invalid", f"base model {base.name!r}: weights missing or of another shape: {', '.join(absent[:3])}")
    model.config.use_cache = True
    if device_map is None and cuda:
        model = model.to("cuda:0")
    return model


def room_for(base: Base, dtype: "torch.dtype") -> str | None:
    """Where the base fits as it is besides what is loaded: `cuda:0`, else `cpu`, else None. A third more than its weights is asked for."""
    import psutil
    import torch
    from safetensors import safe_open

    count = 0
    for file in weight_files(base.folder):
        with safe_open(file, framework="pt") as tensors:
            count += sum(math.prod(tensors.get_slice(key).get_shape()) for key in tensors.keys())
    needed = count * dtype.itemsize * 4 // 3
    if torch.cuda.is_available() and torch.cuda.mem_get_info()[0] > needed:
        return "cuda:0"
    return "cpu" if psutil.virtual_memory().available > needed else None


def quantization_config(bits: int, dtype: "torch.dtype"):
    """bitsandbytes settings: 4 = nf4 with double quantisation (QLoRA, Dettmers et al. 2023), 8 = LLM.int8()."""
    from transformers import BitsAndBytesConfig

    if bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def _base_fault(base: Base, error: Exception) -> RuntimeFault:
    fault = fault_of(error)
    if fault.code != "internal":
        return fault
    return RuntimeFault("base_model_invalid", f"base model {base.name!r} cannot be loaded: {fault.message}")


# ----------------------------------------------------------------------------- module shapes
def linear_shapes(model: "torch.nn.Module") -> dict[str, tuple[int, int]]:
    """(out, in) features of every linear module that LoRA can adapt, by its name in the base model."""
    shapes: dict[str, tuple[int, int]] = {}
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    for name, module in model.named_modules():
        if ".lora_" in name or module is head:
            continue
        name = name.removeprefix("base_model.model.").removesuffix(".base_layer")
        if hasattr(module, "in_features") and hasattr(module, "out_features"):
            shapes[name] = (module.out_features, module.in_features)
        elif type(module).__name__ == "Conv1D":  # GPT-2's linear layer stores its weight transposed
            shapes[name] = (module.weight.shape[1], module.weight.shape[0])
    return shapes


@functools.lru_cache(maxsize=4)
def shapes_of(folder: Path) -> dict[str, tuple[int, int]]:
    """`linear_shapes` of a base model without loading its weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder, trust_remote_code=False), trust_remote_code=False)
    except Exception as error:
        raise _base_fault(Base(folder.name, folder), error) from error
    return linear_shapes(model)


def read_json(path: Path, code: str) -> dict:
    """A small JSON object from a file; raises RuntimeFault `code` where it is none."""
    try:
        if path.stat().st_size > 64 * 1024 * 1024:
            raise ValueError("larger than 64 MB")
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise RuntimeFault(code, f"{path}: {fault_of(error).message}") from error
    return value
