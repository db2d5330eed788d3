"""Formulas in C, in int64_t.  In: a `Dim` and the C names of its symbols.  Out: an expression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.ir.dims import Dim, fold


@dataclass(frozen=True, slots=True)
class _Text:
    """Folds a formula to text; every part is wrapped where C's precedence asks for it."""

    names: Mapping[str, str]

    def constant(self, value: int) -> str:
        return str(value) if -(1 << 31) < value < 1 << 31 else f"INT64_C({value})"

    def symbol(self, name: str) -> str:
        return self.names[name]

    def add(self, parts: list[str]) -> str:
        return f"({' + '.join(parts)})"

    def mul(self, parts: list[str]) -> str:
        return "*".join(parts)

    def floordiv(self, left: str, right: str) -> str:
        return f"hr_floordiv({left}, {right})"

    def mod(self, left: str, right: str) -> str:
        return f"hr_mod({left}, {right})"

    def minimum(self, parts: list[str]) -> str:
        return self._nested("hr_least", parts)

    def maximum(self, parts: list[str]) -> str:
        return self._nested("hr_most", parts)

    @staticmethod
    def _nested(name: str, parts: list[str]) -> str:
        text = parts[0]
        for part in parts[1:]:
            text = f"{name}({text}, {part})"
        return text


def c_formula(dim: Dim, names: Mapping[str, str]) -> str:
    """The formula as a C expression of type int64_t (or int, where it is a small constant)."""
    text = fold(dim, _Text(names))
    return text[1:-1] if text.startswith("(") and text.endswith(")") and _one_group(text) else text


def _one_group(text: str) -> bool:
    """Whether the first parenthesis closes at the very end."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return place == len(text) - 1
    return False


HELPERS = """\
static inline int64_t hr_floordiv(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

static inline int64_t hr_mod(int64_t a, int64_t b) {
    return a % b + (a % b < 0 ? b : 0);
}

static inline int64_t hr_least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline int64_t hr_most(int64_t a, int64_t b) {
    return a > b ? a : b;
}
"""
