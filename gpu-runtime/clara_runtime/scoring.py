"""How well a model answers: the one evaluation that train.py and evaluate.py share.

For every item:
    nll, tokens           negative log-likelihood of the right answer with its end of turn, summed over its tokens (nats)
    output, exact         the greedy answer, and whether it equals the right one after trimming white space
    choice_probability    of the right answer among itself and wrong answers of the same kind (`wrong_answers`)

choice_probability is a softmax over length-normalised log-likelihoods (the scoring of multiple-choice tasks in Brown et al.
2020, "Language Models are Few-Shot Learners", section 2.4), brought back to the scale of whole answers by their common mean
length, so that equally long answers get their true posterior probability:

    l_i = log p(answer_i | prompt) / n_i        n_i tokens, end of turn included
    p   = exp(m l_right) / sum_i exp(m l_i)     m = mean of all n_i

Of a `probe` set only the likelihoods are asked: no wrong answers, no output, and `exact` says that each token of the answer is the
model's first choice, which is what greedy generation would give.

Generation is exact and cheap: where the model's first choice is the right token at every place of the right answer, the greedy
output is that answer; elsewhere generation starts behind the last token on which both agree.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers import DynamicCache, GenerationConfig

from .answer_head import AnswerHead
from .chat import ChatCodec, stop_ids
from .data import question
from .errors import RuntimeFault

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

WORD = re.compile(r"\w+")
# Answers that an item is compared with for nearness: keeps large sets from taking quadratic time.
POOL = 1000


@dataclass(frozen=True)
class Scored:
    """Log-likelihood of one answer, and how many of its first tokens the model would have chosen itself."""

    log_likelihood: float
    tokens: int
    agreed: int


@torch.inference_mode()
def evaluate_sets(model: "PreTrainedModel | PeftModel", codec: ChatCodec, sets: list[dict], settings: dict, autocast: torch.dtype | None = None, progress: Callable[[str], None] = lambda _: None) -> list[dict]:
    """The protocol's EvaluatedSet for each of `sets` ({name, kind, rows}), with the model's adapters as they are set."""
    was_training = model.training
    model.eval()
    try:
        with _precision(model.device, autocast):
            return [_evaluate_set(model, codec, part, settings, progress) for part in sets]
    finally:
        model.train(was_training)


def _evaluate_set(model, codec: ChatCodec, part: dict, settings: dict, progress: Callable[[str], None]) -> dict:
    rows: list[dict] = part["rows"]
    prompts = codec.prompts([row["messages"] for row in rows])
    is_probe = part["kind"] == "probe"
    wrong = wrong_answers(rows, 0 if is_probe else settings["distractors"])
    options = [[row["response"].strip(), *others] for row, others in zip(rows, wrong)]
    answers = codec.answers([text for texts in options for text in texts])
    owners = [at for at, texts in enumerate(options) for _ in texts]
    score = score_alike if is_probe else score_answers
    scores = score(model, [prompts[at] for at in owners], answers, settings["batch_size"])

    grouped: list[list[tuple[Scored, list[int]]]] = [[] for _ in rows]
    for at, score, answer in zip(owners, scores, answers):
        grouped[at].append((score, answer))
    right = [group[0] for group in grouped]
    outputs = [""] * len(rows) if is_probe else _greedy_outputs(model, codec, prompts, right, settings["max_new_tokens"], settings["batch_size"])
    items = []
    for row, output, group in zip(rows, outputs, grouped):
        score = group[0][0]
        if not math.isfinite(score.log_likelihood):
            raise RuntimeFault("internal", f"the model gives no finite likelihood for item {row['id'][:100]!r}: its weights are broken", retryable=False)
        items.append(
            {
                "id": row["id"],
                "output": output,
                "exact": score.agreed == score.tokens if is_probe else output == row["response"].strip(),
                "nll": max(0.0, -score.log_likelihood),
                "tokens": score.tokens,
                "choice_probability": choice_probability([other for other, _ in group]) if len(group) > 1 else None,
            }
        )
    chances = [item["choice_probability"] for item in items if item["choice_probability"] is not None]
    tokens = sum(item["tokens"] for item in items)
    progress(f"evaluated {len(items)} items of {part['name']}")
    return {
        "name": part["name"],
        "kind": part["kind"],
        "count": len(items),
        "exact": sum(item["exact"] for item in items) / len(items),
        "perplexity": math.exp(min(sum(item["nll"] for item in items) / tokens, 700.0)),
        "choice_probability": sum(chances) / len(chances) if chances else None,
        "items": items,
    }


def choice_probability(scores: list[Scored]) -> float:
    """Probability of the first answer among all; the formula is at the head of this file."""
    scale = sum(score.tokens for score in scores) / len(scores)
    logits = [scale * score.log_likelihood / score.tokens for score in scores]
    top = max(logits)
    weights = [math.exp(logit - top) for logit in logits]
    return min(1.0, max(0.0, weights[0] / sum(weights)))


# ----------------------------------------------------------------------------- wrong answers of the same kind
def wrong_answers(rows: list[dict], count: int) -> list[list[str]]:
    """For each row up to `count` wrong answers of the same kind, from the answers of other groups in the same set.

    The nearest answers by word overlap (Jaccard) come first. Each neighbour gives two candidates: the right answer with the
    neighbour's facts put in where the question does not restate them (only the fact is wrong), and the neighbour as it stands.
    Deterministic: ties are broken by a hash of the row's id and the text.
    """
    if count == 0:
        return [[] for _ in rows]
    groups = [row.get("group") or row["response"].strip() for row in rows]
    texts: dict[str, set[str]] = {}
    for row, group in zip(rows, groups):
        texts.setdefault(row["response"].strip(), set()).add(group)
    words = {text: frozenset(_words(text)) for text in texts}
    pool = sorted(texts, key=lambda text: hashlib.sha256(text.encode()).digest())[:POOL]
    chosen = []
    for row, group in zip(rows, groups):
        answer = row["response"].strip()
        own = {text for text, owners in texts.items() if group in owners} | {answer}
        others = sorted(
            (text for text in pool if text not in own),
            key=lambda text: (-_overlap(words[answer], words[text]), hashlib.sha256(f"{row['id']}\0{text}".encode()).digest()),
        )
        restated = set(_words(question(row)))
        found: list[str] = []
        for other in others:
            for candidate in (_with_facts_of(answer, other, restated), other):
                if candidate not in own and candidate not in found:
                    found.append(candidate)
            if len(found) >= count:
                break
        chosen.append(found[:count])
    return chosen


def _with_facts_of(answer: str, other: str, restated: set[str]) -> str:
    """`answer` with the words of `other` wherever the two differ in something that the question does not say."""
    mine, theirs = answer.split(), other.split()
    result: list[str] = []
    for kind, begin, end, other_begin, other_end in difflib.SequenceMatcher(None, mine, theirs, autojunk=False).get_opcodes():
        span = mine[begin:end]
        if kind == "equal" or (kind != "insert" and all(word in restated for word in _words(" ".join(span)))):
            result += span
        elif kind == "replace":
            result += theirs[other_begin:other_end]
    return " ".join(result) or other


def _overlap(one: frozenset[str], two: frozenset[str]) -> float:
    union = len(one | two)
    return len(one & two) / union if union else 0.0


def _words(text: str) -> list[str]:
    return [word.lower() for word in WORD.findall(text)]


# ----------------------------------------------------------------------------- likelihood and greedy answers
def score_answers(model, prompts: list[list[int]], answers: list[list[int]], batch_size: int) -> list[Scored]:
    """Log-likelihood of each answer after its prompt, in batches of like length."""
    limit = _context_limit(model)
    scored: list[Scored | None] = [None] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda at: len(prompts[at]) + len(answers[at]))
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        rows = [(prompts[at] + answers[at])[-limit:] for at in batch]
        for at, score in zip(batch, _score_rows(model, rows, [max(1, len(row) - len(answers[at])) for row, at in zip(rows, batch)])):
            scored[at] = score
    return [score for score in scored if score is not None]


@torch.inference_mode()
def score_alike(model, prompts: list[list[int]], answers: list[list[int]], batch_size: int) -> list[Scored]:
    """The same, where many answers to one prompt begin alike: what they have in common is read once."""
    limit = _context_limit(model)
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for at, prompt in enumerate(prompts):
        by_prompt.setdefault(tuple(prompt), []).append(at)
    scored: list[Scored | None] = [None] * len(prompts)
    alone: list[int] = []
    for places in by_prompt.values():
        rows = [prompts[at] + answers[at] for at in places]
        if len(places) <= batch_size or max(map(len, rows)) > limit:
            alone += places
            continue
        # the last common token is read again with each row, because it predicts the first one that differs
        read = len(os.path.commonprefix(rows)) - 1
        begin = len(prompts[places[0]])
        cache = DynamicCache()
        common = _score_rows(model, [rows[0][: read + 1]], [begin], cache)[0]
        cache.crop(-1)
        for start in range(0, len(places), batch_size):
            batch = range(start, min(start + batch_size, len(places)))
            copies = copy.deepcopy(cache)
            copies.batch_repeat_interleave(len(batch))
            tails = [rows[line][read:] for line in batch]
            for line, tail in zip(batch, _score_rows(model, tails, [1] * len(tails), copies)):
                agreed = common.agreed + (tail.agreed if common.agreed == common.tokens else 0)
                scored[places[line]] = Scored(common.log_likelihood + tail.log_likelihood, common.tokens + tail.tokens, agreed)
    for at, score in zip(alone, score_answers(model, [prompts[at] for at in alone], [answers[at] for at in alone], batch_size)):
        scored[at] = score
    return [score for score in scored if score is not None]


def _score_rows(model, rows: list[list[int]], begins: list[int], cache: DynamicCache | None = None) -> list[Scored]:
    """Scores the tokens of each row from its beginning place on, in one pass."""
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), _filler_token(model), dtype=torch.long)
    learn = torch.zeros((len(rows), width), dtype=torch.bool)
    for line, (row, begin) in enumerate(zip(rows, begins)):
        ids[line, : len(row)] = torch.tensor(row)
        learn[line, begin : len(row)] = True
    ids, learn = ids.to(model.device), learn.to(model.device)
    logits = AnswerHead(model).logits(model, ids, learn, cache).float()
    targets = ids[:, 1:][learn[:, 1:]].to(logits.device)
    # not log_softmax: with a large vocabulary its result would double the memory
    picked = (logits.gather(-1, targets[:, None]).squeeze(-1) - logits.logsumexp(-1)).double()
    agrees = (logits.argmax(-1) == targets).tolist()
    counts = learn.sum(1).tolist()
    scored = []
    for values, hits in zip(picked.split(counts), _split(agrees, counts)):
        agreed = next((place for place, hit in enumerate(hits) if not hit), len(hits))
        scored.append(Scored(values.sum().item(), len(hits), agreed))
    return scored


def _greedy_outputs(model, codec: ChatCodec, prompts: list[list[int]], right: list[tuple[Scored, list[int]]], max_new_tokens: int, batch_size: int) -> list[str]:
    outputs = [""] * len(prompts)
    open_rows: list[int] = []
    for at, (score, answer) in enumerate(right):
        if score.agreed == len(answer) and len(answer) <= max_new_tokens:
            outputs[at] = codec.decode(answer)
        else:
            open_rows.append(at)
    starts = [right[at][1][: min(right[at][0].agreed, max_new_tokens)] for at in open_rows]
    ended = continue_greedily(model, codec, [prompts[at] for at in open_rows], starts, max_new_tokens, batch_size)
    for at, ids in zip(open_rows, ended):
        outputs[at] = codec.decode(ids)
    return outputs


def continue_greedily(model, codec: ChatCodec, prompts: list[list[int]], starts: list[list[int]], max_new_tokens: int, batch_size: int) -> list[list[int]]:
    """Greedy answer ids of each prompt, given the first tokens of that answer; at most `max_new_tokens` in all."""
    tokenizer = codec.tokenizer
    stops = stop_ids(tokenizer, model)
    results: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda at: (len(starts[at]), len(prompts[at])))
    for begin in range(0, len(order), batch_size):
        batch = order[begin : begin + batch_size]
        budget = max_new_tokens - min(len(starts[at]) for at in batch)
        if budget <= 0:
            for at in batch:
                results[at] = starts[at][:max_new_tokens]
            continue
        room = max(8, _context_limit(model) - budget)
        rows = [(prompts[at] + starts[at])[-room:] for at in batch]
        width = max(len(row) for row in rows)
        ids = torch.full((len(rows), width), tokenizer.pad_token_id, dtype=torch.long)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for line, row in enumerate(rows):
            ids[line, width - len(row) :] = torch.tensor(row)
            mask[line, width - len(row) :] = 1
        settings = GenerationConfig(do_sample=False, max_new_tokens=budget, eos_token_id=stops, pad_token_id=tokenizer.pad_token_id)
        produced = model.generate(input_ids=ids.to(model.device), attention_mask=mask.to(model.device), generation_config=settings)
        for at, new in zip(batch, produced[:, width:].tolist()):
            end = next((place + 1 for place, token in enumerate(new) if token in stops), len(new))
            results[at] = (starts[at] + new[:end])[:max_new_tokens]
    return results


def _filler_token(model) -> int:
    """Any token may stand behind the end of a row: causal attention never looks at it."""
    pad = getattr(model.config, "pad_token_id", None)
    return pad if isinstance(pad, int) and pad >= 0 else 0


def _context_limit(model) -> int:
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", 0) or 1 << 30)


def _precision(device: torch.device, dtype: torch.dtype | None):
    enabled = dtype is not None and dtype != torch.float32
    return torch.autocast(device.type, dtype=dtype if enabled else torch.bfloat16, enabled=enabled)


def _split(values: list, counts: list[int]) -> list[list]:
    edges = [0]
    for count in counts:
        edges.append(edges[-1] + count)
    return [values[begin:end] for begin, end in zip(edges, edges[1:])]
