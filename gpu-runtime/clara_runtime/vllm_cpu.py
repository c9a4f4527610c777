"""A plugin of vLLM (`vllm.general_plugins`): adapters without a GPU that leave the base's answers alone.

vLLM marks rows of the base with the adapter index -1. Its GPU kernels pass such rows over; its PyTorch operations, which run
without a GPU, index with it and so take the weights in the last slot: as soon as every slot has held an adapter, the base answers
with an adapter's weights wherever it shares a batch with one. Here the first of the two products is zero for those rows.
Seen in 0.32.0; a release that passes them over itself loses nothing by it.
"""

from __future__ import annotations


def register() -> None:
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    from vllm.lora.ops import torch_ops
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu

    shrink = lora_ops.bgmv_shrink
    if getattr(shrink, "leaves_base_alone", False):
        return  # plugins may be loaded more than once in a process

    def bgmv_shrink(inputs, lora_b_weights, output_tensor, lora_indices_tensor, scaling=1.0):
        shrink(inputs, lora_b_weights, output_tensor, lora_indices_tensor.clamp(min=0), scaling)
        output_tensor[lora_indices_tensor < 0] = 0

    bgmv_shrink.leaves_base_alone = True
    for module in (lora_ops, torch_ops, punica_cpu):
        module.bgmv_shrink = bgmv_shrink
