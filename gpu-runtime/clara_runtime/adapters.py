"""Adapters of one base model that answer together in one mixed batch.

PEFT wraps the base's linear layers and puts the weights in. Its own mixed-batch forward loops over the adapters in every layer;
here each layer keeps all of its adapters in one stack and answers a mixed batch with two batched products, which is the same sum
in less than half of the time on small models.
"""

from __future__ import annotations

import math
import threading
import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer

from .errors import RuntimeFault, fault_of
from .models import Adapter, attach_adapter


@dataclass(eq=False)
class LoadedAdapter:
    """An adapter that answers requests. `key` is its name inside PEFT, where dots are forbidden."""

    name: str
    path: str
    sha256: str
    rank: int
    key: str
    loaded_at: float
    running: int = 0
    """Requests that wait for it or run on it."""
    leaving: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self) -> None:
        with self._lock:
            self.running += 1

    def exit(self) -> None:
        with self._lock:
            self.running -= 1


class _Plan:
    """Which adapter slot each row of the batch uses; one object shared by all layers and changed before each forward."""

    def __init__(self) -> None:
        self.single: int | None = 0
        self.scale: float = 1.0
        self.slots: torch.Tensor | None = None
        self.scales: torch.Tensor | None = None


class AdapterPool:
    """The adapters inside one model. Only the engine's thread may call its methods."""

    def __init__(self, model: Any):
        self._model = model
        self._peft: PeftModel | None = None
        self._plan = _Plan()
        self._slots: dict[str, int] = {}
        self._scales: list[float] = [0.0]
        self._scale_of: dict[str, float] = {}

    def add(self, key: str, adapter: Adapter) -> None:
        """Puts a checked adapter's weights into the model; where they do not fit it, the model stays as it was."""
        try:
            self._peft = attach_adapter(self._peft or self._model, adapter, key)
        except Exception as error:
            self._discard(key)
            fault = fault_of(error)
            if fault.code != "internal":
                raise fault from error
            raise RuntimeFault("adapter_invalid", f"adapter {adapter.folder.name!r} does not fit the base: {fault.message}") from error
        self._peft.requires_grad_(False)
        self._peft.eval()
        self._scale_of[key] = adapter.alpha / (math.sqrt(adapter.rank) if adapter.rslora else adapter.rank)
        self._restack()

    def remove(self, key: str) -> None:
        self._discard(key)
        del self._scale_of[key]
        self._restack()

    def use(self, keys: list[str | None]) -> None:
        """Says which adapter each row of the next forward uses; None = the base."""
        slots = [0 if key is None else self._slots[key] for key in keys]
        plan = self._plan
        if len(set(slots)) == 1:
            plan.single, plan.scale = slots[0], self._scales[slots[0]]
        else:
            device = self._model.device
            plan.single, plan.slots = None, torch.tensor(slots, device=device)
            scales = [self._scales[slot] for slot in slots]
            plan.scales = torch.tensor(scales, device=device, dtype=self._model.dtype)[:, None, None]

    def _discard(self, key: str) -> None:
        if self._peft is not None and key in self._peft.peft_config:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that another adapter is "active" now; nothing here goes by that
                self._peft.delete_adapter(key)

    def _restack(self) -> None:
        keys = list(self._peft.peft_config) if self._peft else []
        self._slots = {key: index + 1 for index, key in enumerate(keys)}
        self._scales = [0.0, *(self._scale_of[key] for key in keys)]
        for layer in self._model.modules():
            if isinstance(layer, LoraLayer):
                _stack_layer(layer, self._slots, self._plan, self._model.dtype)


def _stack_layer(layer: Any, slots: dict[str, int], plan: _Plan, dtype: torch.dtype) -> None:
    present = [key for key in slots if key in layer.lora_A]
    if not present:
        layer.forward = layer.base_layer.forward
        return
    place = {"dtype": dtype, "device": layer.lora_A[present[0]].weight.device}
    rank = max(layer.lora_A[key].weight.shape[0] for key in present)
    # Transposed, as the products want them; slot 0 (the base) and smaller ranks are zeros.
    down = torch.zeros(len(slots) + 1, layer.in_features, rank, **place)
    up = torch.zeros(len(slots) + 1, rank, layer.out_features, **place)
    for key in present:
        slot, a, b = slots[key], layer.lora_A[key].weight, layer.lora_B[key].weight
        down[slot, :, : a.shape[0]], up[slot, : b.shape[1]] = a.T, b.T
        # PEFT's own parameters become views of the stacks, so the weights are held once.
        a.data, b.data = down[slot, :, : a.shape[0]].T, up[slot, : b.shape[1]].T
    layer.forward = _MixedForward(layer.base_layer, down, up, plan)


class _MixedForward:
    """`forward` of one wrapped layer: base(x) + B·A·x·scaling, row by row with the row's own adapter."""

    def __init__(self, base: Any, down: torch.Tensor, up: torch.Tensor, plan: _Plan):
        self._base, self._down, self._up, self._plan = base, down, up, plan

    def __call__(self, x: torch.Tensor, *_args: Any, **_kwargs: Any) -> torch.Tensor:
        result = self._base(x)
        plan = self._plan
        if plan.single is None:
            hidden = torch.bmm(x, self._down.index_select(0, plan.slots)) * plan.scales
            return torch.baddbmm(result, hidden, self._up.index_select(0, plan.slots))
        if plan.single == 0:
            return result
        return result + ((x @ self._down[plan.single]) * plan.scale) @ self._up[plan.single]
