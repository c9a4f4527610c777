"""From messages to token ids, in the one way that training, evaluation and serving share.

The prompt is what the chat template renders with `add_generation_prompt`; the answer is tokenised apart and closed with the
template's end-of-turn token. So the loss lies on exactly the tokens that the model will generate, and no `{% generation %}`
mark is needed in the template.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import RuntimeFault

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROBE = "clara-probe"


class ChatCodec:
    """Encodes conversations for one tokenizer; `end_ids` is what closes an answer (usually one token)."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self.tokenizer = tokenizer
        self.end_ids = [_end_of_turn(tokenizer)]
        self._prompts: dict[str, list[int]] = {}

    def prompts(self, conversations: list[list[dict]]) -> list[list[int]]:
        """Prompt ids of each conversation; raises RuntimeFault `data_invalid` where the template refuses its turns."""
        texts = [self._render(messages) for messages in conversations]
        missing = list({text for text in texts if text not in self._prompts})
        if missing:
            for text, ids in zip(missing, self._encode(missing)):
                self._prompts[text] = ids
        encoded = [self._prompts[text] for text in texts]
        if len(self._prompts) > 50_000:
            self._prompts.clear()
        return encoded

    def answers(self, responses: list[str]) -> list[list[int]]:
        """Answer ids with the end of turn."""
        return [ids + self.end_ids for ids in self._encode(responses)]

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip()

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []

    def _render(self, messages: list[dict]) -> str:
        try:
            return self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        except Exception as error:  # templates raise what they like, for example on a system turn
            raise RuntimeFault("data_invalid", f"the base's chat template refuses the turns {[m['role'] for m in messages]}: {error}") from error


def _end_of_turn(tokenizer: "PreTrainedTokenizerBase") -> int:
    """The first special token after an assistant's content, else the tokenizer's end token."""
    try:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": "?"}, {"role": "assistant", "content": PROBE}], tokenize=False, add_generation_prompt=False
        )
    except Exception:  # a template that cannot render a finished answer still has the tokenizer's own end token
        return tokenizer.eos_token_id
    after = tokenizer(text[text.rfind(PROBE) + len(PROBE) :], add_special_tokens=False)["input_ids"] if PROBE in text else []
    special = set(tokenizer.all_special_ids)
    return next((token for token in after if token in special), tokenizer.eos_token_id)


def stop_ids(tokenizer: "PreTrainedTokenizerBase", model) -> list[int]:
    """Every token that ends a generated answer."""
    configured = model.generation_config.eos_token_id if model.generation_config is not None else None
    found = configured if isinstance(configured, list) else [configured]
    return sorted({token for token in [*found, tokenizer.eos_token_id, _end_of_turn(tokenizer)] if token is not None})
