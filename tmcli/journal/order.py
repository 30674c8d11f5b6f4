"""Which ids came, and when, in little memory: their hashes alone are kept.

>>> order = Order()
>>> order.add("a"), order.add("b"), order.add("a")
(True, True, False)
>>> order.number(key_of("b")), "b" in order, "c" in order
(1, True, False)

Two ids with one hash of 64 bits would be taken for one: among a million, with a chance of 3 in 10^8. A task's
id is 64 bits of a hash itself.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b


def key_of(name: str) -> int:
    """64 bits of a hash."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest())


class Order:
    """Ids in the order in which they came, about 20 bytes each: their keys in a row, and a table of where."""

    def __init__(self) -> None:
        self._keys = array("Q")
        self._table = array("I", bytes(4 * 8))
        """1 + the number of the key that ends in the bits of the place, or of one that found its place taken;
        0: free. At most two thirds are taken, so a free one is near."""

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.number(key_of(name)) is not None

    def number(self, key: int) -> int | None:
        """The how manieth the id with this key was, from 0; None: it never came."""
        number = self._table[self._place(key)]
        return number - 1 if number else None

    def add(self, name: str) -> bool:
        """The next one. False: it came before."""
        key = key_of(name)
        place = self._place(key)
        if self._table[place]:
            return False
        self._keys.append(key)
        self._table[place] = len(self._keys)
        if 3 * len(self._keys) > 2 * len(self._table):
            self._table = array("I", bytes(8 * len(self._table)))
            for number, one in enumerate(self._keys, 1):
                self._table[self._place(one)] = number
        return True

    def _place(self, key: int) -> int:
        """Where the key is in the table, or would be."""
        last = len(self._table) - 1
        place = key & last
        while (number := self._table[place]) and self._keys[number - 1] != key:
            place = (place + 1) & last
        return place


class Done(Order):
    """Trajectories that are there, and whether they are right."""

    def __init__(self) -> None:
        super().__init__()
        self._right = array("b")

    def put(self, name: str, right: bool | None) -> None:
        """One more that was not there; None: nobody can tell."""
        if self.add(name):
            self._right.append(-1 if right is None else right)

    def is_right(self, name: str) -> bool:
        """Is it there, and right?"""
        number = self.number(key_of(name))
        return number is not None and self._right[number] == 1
