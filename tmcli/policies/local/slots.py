"""Keys and values of many rows, in buffers that rows keep from turn to turn.

Each layer has two buffers; slot s belongs to one row. Shapes: slots S, key heads G, head size D, room R:

    keys    (S, G, D, R)      transposed: a product with it is twice as fast in bf16 on a CPU
    values  (S, G, R, D)

The rows that are decoded lie in the first slots, so that one view of a buffer holds them all. Buffers are
made when a layer first writes, and begin as zeros: what is masked must still be a number.
"""

from __future__ import annotations

import torch

GROWTH = 256
"""Room grows by multiples of this."""


class Slots:
    """The buffers of all layers."""

    def __init__(self) -> None:
        self.size = 0
        self.room = 0
        self.keys: dict[int, torch.Tensor] = {}
        self.values: dict[int, torch.Tensor] = {}

    def layer(self, index: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The buffers of a layer; `key` and `value`, (..., G, T, D), tell what it needs."""
        if index not in self.keys:
            n_heads, _, width = key.shape[-3:]
            self.keys[index] = key.new_zeros(self.size, n_heads, width, self.room)
            self.values[index] = value.new_zeros(self.size, value.shape[-3], self.room, value.shape[-1])
        return self.keys[index], self.values[index]

    def resize(self, size: int, room: int) -> None:
        """Hold this many rows of this length. Rows beyond are lost, the others are kept."""
        if (size, room) == (self.size, self.room):
            return
        kept, length = min(size, self.size), min(room, self.room)
        self.size, self.room = size, room
        for index, old in self.keys.items():
            self.keys[index] = old.new_zeros(size, *old.shape[1:3], room)
            self.keys[index][:kept, :, :, :length] = old[:kept, :, :, :length]
        for index, old in self.values.items():
            self.values[index] = old.new_zeros(size, old.shape[1], room, old.shape[3])
            self.values[index][:kept, :, :length] = old[:kept, :, :length]

    def copy(self, source: int, target: int, length: int) -> None:
        """Let `target` begin with what `source` begins with."""
        for keys, values in self._layers():
            keys[target, :, :, :length] = keys[source, :, :, :length]
            values[target, :, :length] = values[source, :, :length]

    def swap(self, one: int, other: int, length: int) -> None:
        """Exchange two rows of at most this length."""
        for keys, values in self._layers():
            for buffer in (keys[..., :length], values[:, :, :length]):
                kept = buffer[one].clone()
                buffer[one] = buffer[other]
                buffer[other] = kept

    def clear(self) -> None:
        """Give the memory back."""
        self.__init__()  # type: ignore[misc]

    def _layers(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [(keys, self.values[index]) for index, keys in self.keys.items()]
