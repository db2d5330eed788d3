"""Basic blocks of LLVM IR under construction.  In: instructions, one line each.  Out: the text of a function's body.

A block stays open for more lines after its end is known, and a phi for more sources: what is hoisted out of a
loop is found while the loop is being printed.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Phi:
    """`name = phi type [value, block], ...`."""

    name: str
    type: str
    sources: list[tuple[str, str]]  # (value, name of the block it comes from)

    def text(self) -> str:
        listed = ", ".join(f"[ {value}, %{block} ]" for value, block in self.sources)
        return f"{self.name} = phi {self.type} {listed}"


@dataclass(slots=True)
class Block:
    """Lines between a label and a terminator."""

    name: str
    phis: list[Phi] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    end: str = ""

    def text(self) -> str:
        assert self.end, f"block {self.name} has no terminator"
        body = [*(phi.text() for phi in self.phis), *self.lines, self.end]
        return "\n".join([f"{self.name}:", *(f"  {line}" for line in body)])
