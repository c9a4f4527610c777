"""Base models and adapters: find, hash, load, and check before anything is loaded.

    base = resolve_base(root, "tiny-base")              a folder (inside the root or a model folder), or a hub id
    base.sha256                                         hash over its weight files, cached
    model = load_base(base)                             transformers model, optionally quantised
    adapter = read_adapter(folder, base)                refuses pickles, other bases, wrong shapes, NaN
    model = attach_adapter(model, adapter, "name@v1")   PEFT model with exactly the tensors that were checked

Bases are in bases.py, adapters in adapter_folder.py; this is their table of contents. Importing it is cheap.
"""

from .adapter_folder import Adapter, ADAPTER_CONFIG, ADAPTER_WEIGHTS, attach_adapter, MANIFEST, read_adapter
from .bases import (
    Base,
    base_hash,
    BUNDLED_MODELS,
    go_offline,
    linear_shapes,
    load_base,
    load_tokenizer,
    model_folders,
    pick_dtype,
    quantization_config,
    resolve_base,
    room_for,
    shapes_of,
    weight_files,
)

__all__ = [
    "Adapter",
    "ADAPTER_CONFIG",
    "ADAPTER_WEIGHTS",
    "attach_adapter",
    "Base",
    "base_hash",
    "BUNDLED_MODELS",
    "go_offline",
    "linear_shapes",
    "load_base",
    "load_tokenizer",
    "MANIFEST",
    "model_folders",
    "pick_dtype",
    "quantization_config",
    "read_adapter",
    "resolve_base",
    "room_for",
    "shapes_of",
    "weight_files",
]
