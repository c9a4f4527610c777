"""Base models and adapters: find, hash, load, and check before anything is loaded.

    base = resolve_base(root, "tiny-base")              a folder (inside the root or a model folder), or a hub id
    base.sha256                                         hash over its weight files, cached
    model = load_base(base)                             transformers model, optionally quantised
    adapter = read_adapter(folder, base)                refuses pickles, other bases, wrong shapes, NaN
    model = attach_adapter(model, adapter, "name@v1")   PEFT model with exactly the tensors that were checked

Heavy libraries are imported inside the functions, so that importing this module is cheap.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import RuntimeFault, fault_of
from .paths import inside, write_atomically

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BUNDLED_MODELS = Path(__file__).resolve().parent.parent / "models"
HUB_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?$")
PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
ADAPTER_CONFIG, ADAPTER_WEIGHTS, MANIFEST = "adapter_config.json", "adapter_model.safetensors", "clara.json"
SAFETENSORS_HEADER_LIMIT = 16 * 1024 * 1024
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
LORA_KEY = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight$")


# ----------------------------------------------------------------------------- base models
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
        return _read_json(self.folder / "config.json", "base_model_invalid")


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
        names = sorted(set(_read_json(index, "base_model_invalid").get("weight_map", {}).values()))
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


# ----------------------------------------------------------------------------- adapters
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

    config = _read_json(folder / ADAPTER_CONFIG, "adapter_invalid")
    rank, alpha = _check_config(folder, config, max_rank)
    manifest = _read_json(folder / MANIFEST, "adapter_invalid") if (folder / MANIFEST).is_file() else None
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


def _read_json(path: Path, code: str) -> dict:
    try:
        if path.stat().st_size > 64 * 1024 * 1024:
            raise ValueError("larger than 64 MB")
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise RuntimeFault(code, f"{path}: {fault_of(error).message}") from error
    return value
