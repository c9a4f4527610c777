"""The wire format on the Python side: specs in, events out, both checked against protocol.schema.json.

    parse_spec(text, "train")    the spec as a dict, or RuntimeFault `spec_invalid` naming the field
    check("RuntimeJob", value)   any other noun of the schema
    Emitter(write)               numbers, stamps and checks events, then hands them to `write`

The schema is generated from src/types/runtime-protocol.ts (`npm run protocol`).
"""

from __future__ import annotations

import functools
import json
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import RuntimeFault

SCHEMA_FILE = Path(__file__).with_name("protocol.schema.json")
Event = dict[str, Any]
Emit = Callable[[Event], None]

# Small, frequent and built in one place each: checked in the tests (CLARA_CHECK_EVENTS=1) rather than at every step.
CHEAP_EVENTS = {"phase", "progress", "metrics", "log", "checkpoint"}


@functools.cache
def schema() -> dict:
    return json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))


@functools.cache
def protocol_version() -> int:
    return schema()["version"]


@functools.cache
def validator(noun: str):
    """The compiled validator of one noun of the schema, for example `TrainSpec`."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema()["$defs"][noun])


def check(noun: str, value: Any, *, code: str = "internal", where: str = "") -> None:
    """Raise RuntimeFault `code`, naming the field, unless `value` is a valid `noun`."""
    from jsonschema.exceptions import best_match

    error = best_match(validator(noun).iter_errors(value))
    if error is not None:
        field = ".".join(str(part) for part in error.absolute_path) or noun
        raise RuntimeFault(code, f"{where}{field}: {error.message[:300]}")


def parse_json(text: str | bytes) -> Any:
    """json.loads that refuses NaN, Infinity and nesting that would exhaust the stack."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse_spec(source: str | bytes | dict, kind: str | None = None) -> dict:
    """Check a job spec (JSON text or a dict); with `kind`, only that kind. Raises RuntimeFault `spec_invalid`."""
    value = source
    if not isinstance(source, dict):
        try:
            value = parse_json(source)
        except ValueError as error:
            raise RuntimeFault("spec_invalid", f"the spec is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RuntimeFault("spec_invalid", "the spec must be a JSON object")
    version = value.get("protocol")
    if version != protocol_version():
        raise RuntimeFault("spec_invalid", f"the spec speaks protocol {version!r}, this runtime {protocol_version()}: install matching versions")
    nouns = {"train": "TrainSpec", "evaluate": "EvaluateSpec"}
    found = value.get("kind")
    if not isinstance(found, str) or found not in nouns or (kind is not None and found != kind):
        raise RuntimeFault("spec_invalid", f"the spec's kind is {found!r}, expected {kind or ' or '.join(nouns)}")
    value = _whole_numbers(value)
    check(nouns[found], value, code="spec_invalid", where="spec.")
    if not value["job_id"].isprintable():  # `$` of a regular expression lets a final line break through
        raise RuntimeFault("spec_invalid", f"spec.job_id: {value['job_id']!r} has unprintable characters")
    return value


def _whole_numbers(value: Any) -> Any:
    """JSON has one kind of number: 40.0 is a valid count, and Python must count with it."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    return value


class Emitter:
    """Turns event bodies into events: adds `seq` and `time`, checks them, passes them to `write`. Thread-safe.

    `first_seq` continues the numbering of a job that another process began.
    """

    def __init__(self, write: Emit, *, first_seq: int = 1) -> None:
        self._write = write
        self._next = first_seq
        self._lock = threading.RLock()
        self._check_all = os.environ.get("CLARA_CHECK_EVENTS") == "1"
        self.ended = False

    def __call__(self, kind: str, **fields: Any) -> None:
        with self._lock:
            if self.ended:  # nothing may follow `result` or `error`
                return
            event = {"seq": self._next, "time": round(time.time(), 3), "type": kind, **fields}
            if self._check_all or kind not in CHEAP_EVENTS:
                check("RuntimeEvent", event)
            self._write(event)
            self._next += 1
            self.ended = kind in ("result", "error")

    def log(self, message: str, level: str = "info") -> None:
        self("log", level=level, message=message)

    def fail(self, fault: RuntimeFault) -> None:
        body = fault.as_event()
        self(body.pop("type"), **body)


def finite(value: float | None) -> float | None:
    """The number itself, or None where JSON has no word for it (NaN, infinities)."""
    return None if value is None or not math.isfinite(value) else float(value)
