"""Formulas from text: `batch*3 + 4`, `(i*2 + 1) floordiv 4`, `x mod 8`, `min(a, b)`, `max(a, b)`, `-x`.

`*`, `floordiv` and `mod` bind alike, from the left, tighter than + and -.  In: text.  Out: a `Dim`.
"""

from __future__ import annotations

import re

from headrace.ir.dims.expr import Dim, apply
from headrace.ir.errors import DimError

_TOKEN = re.compile(r"\s*(?:(\d+)|([A-Za-z_][A-Za-z0-9_]*)|([-+*(),]))")


def parse_dim(text: str) -> Dim:
    """The formula that `text` says.  Raises DimError with the column of the first thing that does not belong."""
    parser = _Parser(text)
    dim = parser.sum()
    if parser.token is not None:
        raise parser.wrong("the end or an operator")
    return dim


def as_dim(value: int | str | Dim) -> Dim:
    """A formula from a number, text or formula.  Raises DimError as `parse_dim` does."""
    if isinstance(value, Dim):
        return value
    return parse_dim(value) if isinstance(value, str) else Dim.constant(value)


class _Parser:
    """One token of lookahead over the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.end = 0
        self.start = 0
        self.token: str | None = None
        self.advance()

    def advance(self) -> None:
        if not self.text[self.end :].strip():
            self.start, self.token = len(self.text), None
            return
        match = _TOKEN.match(self.text, self.end)
        if match is None:
            self.start = self.end + len(self.text[self.end :]) - len(self.text[self.end :].lstrip())
            raise DimError(f"formula {self.text!r}, column {self.start + 1}: unexpected {self.text[self.start]!r}")
        self.token = match.group(1) or match.group(2) or match.group(3)
        self.end = match.end()
        self.start = self.end - len(self.token)

    def wrong(self, expected: str) -> DimError:
        found = "the end" if self.token is None else repr(self.token)
        return DimError(f"formula {self.text!r}, column {self.start + 1}: found {found}, expected {expected}")

    def take(self, token: str) -> None:
        if self.token != token:
            raise self.wrong(repr(token))
        self.advance()

    def sum(self) -> Dim:
        total = self.product()
        while self.token in ("+", "-"):
            sign = self.token
            self.advance()
            part = self.product()
            total = total + part if sign == "+" else total - part
        return total

    def product(self) -> Dim:
        left = self.unary()
        while self.token in ("*", "floordiv", "mod"):
            kind = self.token
            self.advance()
            right = self.unary()
            left = left * right if kind == "*" else apply(kind, [left, right])
        return left

    def unary(self) -> Dim:
        token = self.token
        if token == "-":
            self.advance()
            return -self.unary()
        if token == "(":
            self.advance()
            inner = self.sum()
            self.take(")")
            return inner
        if token is None or token in "+*),":
            raise self.wrong("a number, a symbol or '('")
        self.advance()
        if token.isdigit():
            return Dim.constant(int(token))
        if token in ("min", "max") and self.token == "(":
            return apply(token, self.arguments())
        return Dim.symbol(token)

    def arguments(self) -> list[Dim]:
        self.take("(")
        found = [self.sum()]
        while self.token == ",":
            self.advance()
            found.append(self.sum())
        self.take(")")
        return found
