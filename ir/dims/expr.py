"""`Dim`: an integer formula in canonical form.

In: ints, symbol names and the operators + - * // % with floor semantics, `dim_min`, `dim_max`, `ceildiv`.  Out:
polynomials with integer coefficients over *atoms*: symbols, and compounds (floordiv, mod, min, max) of formulas.
Terms are sorted and merged, so that formulas that are equal by the rules below are equal objects in `==`:

    (6*i + j) floordiv 6 = i + j floordiv 6        (6*i + j) mod 6 = j mod 6
    (4*i + 2) floordiv 6 = (2*i + 1) floordiv 3    (x floordiv 4) floordiv 2 = x floordiv 8
    (4*i + 1) mod 6 = 2*((2*i) mod 3) + 1          min(a + 1, a, b) = min(a, b)
    max(min(a, b), b) = b
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from math import gcd
from typing import Any

import numpy as np

from headrace.ir.errors import DimError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Compound:
    """An atom that is no symbol: `kind` applied to formulas."""

    __slots__ = ("arguments", "hash", "kind", "text")

    def __init__(self, kind: str, arguments: tuple[Dim, ...]) -> None:
        self.kind = kind
        self.arguments = arguments
        if kind in ("min", "max"):
            self.text = f"{kind}({', '.join(str(a) for a in arguments)})"
        else:
            self.text = f"{_wrapped(arguments[0])} {kind} {_wrapped(arguments[1])}"
        self.hash = hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Compound) and self.text == other.text

    def __hash__(self) -> int:
        return self.hash


Atom = str | Compound
Monomial = tuple[tuple[Atom, int], ...]


def _atom_key(atom: Atom) -> tuple[int, str]:
    return (0, atom) if isinstance(atom, str) else (1, atom.text)


def _monomial_key(monomial: Monomial) -> tuple[int, tuple[tuple[tuple[int, str], int], ...]]:
    return (-sum(p for _, p in monomial), tuple((_atom_key(a), p) for a, p in monomial))


class Dim:
    """An immutable integer formula; equality is structural, and cheap."""

    __slots__ = ("_compiled", "_hash", "_symbols", "_text", "terms")

    terms: tuple[tuple[Monomial, int], ...]

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        """For this module; use `constant`, `symbol` and the operators."""
        self.terms = terms
        self._hash: int | None = None
        self._symbols: tuple[str, ...] | None = None
        self._text: str | None = None
        self._compiled: Callable[..., Any] | None = None

    @staticmethod
    def constant(value: int) -> Dim:
        return _constant(int(value))

    @staticmethod
    def symbol(name: str) -> Dim:
        """Raises DimError for a name that is no identifier."""
        if not _NAME.match(name):
            raise DimError(f"symbol {name!r}: expected letters, digits and underscores, no digit first")
        return Dim(((((name, 1),), 1),))

    @property
    def is_constant(self) -> bool:
        return not self.terms or (len(self.terms) == 1 and not self.terms[0][0])

    @property
    def value(self) -> int:
        """The number, for a constant.  Raises DimError otherwise."""
        if not self.is_constant:
            raise DimError(f"{self} is no constant")
        return self.terms[0][1] if self.terms else 0

    @property
    def offset(self) -> int:
        """The constant term."""
        return self.terms[-1][1] if self.terms and not self.terms[-1][0] else 0

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the symbols, inside compounds too; sorted."""
        if self._symbols is None:
            found: set[str] = set()
            for monomial, _ in self.terms:
                for atom, _ in monomial:
                    if isinstance(atom, str):
                        found.add(atom)
                    else:
                        for argument in atom.arguments:
                            found.update(argument.symbols)
            self._symbols = tuple(sorted(found))
        return self._symbols

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int):
            return self.is_constant and self.value == other
        return isinstance(other, Dim) and self.terms == other.terms

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(self.value) if self.is_constant else hash(self.terms)
        return self._hash

    def __add__(self, other: DimLike) -> Dim:
        right = _dim(other)
        if not right.terms:
            return self
        merged = dict(self.terms)
        for monomial, factor in right.terms:
            merged[monomial] = merged.get(monomial, 0) + factor
        return _from(merged)

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return Dim(tuple((m, -c) for m, c in self.terms))

    def __sub__(self, other: DimLike) -> Dim:
        return self + -_dim(other)

    def __rsub__(self, other: DimLike) -> Dim:
        return _dim(other) + -self

    def __mul__(self, other: DimLike) -> Dim:
        right = _dim(other)
        if right.is_constant:
            factor = right.value
            return Dim(tuple((m, c * factor) for m, c in self.terms)) if factor else ZERO
        merged: dict[Monomial, int] = {}
        for m, c in self.terms:
            for n, d in right.terms:
                product = _times(m, n)
                merged[product] = merged.get(product, 0) + c * d
        return _from(merged)

    __rmul__ = __mul__

    def __floordiv__(self, other: DimLike) -> Dim:
        return _floordiv(self, _dim(other))

    def __rfloordiv__(self, other: DimLike) -> Dim:
        return _floordiv(_dim(other), self)

    def __mod__(self, other: DimLike) -> Dim:
        return _mod(self, _dim(other))

    def __rmod__(self, other: DimLike) -> Dim:
        return _mod(_dim(other), self)

    def substitute(self, values: Mapping[str, DimLike]) -> Dim:
        """Replaces symbols by formulas, all at once."""
        if not any(s in values for s in self.symbols):
            return self
        total = ZERO
        for monomial, factor in self.terms:
            product = _constant(factor)
            for atom, power in monomial:
                base = _substitute_atom(atom, values)
                for _ in range(power):
                    product = product * base
            total = total + product
        return total

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """The number for given symbol values; numpy int64 arrays broadcast.  Raises DimError for a missing one."""
        if self._compiled is None:
            names = ", ".join(_variable(s) for s in self.symbols)
            self._compiled = eval(f"lambda {names}: {_python(self)}", {"_min": _minimum, "_max": _maximum})
        try:
            arguments = [values[s] for s in self.symbols]
        except KeyError as error:
            raise DimError(f"{self}: no value for symbol {error.args[0]!r}") from None
        try:
            return self._compiled(*arguments)
        except ZeroDivisionError:
            raise DimError(f"{self}: division by zero") from None

    def linear(self, symbol: str) -> tuple[Dim, Dim] | None:
        """(coefficient, rest) with self = coefficient * symbol + rest, neither mentioning it; None if not so."""
        with_it: dict[Monomial, int] = {}
        rest: dict[Monomial, int] = {}
        for monomial, factor in self.terms:
            power = 0
            others = []
            for atom, exponent in monomial:
                if atom == symbol:
                    power = exponent
                elif isinstance(atom, Compound) and any(symbol in a.symbols for a in atom.arguments):
                    return None
                else:
                    others.append((atom, exponent))
            if power > 1:
                return None
            (with_it if power else rest)[tuple(others)] = factor
        return _from(with_it), _from(rest)

    def __str__(self) -> str:
        if self._text is None:
            self._text = _text(self)
        return self._text

    def __repr__(self) -> str:
        return f"Dim({str(self)!r})"


