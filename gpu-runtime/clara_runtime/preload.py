"""Importing this module loads the heavy libraries that jobs need, and nothing else happens.

For a fork server (`multiprocessing.set_forkserver_preload(["clara_runtime.preload"])`): a forked job starts without the
15 s of imports. No threads are started and CUDA is not touched.
"""

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("BITSANDBYTES_NOWELCOME", "1")

import peft  # noqa: E402, F401
import torch  # noqa: E402, F401
import transformers  # noqa: E402, F401
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402, F401
from trl import SFTConfig, SFTTrainer  # noqa: E402, F401

from . import scoring, trainer  # noqa: E402, F401
