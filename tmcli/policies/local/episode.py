"""One conversation as the model sees it: ids, which of them were sampled, and what is cached of them."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tmcli.policies import Finish
from tmcli.policies.dialogue import Row


@dataclass(slots=True, eq=False)
class Episode(Row):
    """The state of one conversation."""

    number: int
    """Conversations are counted as they open: a row's rank among those that come at once."""
    seed: int
    n_cached: int = 0
    """`ids[:n_cached]` have keys and values in the episode's slot."""
    n_before: int = 0
    """Length of `ids` when the turn that is being said began."""
    finish: Finish | None = None
    """How that turn ended; None: it has not."""
    may_end: bool = False
    """Was a call or an answer closed in that turn, and none opened since?"""
    is_closed: bool = False

    def begin(self) -> None:
        """The next turn is wanted."""
        self.n_before = len(self.ids)
        self.finish = None
        self.may_end = False

    @property
    def said(self) -> list[int]:
        """What was sampled of this turn."""
        return self.ids[self.n_before :]

    def draw(self) -> float:
        """The random number of the next token: seed, task, sample and position decide, not the batch."""
        return random.Random(self.seed + len(self.ids)).random()
