"""The running batch's key/value cache: rows of different lengths, right-aligned, that join and leave between steps."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache


class KeyValueBatch:
    """Every row's keys end in the last column; the columns before a short row's beginning are padding that the mask hides."""

    def __init__(self, device: Any):
        # Without the model's config every layer keeps all positions, also in sliding-window models, whose masks do the hiding:
        # only so can rows be cut and joined freely.
        self.cache = DynamicCache()
        self.device = device
        self.lengths: list[int] = []
        self._refresh()

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def width(self) -> int:
        return self.cache.get_seq_length() if self.lengths else 0

    def prefill_inputs(self, prompts: list[list[int]], pad_id: int) -> dict[str, Any]:
        """Model inputs for new rows, padded on the left; the batch must be empty."""
        width = max(map(len, prompts))
        self.lengths = [len(prompt) for prompt in prompts]
        self._refresh(width)
        ids = torch.tensor([[pad_id] * (width - len(p)) + p for p in prompts], device=self.device)
        columns = torch.arange(width, device=self.device)
        mask = (columns[None, :] >= self._padding[:, None]).long()
        positions = (columns[None, :] - self._padding[:, None]).clamp(min=0)
        return {"input_ids": ids, "attention_mask": mask, "position_ids": positions, "past_key_values": self.cache, "use_cache": True}

    def step_inputs(self, tokens: list[int]) -> dict[str, Any]:
        """Model inputs for one more token of each row."""
        width = self.width + 1
        columns = torch.arange(width, device=self.device)
        mask = (columns[None, :] >= self._padding[:, None]).long()
        positions = (width - 1 - self._padding)[:, None]
        self.lengths = [length + 1 for length in self.lengths]
        ids = torch.tensor(tokens, device=self.device)[:, None]
        return {"input_ids": ids, "attention_mask": mask, "position_ids": positions, "past_key_values": self.cache, "use_cache": True}

    def join(self, other: KeyValueBatch) -> None:
        """Appends the other batch's rows; the other one must not be used afterwards."""
        if not other.lengths:
            return
        if not self.lengths:
            self.cache, self.lengths, self._padding = other.cache, other.lengths, other._padding
            return
        width = max(self.width, other.width)
        for mine, theirs in zip(self.cache.layers, other.cache.layers, strict=True):
            mine.keys = torch.cat([_pad_left(mine.keys, width), _pad_left(theirs.keys, width)])
            mine.values = torch.cat([_pad_left(mine.values, width), _pad_left(theirs.values, width)])
        self.lengths = self.lengths + other.lengths
        self._refresh(width)

    def keep(self, rows: list[int]) -> None:
        """Drops all rows but these, and the columns that none of them needs."""
        if len(rows) == len(self.lengths):
            return
        self.lengths = [self.lengths[row] for row in rows]
        if not rows:
            self.cache = DynamicCache()
            self._refresh()
            return
        index = torch.tensor(rows, device=self.device)
        width = max(self.lengths)
        for layer in self.cache.layers:
            layer.keys = layer.keys.index_select(0, index)[..., -width:, :]
            layer.values = layer.values.index_select(0, index)[..., -width:, :]
        self._refresh(width)

    def _refresh(self, width: int = 0) -> None:
        self._padding = torch.tensor([width - length for length in self.lengths], dtype=torch.long, device=self.device)


def _pad_left(states: torch.Tensor, width: int) -> torch.Tensor:
    missing = width - states.shape[-2]
    return torch.nn.functional.pad(states, (0, 0, missing, 0)) if missing else states
