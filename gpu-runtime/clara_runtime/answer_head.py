"""Computes the language-model head only where there is an answer token to predict.

A head is (vocabulary x hidden): with a vocabulary of 150,000 it costs more than the layers of a small model, and most places
of a prompt need none of it. A hook in front of the head picks the places, so the model's own forward (autocast, quantisation,
gradient checkpointing, device map) stays in charge.
"""

from __future__ import annotations

import torch


class AnswerHead:
    """`logits(model, ids, learn)` gives one row of logits per marked token, in row-major order."""

    def __init__(self, model) -> None:
        core = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._head = core.get_output_embeddings()

    def logits(self, model, ids: torch.Tensor, learn: torch.Tensor, cache=None) -> torch.Tensor:
        """`learn` marks the tokens to predict, same shape as `ids`; the first column cannot be predicted and is ignored.

        With `cache` the ids follow on what it holds, and are added to it.
        """
        wanted = learn[:, 1:]

        def pick(_module, inputs: tuple) -> tuple:
            hidden = inputs[0]
            return (hidden[:, :-1][wanted.to(hidden.device)], *inputs[1:])

        handle = self._head.register_forward_pre_hook(pick) if self._head is not None else None
        try:
            logits = model(input_ids=ids, past_key_values=cache, use_cache=cache is not None).logits
        finally:
            if handle is not None:
                handle.remove()
        if logits.dim() == 3:  # a model that does not call its head as a module
            logits = logits[:, :-1][wanted.to(logits.device)]
        return logits
