"""Fresh names: each handed out once, as close as may be to what was wished for."""

from __future__ import annotations

from collections.abc import Iterable


class FreshNames:
    """Hands out names that are not `taken` yet.  Whoever knows of more names adds them to `taken`; none leaves it."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = set(taken)
        self._last: dict[str, int] = {}  # the number of a wish's last name: all before it are taken

    def fresh(self, wish: str) -> str:
        """`wish`, or the first of wish_1, wish_2, ... that is free; it is taken from now on."""
        name, number = wish, self._last.get(wish, 0)
        while name in self.taken:
            number += 1
            name = f"{wish}_{number}"
        self.taken.add(name)
        self._last[wish] = number
        return name
