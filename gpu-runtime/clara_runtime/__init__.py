"""CLARA's runtime: trains, evaluates and serves LoRA adapters over one base model.

    python -m clara_runtime.train    --spec FILE --root DIR    a training job, events on stdout
    python -m clara_runtime.evaluate --spec FILE --root DIR    an evaluation job, events on stdout

The wire format is in docs/runtime-protocol.md. Importing this package loads nothing heavy.
"""

__version__ = "0.1.0"
