"""Reads the JSON lines of a job, and lays out the rows of every epoch.

    rows = read_rows(path, "TrainingRow")                      dicts; RuntimeFault `data_invalid` names file and line
    course = Course(rows, replay, settings, seed, codec)
    course[position]                                           the encoded batch at that place of the whole training

A course is a function of (rows, settings, seed) alone: the position gives the epoch, the epoch gives its replay draw, its
varied questions and its batches. That is why a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import dataclass
from pathlib import Path

from .augment import Varier
from .chat import ChatCodec
from .errors import RuntimeFault
from .protocol import parse_json, validator

LINE_LIMIT_BYTES = 16 * 1024 * 1024


def read_rows(path: Path, noun: str, *, at_least: int = 1) -> list[dict]:
    """Rows of a JSON-lines file, each valid as `noun` (TrainingRow or EvaluationRow)."""
    if not path.is_file():
        raise RuntimeFault("data_invalid", f"{path.name}: is not a file")
    rows: list[dict] = []
    check = validator(noun)
    with path.open("rb") as stream:
        for number, raw in enumerate(iter(lambda: stream.readline(LINE_LIMIT_BYTES + 1), b""), start=1):
            where = f"{path.name}, line {number}"
            if len(raw) > LINE_LIMIT_BYTES:
                raise RuntimeFault("data_invalid", f"{where}: longer than {LINE_LIMIT_BYTES // 2**20} MB")
            try:
                line = raw.decode("utf-8").strip()
                if not line:
                    continue
                row = parse_json(line)
            except UnicodeDecodeError as error:
                raise RuntimeFault("data_invalid", f"{where}: not UTF-8 ({error.reason} at byte {error.start})") from error
            except ValueError as error:
                raise RuntimeFault("data_invalid", f"{where}: not JSON ({error})") from error
            problem = next(check.iter_errors(row), None)
            if problem is not None:
                field = ".".join(str(part) for part in problem.absolute_path)
                raise RuntimeFault("data_invalid", f"{where}: {field + ': ' if field else ''}{problem.message[:200]}")
            if not row["response"].strip():
                raise RuntimeFault("data_invalid", f"{where}: the response is blank")
            row["where"] = where
            rows.append(row)
    if len(rows) < at_least:
        count = {0: "is empty", 1: "has only one row"}.get(len(rows), f"has only {len(rows)} rows")
        raise RuntimeFault("data_invalid", f"{path.name} {count}, at least {at_least} {'are' if at_least > 1 else 'is'} needed")
    return rows


def file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class Example:
    """Prompt and answer ids; the loss lies on the last `answer_tokens`, times `weight`."""

    ids: list[int]
    answer_tokens: int
    weight: float


class Course:
    """All batches of all epochs in training order, encoded when they are asked for."""

    def __init__(self, rows: list[dict], replay: list[dict], settings: dict, seed: int, codec: ChatCodec) -> None:
        self.rows, self.replay, self.codec, self.seed = rows, replay, codec, seed
        self.epochs: int = settings["epochs"]
        self.batch_size: int = settings["batch_size"]
        self.max_length: int = settings["max_length"]
        self.augment_share: float = settings["augment_share"]
        self.replay_count = min(settings["replay_per_epoch"], len(replay))
        self.rows_per_epoch = len(rows) + self.replay_count
        self.batches_per_epoch = math.ceil(self.rows_per_epoch / self.batch_size)
        everything = rows + (replay if self.replay_count else [])
        self._answers = dict(zip((id(row) for row in everything), codec.answers([row["response"] for row in everything])))
        for row in everything:
            answer = self._answers[id(row)]
            if len(answer) >= self.max_length:
                raise RuntimeFault(
                    "data_invalid",
                    f"{row['where']}: the answer of row {row['id'][:100]!r} has {len(answer)} tokens, "
                    f"max_length {self.max_length} leaves no room for a question: raise it or drop the row",
                )
        feedback = [row for row in rows if row.get("source", "feedback") == "feedback"]
        self._varier = Varier([(question(row), row["response"]) for row in feedback])
        # weights are relative: their mean over the rows is 1, so they shift the loss but not its scale
        self._mean_weight = sum(row.get("weight", 1.0) for row in rows) / len(rows)
        self._laid_out: dict[int, list[list[Example]]] = {}
        self.check_templates()

    def __len__(self) -> int:
        return self.epochs * self.batches_per_epoch

    def __getitem__(self, position: int) -> list[Example]:
        epoch, place = divmod(position, self.batches_per_epoch)
        if epoch not in self._laid_out:
            for old in [known for known in self._laid_out if known < epoch - 1]:
                del self._laid_out[old]
            self._laid_out[epoch] = self._lay_out(epoch)
        return self._laid_out[epoch][place]

    def check_templates(self) -> None:
        """Fail before training, with the line, where the chat template refuses a row."""
        for row in self.rows + (self.replay if self.replay_count else []):
            try:
                self.codec.prompts([row["messages"]])
            except RuntimeFault as fault:
                raise RuntimeFault(fault.code, f"{row['where']}: {fault.message}") from fault

    def _lay_out(self, epoch: int) -> list[list[Example]]:
        conversations, kept = [], []
        for index, row in enumerate(self.rows):
            messages = row["messages"]
            dice = _dice(self.seed, epoch, index)
            if row.get("source", "feedback") == "feedback" and dice.random() < self.augment_share:
                messages = _with_question(messages, self._varier.vary(question(row), row["response"], dice))
            conversations.append(messages)
            kept.append(row)
        for row in self._drawn_replay(epoch):
            conversations.append(row["messages"])
            kept.append(row)
        examples = [self._encode(prompt, row) for prompt, row in zip(self.codec.prompts(conversations), kept)]
        return self._batches(examples, _dice(self.seed, epoch, "order"))

    def _drawn_replay(self, epoch: int) -> list[dict]:
        """The next rows of an endless sequence of shuffles, so that every replay row comes up equally often."""
        drawn: list[dict] = []
        position = epoch * self.replay_count
        while len(drawn) < self.replay_count:
            lap, place = divmod(position, len(self.replay))
            order = list(range(len(self.replay)))
            _dice(self.seed, lap, "replay").shuffle(order)
            part = order[place : place + self.replay_count - len(drawn)]
            drawn += [self.replay[index] for index in part]
            position += len(part)
        return drawn

    def _encode(self, prompt: list[int], row: dict) -> Example:
        answer = self._answers[id(row)]
        room = self.max_length - len(answer)
        return Example(prompt[-room:] + answer, len(answer), row.get("weight", 1.0) / self._mean_weight)

    def _batches(self, examples: list[Example], dice: random.Random) -> list[list[Example]]:
        """Equal batches in random order; rows of like length go together, which halves the padding."""
        dice.shuffle(examples)
        count = self.batches_per_epoch
        span = -(-len(examples) // count) * 4
        sorted_rows = [row for at in range(0, len(examples), span) for row in sorted(examples[at : at + span], key=lambda row: len(row.ids))]
        edges = [round(at * len(sorted_rows) / count) for at in range(count + 1)]
        batches = [sorted_rows[begin:end] for begin, end in zip(edges, edges[1:])]
        dice.shuffle(batches)
        return batches


def question(row: dict) -> str:
    """The last user turn's text."""
    return next((turn["content"] for turn in reversed(row["messages"]) if turn["role"] == "user"), row["messages"][-1]["content"])


def _with_question(messages: list[dict], text: str) -> list[dict]:
    last = max((at for at, turn in enumerate(messages) if turn["role"] == "user"), default=None)
    if last is None:
        return messages
    return [{**turn, "content": text} if at == last else turn for at, turn in enumerate(messages)]


def _dice(*parts: object) -> random.Random:
    """A generator that depends on these values alone (not on Python's string hashing)."""
    return random.Random(hashlib.sha256("\0".join(map(str, parts)).encode()).digest())


__all__ = ["Course", "Example", "file_hash", "question", "read_rows"]
