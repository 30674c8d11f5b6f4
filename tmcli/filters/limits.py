"""How much is too much: characters, turns, tokens."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import UNSET

from tmcli.errors import InputError
from tmcli.filters.rounds import spelled
from tmcli.filters.view import View

Check = Callable[[View], str | None]


def too_long(most: int) -> Check:
    """More characters in the dialogue (texts and call arguments) than `most`."""

    def check(view: View) -> str | None:
        n = sum(len(message.content or "") for message in view.talk)
        for one in view.rounds:
            for call in one.message.tool_calls or ():
                n += len(spelled(None if (given := call.function.arguments) is UNSET else given))
        return f"{n} characters" if n > most else None

    return check


def too_many_turns(most: int) -> Check:
    """More assistant turns than `most`."""

    def check(view: View) -> str | None:
        return f"{len(view.steps)} turns" if len(view.steps) > most else None

    return check


def too_many_tokens(most: int, tokenizer: str | None) -> Check:
    """More tokens than `most`, as `tm sft` would train them: those that were sampled where the record holds
    them, else counted with `tokenizer`."""
    chat = None

    def count(view: View) -> int:
        nonlocal chat
        if tokenizer is None:
            tokens = view.tokens
            if tokens is None:
                raise InputError(
                    f"trajectory {view.id} has no tokens, and too_many_tokens counts them",
                    "name the model to be trained: --tokenizer MODEL",
                    field="tokens",
                )
            return len(tokens["ids"])
        if chat is None:
            from tmcli import model
            from tmcli.chat import Chat

            chat = Chat(model.load_tokenizer(tokenizer))
        return len(chat.encode_trajectory(view.trajectory)[0])

    def check(view: View) -> str | None:
        n = count(view)
        return f"{n} tokens" if n > most else None

    return check
