"""Adapters of one base model that answer together in one mixed batch.

PEFT wraps the base's linear layers and puts the weights in. Its own mixed-batch forward loops over the adapters in every layer;
here each layer keeps all of its adapters in one stack and answers a mixed batch with two batched products, which is the same sum
(`base(x) + B·A·x·scaling`) at a third of the time on small models.
"""
from __future__ import annotations

import threading
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
        self.slots: torch.Tensor | None = None


class AdapterPool:
    """The adapters inside one model. Only the engine's thread may call its methods."""

    def __init__(self, model: Any):
        self._model = model
        self._peft: PeftModel | None = None
        self._plan = _Plan()
        self._slots: dict[str, int] = {}

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
        self._restack()

    def remove(self, key: str) -> None:
        self._discard(key)
        self._restack()

    def use(self, keys: list[str | None]) -> None:
        """Says which adapter each row of the next forward uses; None = the base."""
        slots = [0 if key is None else self._slots[key] for key in keys]
        if len(set(slots)) == 1:
            self._plan.single, self._plan.slots = slots[0], None
        else:
            self._plan.single, self._plan.slots = None, torch.tensor(slots, device=self._model.device)

    def _discard(self, key: str) -> None:
        if self._peft is not None and key in self._peft.peft_config:
            self._peft.delete_adapter(key)

    def _restack(self) -> None:
        keys = list(self._peft.peft_config) if self._peft else []
        self._slots = {key: index + 1 for index, key in enumerate(keys)}
        for layer in self._model.modules():
            if isinstance(layer, LoraLayer):
                _stack_layer(layer, self._slots, self._plan, self._model.dtype)


def _stack_layer(layer: Any, slots: dict[str, int], plan: _Plan, dtype: torch.dtype) -> None:
    present = [key for key in slots if key in layer.lora_A]
    if not present:
        layer.forward = layer.base_layer.forward
        return
    rank = max(layer.lora_A[key].weight.shape[0] for key in present)
    place = {"dtype": dtype, "device": layer.lora_A[present[0]].weight.device}
    stack_a = torch.zeros(len(slots) + 1, rank, layer.in_features, **place)
    stack_b = torch.zeros(len(slots) + 1, layer.out_features, rank, **place)
    scale = torch.zeros(len(slots) + 1, **place)
    for key in present:
        slot, a, b = slots[key], layer.lora_A[key].weight, layer.lora_B[key].weight
        stack_a[slot, : a.shape[0]], stack_b[slot, :, : b.shape[1]], scale[slot] = a, b, layer.scaling[key]
        # PEFT's own parameters become views of the stacks, so the weights are held once.
        a.data, b.data = stack_a[slot, : a.shape[0]], stack_b[slot, :, : b.shape[1]]
    layer.forward = _MixedForward(layer.base_layer, stack_a, stack_b, scale, plan)


class _MixedForward:
    """`forward` of one wrapped layer."""

    def __init__(self, base: Any, stack_a: torch.Tensor, stack_b: torch.Tensor, scale: torch.Tensor, plan: _Plan):
        self._base, self._a, self._b, self._scale, self._plan = base, stack_a, stack_b.transpose(1, 2), scale, plan
        self._a_transposed = stack_a.transpose(1, 2)
        self._scales = scale.tolist()

    def __call__(self, x: torch.Tensor, *_args: Any, **_kwargs: Any) -> torch.Tensor:
        result = self._base(x)
        single = self._plan.single
        if single is None:
            slots = self._plan.slots
            hidden = torch.bmm(x, self._a_transposed[slots]) * self._scale[slots][:, None, None]
            return result + torch.bmm(hidden, self._b[slots])
        if self._scales[single] == 0:
            return result
        return result + (x @ self._a_transposed[single] * self._scales[single]) @ self._b[single]