DimLike = int | Dim


def _dim(value: DimLike) -> Dim:
    return value if isinstance(value, Dim) else _constant(int(value))


_SMALL: dict[int, Dim] = {}


def _constant(value: int) -> Dim:
    if -64 <= value <= 4096:
        found = _SMALL.get(value)
        if found is None:
            found = _SMALL[value] = Dim((((), value),) if value else ())
        return found
    return Dim((((), value),))


ZERO = _constant(0)


def _from(merged: Mapping[Monomial, int]) -> Dim:
    terms = [(m, c) for m, c in merged.items() if c]
    if not terms:
        return ZERO
    if len(terms) == 1 and not terms[0][0]:
        return _constant(terms[0][1])
    return Dim(tuple(sorted(terms, key=lambda t: _monomial_key(t[0]))))


def _times(left: Monomial, right: Monomial) -> Monomial:
    if not left or not right:
        return left or right
    powers = dict(left)
    for atom, power in right:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(sorted(powers.items(), key=lambda p: _atom_key(p[0])))


def _atomic(kind: str, *arguments: Dim) -> Dim:
    return Dim(((((Compound(kind, arguments), 1),), 1),))


def _single(dim: Dim, kind: str) -> Compound | None:
    """The compound, if the formula is exactly one of that kind."""
    if len(dim.terms) == 1 and dim.terms[0][1] == 1 and len(dim.terms[0][0]) == 1:
        atom, power = dim.terms[0][0][0]
        if power == 1 and isinstance(atom, Compound) and atom.kind == kind:
            return atom
    return None


