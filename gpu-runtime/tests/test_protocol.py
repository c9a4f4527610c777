"""The schema that Python checks against is the TypeScript one, and specs and events are held to it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from clara_runtime.errors import EXIT_CODES, RuntimeFault, fault_of
from clara_runtime.protocol import Emitter, check, parse_spec, schema

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def test_the_schema_has_the_nouns_and_error_codes_of_the_runtime() -> None:
    assert set(schema()["$defs"]) == {"TrainSpec", "EvaluateSpec", "RuntimeSpec", "RuntimeEvent", "TrainingRow", "EvaluationRow", "RuntimeJob", "RuntimeCapabilities"}
    errors = next(part for part in schema()["$defs"]["RuntimeEvent"]["oneOf"] if part["properties"]["type"]["const"] == "error")
    assert set(errors["properties"]["code"]["enum"]) == set(EXIT_CODES)


def test_the_schema_file_is_what_the_typescript_types_generate() -> None:
    node = REPOSITORY / "node_modules" / ".bin" / "node"
    if not node.exists():
        pytest.skip("needs the repository's own Node (npm ci)")
    done = subprocess.run([node, "scripts/generate-protocol.ts", "--check"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_valid_spec_passes_and_whole_floats_are_counts(make_spec) -> None:
    spec = parse_spec(json.dumps(make_spec(settings__epochs=4.0)), "train")
    assert spec["settings"]["epochs"] == 4
    assert isinstance(spec["settings"]["epochs"], int)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("[]", "JSON object"),
        ('{"protocol": 1}', "kind"),
        ('{"protocol": 1, "kind": ["train"]}', "kind"),
        ('{"protocol": 99, "kind": "train"}', "protocol"),
        ('{"protocol": 1, "kind": "train", "seed": NaN}', "not JSON"),
        ("[" * 200_000, "not JSON"),
        ('{"protocol": 1, "kind": "evaluate"}', "kind"),
    ],
)
def test_what_is_no_spec_is_refused_with_a_reason(text, words) -> None:
    with pytest.raises(RuntimeFault, match=words) as caught:
        parse_spec(text, "train")
    assert caught.value.code == "spec_invalid"


def test_a_name_with_a_line_break_is_refused(make_spec) -> None:
    with pytest.raises(RuntimeFault):
        parse_spec(make_spec(job_id="job\n"), "train")


def test_events_are_counted_and_nothing_follows_the_end() -> None:
    events: list[dict] = []
    emit = Emitter(events.append, first_seq=7)
    emit("phase", phase="load")
    emit.fail(RuntimeFault("disk_full", "full"))
    emit.log("too late")
    assert [(event["seq"], event["type"]) for event in events] == [(7, "phase"), (8, "error")]
    assert events[-1]["retryable"] is True


def test_an_event_outside_the_schema_is_not_sent() -> None:
    events: list[dict] = []
    with pytest.raises(RuntimeFault):
        Emitter(events.append)("result", result={"kind": "train"})
    assert events == []


def test_every_event_of_a_training_fits_the_schema(trained) -> None:
    for event in trained["events"]:
        check("RuntimeEvent", event)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "out_of_memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "out_of_memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"), "out_of_memory"),
        (OSError(12, "Cannot allocate memory"), "out_of_memory"),
        (OSError(28, "No space left on device", "/x"), "disk_full"),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), "disk_full"),
        (ValueError("anything"), "internal"),
        (KeyboardInterrupt(), "cancelled"),
    ],
)
def test_exceptions_are_reported_by_what_they_mean(error, code) -> None:
    assert fault_of(error).code == code
    outer = RuntimeError("while saving")
    outer.__cause__ = error
    if code in ("out_of_memory", "disk_full"):
        assert fault_of(outer).code == code
