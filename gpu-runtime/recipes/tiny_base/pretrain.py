"""Model, optimisers and loop. Muon for the matrices and AdamW for the rest; the loss lies on assistant turns only."""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from .curriculum import EARLY_MIXTURE, EARLY_SHARE, MIXTURE, Curriculum, Turn
from .muon import Muon
from .tokenizer import letter_pieces, train_tokenizer
from .words import Words

DIALOGS_AT_ONCE = 384


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m recipes.tiny_base", description=__doc__)
    parser.add_argument("--out", required=True, help="folder of the finished base")
    parser.add_argument("--total-tokens", type=int, default=2_500_000, help="length of the training, padding included")
    parser.add_argument("--init", default="", help="go on from this base with its tokenizer, without the early mixture")
    parser.add_argument("--words", default="", help="word list, one a line (Debian's wamerican); default: the words of Python's manual")
    parser.add_argument("--exclude", default="", help="file of words that must not be drawn, so that test domains stay unseen")
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--feed-forward", type=int, default=512)
    parser.add_argument("--head-dim", type=int, default=32)
    parser.add_argument("--vocabulary", type=int, default=1536)
    parser.add_argument("--step-tokens", type=int, default=2560, help="tokens per step, padding included")
    parser.add_argument("--lr", type=float, default=2e-3, help="AdamW: embedding and norms")
    parser.add_argument("--muon-lr", type=float, default=0.02, help="Muon: matrices")
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=has_bf16(), help="autocast; a loss on CPUs without bf16 units (default: where they are)")
    parser.add_argument("--world", type=int, default=240, help="made-up facts that stay fixed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def has_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware (AVX-512 BF16 or AMX)."""
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def encode(tokenizer: PreTrainedTokenizerFast, dialogs: list[list[Turn]]) -> list[tuple[list[int], list[bool]]]:
    """ChatML ids of each dialog, and which of them are learnt."""
    segments: list[str] = []
    owners: list[tuple[int, bool]] = []
    for number, turns in enumerate(dialogs):
        pending = ""
        for role, text, learnt in turns:
            pending += f"<|im_start|>{role}\n"
            if not learnt:
                pending += f"{text}<|im_end|>\n"
                continue
            segments += [pending, f"{text}<|im_end|>"]
            owners += [(number, False), (number, True)]
            pending = "\n"
    encoded: list[tuple[list[int], list[bool]]] = [([], []) for _ in dialogs]
    for piece, (number, learnt) in zip(tokenizer.backend_tokenizer.encode_batch(segments), owners):
        encoded[number][0].extend(piece.ids)
        encoded[number][1].extend([learnt] * len(piece.ids))
    return encoded


def batches(curriculum: Curriculum, tokenizer: PreTrainedTokenizerFast, dice: random.Random, mixture, tokens: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of like length with about `tokens` tokens; every dialog starts at position 0, as when it is used."""
    while True:
        rows = sorted(encode(tokenizer, [curriculum.dialog(dice, mixture()) for _ in range(DIALOGS_AT_ONCE)]), key=lambda row: len(row[0]))
        groups: list[list[tuple[list[int], list[bool]]]] = [[]]
        for row in rows:
            if groups[-1] and (len(groups[-1]) + 1) * len(row[0]) > tokens:
                groups.append([])
            groups[-1].append(row)
        dice.shuffle(groups)
        for group in groups:
            width = max(len(ids) for ids, _ in group)
            inputs = torch.full((len(group), width), tokenizer.pad_token_id)
            learnt = torch.zeros((len(group), width), dtype=torch.bool)
            for line, (ids, mask) in enumerate(group):
                inputs[line, : len(ids)] = torch.tensor(ids)
                learnt[line, : len(ids)] = torch.tensor(mask)
            yield inputs, learnt


def new_model(options: argparse.Namespace, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    heads = options.hidden // options.head_dim
    config = Qwen3Config(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=options.hidden,
        intermediate_size=options.feed_forward,
        num_hidden_layers=options.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=options.head_dim,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen3ForCausalLM(config)


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    banned = set(Path(options.exclude).read_text(encoding="utf-8").split()) if options.exclude else set()
    words = Words(options.words, banned, options.seed)
    curriculum = Curriculum(words, options.world, options.seed)
    if options.init:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(options.init)
        model = Qwen3ForCausalLM.from_pretrained(options.init, dtype=torch.float32)
    else:
        tokenizer = train_tokenizer(curriculum, words, options.vocabulary, options.seed)
        model = new_model(options, tokenizer)
    words.pieces = letter_pieces(tokenizer)
    print(f"{sum(weight.numel() for weight in model.parameters()):,} parameters, vocabulary {len(tokenizer)}, {len(words.known)} words", flush=True)
    loss, steps, tokens = pretrain(options, model, curriculum, tokenizer)
    save(options, model, tokenizer, {"loss": round(loss, 4), "steps": steps, "tokens": tokens})
    return 0


def pretrain(options: argparse.Namespace, model: Qwen3ForCausalLM, curriculum: Curriculum, tokenizer: PreTrainedTokenizerFast) -> tuple[float, int, int]:
    """Train on `--total-tokens`; returns the mean loss of the last 50 steps, steps and tokens."""
    matrices = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and "embed" not in name]
    rest = [weight for name, weight in model.named_parameters() if weight.ndim != 2 or "embed" in name]
    optimizers = [
        torch.optim.AdamW(rest, lr=options.lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
        Muon(matrices, lr=options.muon_lr, dtype=torch.bfloat16 if options.bf16 else torch.float32),
    ]
    rates = [options.lr, options.muon_lr]
    begin = time.monotonic()
    done = 0.0
    source = batches(curriculum, tokenizer, random.Random(options.seed + 2), lambda: EARLY_MIXTURE if done < EARLY_SHARE and not options.init else MIXTURE, options.step_tokens)
    losses: list[float] = []
    tokens = 0
    model.train()
    while done < 1:
        # warm up, hold, then linear decay
        scale = min(1.0, (len(losses) + 1) / 40) * (1.0 if done < 0.4 else max(0.02, 1 - (done - 0.4) / 0.6))
        for optimizer, rate in zip(optimizers, rates):
            optimizer.param_groups[0]["lr"] = rate * scale
        inputs, learnt = next(source)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            hidden = model.model(input_ids=inputs).last_hidden_state[:, :-1][learnt[:, 1:]]
            logits = model.lm_head(hidden)
        loss = torch.nn.functional.cross_entropy(logits.float(), inputs[:, 1:][learnt[:, 1:]])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        tokens += inputs.numel()
        done = tokens / options.total_tokens
        if len(losses) % 50 == 0:
            print(f"step {len(losses)}: loss {sum(losses[-50:]) / 50:.3f}, {tokens / (time.monotonic() - begin):,.0f} tokens/s", flush=True)
    recent = losses[-50:]
    return sum(recent) / len(recent), len(losses), tokens


def save(options: argparse.Namespace, model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, figures: dict) -> None:
    model.eval()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.to(torch.float16).save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)
    out = Path(options.out)
    figures |= {"bytes": (out / "model.safetensors").stat().st_size, "args": vars(options)}
    (out / "pretrain.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures), flush=True)
