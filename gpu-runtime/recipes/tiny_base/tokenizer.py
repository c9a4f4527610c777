"""A small byte-level BPE with ChatML marks, trained on dialogs of the curriculum."""

from __future__ import annotations

import random

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from .curriculum import MIXTURE, Curriculum
from .words import Words

MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m['role']=='assistant' %}{{'<|im_start|>assistant\n'}}{% generation %}{{m['content']+'<|im_end|>'}}{% endgeneration %}{{'\n'}}"
    "{% else %}{{'<|im_start|>'+m['role']+'\n'+m['content']+'<|im_end|>\n'}}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}{% endif %}"
)


def train_tokenizer(curriculum: Curriculum, words: Words, vocabulary: int, seed: int) -> PreTrainedTokenizerFast:
    dice = random.Random(seed + 1)
    dialogs = ["\n".join(text for _, text, _ in curriculum.dialog(dice, MIXTURE)) for _ in range(6000)]
    lists = [" " + " ".join(dice.sample(words.known, 8)) for _ in range(2500)]
    bpe = Tokenizer(models.BPE())
    # single digits: sums and codes are then read figure by figure
    bpe.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=MARKS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    bpe.train_from_iterator(dialogs + lists, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|pad|>", model_max_length=1024)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def letter_pieces(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """The vocabulary's lower-case letter pieces: words made of them teach copying piece by piece."""
    decoded = (tokenizer.decode([token]).strip() for token in range(len(MARKS), len(tokenizer)))
    return sorted({piece for piece in decoded if len(piece) >= 2 and piece.isalpha() and piece.islower()})