def _divided(dim: Dim, by: Dim) -> tuple[Dim, Dim]:
    """(quotient, rest) with dim = quotient * by + rest, by term-wise exact division; `by` one term or a constant."""
    if len(by.terms) != 1:
        return (_constant(1), ZERO) if dim == by else (ZERO, dim)
    divisor, factor = by.terms[0]
    quotient: dict[Monomial, int] = {}
    rest: dict[Monomial, int] = {}
    for monomial, coefficient in dim.terms:
        powers = dict(monomial)
        fits = coefficient % factor == 0
        for atom, power in divisor:
            if powers.get(atom, 0) < power:
                fits = False
                break
            powers[atom] -= power
        if fits:
            left = tuple((a, p) for a, p in powers.items() if p)
            quotient[left] = quotient.get(left, 0) + coefficient // factor
        else:
            rest[monomial] = coefficient
    return _from(quotient), _from(rest)


def _check_divisor(by: Dim) -> None:
    if by.is_constant and by.value <= 0:
        raise DimError(f"division by {by}; expected a positive divisor")


def _floordiv(dim: Dim, by: Dim) -> Dim:
    _check_divisor(by)
    if dim.is_constant and by.is_constant:
        return _constant(dim.value // by.value)
    quotient, rest = _divided(dim, by)
    if not by.is_constant:
        return quotient if not rest.terms else quotient + _atomic("floordiv", rest, by)
    divisor = by.value
    whole, left = divmod(rest.offset, divisor)
    quotient = quotient + whole
    variable = rest - rest.offset
    if not variable.terms:
        return quotient
    common = gcd(divisor, *(c for _, c in variable.terms))
    if common > 1:
        variable = Dim(tuple((m, c // common) for m, c in variable.terms))
        return quotient + _floordiv(variable + left // common, _constant(divisor // common))
    inner = _single(variable, "floordiv")
    if inner is not None and inner.arguments[1].is_constant:
        step = inner.arguments[1].value
        return quotient + _floordiv(inner.arguments[0] + left * step, _constant(step * divisor))
    return quotient + _atomic("floordiv", variable + left, by)


def _mod(dim: Dim, by: Dim) -> Dim:
    _check_divisor(by)
    if dim.is_constant and by.is_constant:
        return _constant(dim.value % by.value)
    _, rest = _divided(dim, by)
    if not rest.terms:
        return ZERO
    if not by.is_constant:
        return _atomic("mod", rest, by)
    divisor = by.value
    left = rest.offset % divisor
    variable = rest - rest.offset
    if not variable.terms:
        return _constant(left)
    common = gcd(divisor, *(c for _, c in variable.terms))
    if common > 1:
        variable = Dim(tuple((m, c // common) for m, c in variable.terms))
        return _mod(variable + left // common, _constant(divisor // common)) * common + left % common
    inner = _single(variable, "mod")
    if inner is not None and inner.arguments[1].is_constant and inner.arguments[1].value % divisor == 0:
        return _mod(inner.arguments[0] + left, by)
    return _atomic("mod", variable + left, by)


def _extreme(kind: str, dims: Sequence[DimLike]) -> Dim:
    flat: list[Dim] = []
    for dim in dims:
        single = _single(_dim(dim), kind)
        flat += single.arguments if single is not None else [_dim(dim)]
    if not flat:
        raise DimError(f"{kind} of nothing")
    kept: dict[Dim, int] = {}  # formula without its constant term -> the constant that wins
    for dim in flat:
        base, offset = dim - dim.offset, dim.offset
        known = kept.get(base)
        wins = known is None or (offset < known if kind == "min" else offset > known)
        if wins:
            kept[base] = offset
    found = sorted((base + offset for base, offset in kept.items()), key=str)
    found = [d for d in found if not _is_absorbed(d, "max" if kind == "min" else "min", found)]
    return found[0] if len(found) == 1 else _atomic(kind, *found)


def _is_absorbed(dim: Dim, kind: str, others: Sequence[Dim]) -> bool:
    """max(min(a, b), b) = b, and the other way round: whether `dim` is such a `kind` of one of the others."""
    inner = _single(dim, kind)
    return inner is not None and any(argument in others for argument in inner.arguments)


def dim_min(*dims: DimLike) -> Dim:
    """The smallest."""
    return _extreme("min", dims)


def dim_max(*dims: DimLike) -> Dim:
    """The largest."""
    return _extreme("max", dims)


def ceildiv(dim: DimLike, by: DimLike) -> Dim:
    """dim / by, rounded up."""
    return (_dim(dim) + _dim(by) - 1) // _dim(by)


def apply(kind: str, arguments: Sequence[Dim]) -> Dim:
    """The canonical form of a compound."""
    match kind:
        case "floordiv":
            return arguments[0] // arguments[1]
        case "mod":
            return arguments[0] % arguments[1]
        case "min":
            return dim_min(*arguments)
        case _:
            return dim_max(*arguments)


def _substitute_atom(atom: Atom, values: Mapping[str, DimLike]) -> Dim:
    if isinstance(atom, str):
        return _dim(values[atom]) if atom in values else Dim.symbol(atom)
    return apply(atom.kind, [a.substitute(values) for a in atom.arguments])


# ---- text and numbers ------------------------------------------------------------------------------------------


def _wrapped(dim: Dim) -> str:
    text = str(dim)
    plain = re.fullmatch(r"\w+|(min|max)\([^()]*\)", text) is not None
    return text if plain else f"({text})"


def _text(dim: Dim) -> str:
    if not dim.terms:
        return "0"
    parts: list[str] = []
    for monomial, factor in dim.terms:
        sign = " - " if factor < 0 else " + "
        leading = not parts and factor < 0
        parts += [sign if parts else ("-" if leading else ""), _term(monomial, abs(factor), leading)]
    return "".join(parts)


def _term(monomial: Monomial, factor: int, negated: bool) -> str:
    factors = []
    for atom, power in monomial:
        if isinstance(atom, str):
            text = atom
        else:
            alone = len(monomial) == 1 and power == 1 and factor == 1 and not negated
            text = atom.text if alone or atom.kind in ("min", "max") else f"({atom.text})"
        factors += [text] * power
    if factor != 1 or not factors:
        factors.append(str(factor))
    return "*".join(factors)


def _minimum(*values: Any) -> Any:
    return min(values) if all(isinstance(v, int) for v in values) else reduce(np.minimum, values)


def _maximum(*values: Any) -> Any:
    return max(values) if all(isinstance(v, int) for v in values) else reduce(np.maximum, values)


def _python(dim: Dim) -> str:
    words = {"floordiv": "//", "mod": "%", "min(": "_min(", "max(": "_max("}
    return re.sub(r"\b(min|max)\(|\b[^\W\d]\w*", lambda found: words.get(found[0]) or _variable(found[0]), str(dim))


def _variable(symbol: str) -> str:
    """A symbol may be called as a word of Python's."""
    return f"v{symbol}"
