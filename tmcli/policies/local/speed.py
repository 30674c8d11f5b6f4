"""How fast a local policy generates."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Speed:
    """Tokens, and the seconds that the model worked on them. `policy.speed` counts for ever; take a copy
    (`dataclasses.replace(policy.speed)`) and subtract, to know of a part."""

    sampled: int = 0
    prefilled: int = 0
    """Not counted: what was kept from earlier turns, or copied from a row with the same beginning."""
    sample_s: float = 0.0
    prefill_s: float = 0.0
    steps: int = 0
    """Decoding steps."""

    def __sub__(self, earlier: Speed) -> Speed:
        return Speed(
            self.sampled - earlier.sampled,
            self.prefilled - earlier.prefilled,
            self.sample_s - earlier.sample_s,
            self.prefill_s - earlier.prefill_s,
            self.steps - earlier.steps,
        )
