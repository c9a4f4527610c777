"""What this machine and installation can do: `GET /v1/capabilities`.

    python -m clara_runtime.capabilities      prints the part that needs the libraries, as JSON

The libraries are only asked where there is a GPU, in a process of its own: importing them costs seconds and a GPU context.
"""

from __future__ import annotations

import asyncio
import json
import platform
import sys
from importlib import metadata
from typing import Any

from . import __version__
from .app_log import log
from .child import child_environment, python_command
from .launcher import has_nvidia_device
from .protocol import protocol_version

LIBRARIES = ("torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes", "safetensors", "starlette", "uvicorn")


class Capabilities:
    """Answers at once on machines without a GPU, else after one look at it."""

    def __init__(self) -> None:
        self._device: asyncio.Task[dict[str, Any]] | None = None

    def open(self) -> None:
        self._device = asyncio.ensure_future(_device())

    async def describe(self, serving: dict[str, Any] | None) -> dict[str, Any]:
        """The protocol's RuntimeCapabilities."""
        assert self._device is not None
        has_quantization = "bitsandbytes" in _versions()
        return {
            "protocol": protocol_version(),
            "version": __version__,
            **(await asyncio.shield(self._device)),
            "trainers": ["lora", "qlora", "continuous"] if has_quantization else ["lora", "continuous"],
            "quantization_bits": [4, 8] if has_quantization else [],
            "serving": serving,
            "versions": _versions(),
        }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


async def _device() -> dict[str, Any]:
    if not has_nvidia_device():
        return {"device": "cpu", "gpus": []}
    process = await asyncio.create_subprocess_exec(
        *python_command("clara_runtime.capabilities"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env=child_environment([], []),
    )
    output, _ = await process.communicate()
    try:
        return json.loads(output)
    except ValueError:
        log(f"the look at the GPU failed with exit code {process.returncode}; reporting a CPU")
        return {"device": "cpu", "gpus": []}


def main() -> int:
    import torch

    gpus = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            gpus.append({"name": properties.name, "memory_bytes": properties.total_memory})
    print(json.dumps({"device": "cuda" if gpus else "cpu", "gpus": gpus}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
