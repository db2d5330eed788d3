"""Random instances of recurrent layers, for the property tests of their declarations.

In: a sampler and the kind of layer.  Out: operands and attributes that fit each other.
"""

from __future__ import annotations

from headrace.ir.core import Value
from headrace.ir.dims import Dim
from headrace.ir.graph.cell_functions import CELL_FUNCTIONS
from headrace.ir.graph.families import Sampler
from headrace.ir.graph.recurrent import DIRECTIONS, Recurrent, Settings
from headrace.ir.graph.sampling import chance, pick
from headrace.ir.types import F32, I32, TensorType


class RecurrentSample:
    """What the operands of one instance have in common."""

    def __init__(self, sampler: Sampler, cls: type[Recurrent]) -> None:
        self.sampler = sampler
        self.hidden = pick(sampler, 1, 9)
        self.time, self.batch = sampler.dims(2)
        self.direction = str(sampler.rng.choice(list(DIRECTIONS)))
        self.directions = Dim.constant(DIRECTIONS[self.direction])
        self.functions = self._functions(cls)
        self.alphas = tuple(CELL_FUNCTIONS[f].alpha or 0.0 for f in self.functions)
        self.betas = tuple(CELL_FUNCTIONS[f].beta or 0.0 for f in self.functions)
        self.clip = 0.75 if chance(sampler, 0.3) else 0.0
        self.projected = self._tensor(self.time, self.batch, self.directions, Dim.constant(self.hidden * cls.gates))
        self.lengths = sampler.tensor(TensorType(I32, (self.batch,)), 0.0, 1.0) if chance(sampler, 0.4) else None

    @property
    def settings(self) -> Settings:
        """Direction, functions, their parameters, clip."""
        return self.direction, self.functions, self.alphas, self.betas, self.clip

    def matrix(self, gates: int) -> Value:
        """Weights of the state."""
        return self._tensor(self.directions, Dim.constant(self.hidden), Dim.constant(self.hidden * gates))

    def maybe_state(self) -> Value | None:
        """An initial state, or none."""
        given = chance(self.sampler, 0.6)
        return self._tensor(self.directions, self.batch, Dim.constant(self.hidden)) if given else None

    def maybe_vector(self, gates: int) -> Value | None:
        """A number for each gate's element, or none."""
        given = chance(self.sampler, 0.5)
        return self._tensor(self.directions, Dim.constant(self.hidden * gates)) if given else None

    def _functions(self, cls: type[Recurrent]) -> tuple[str, ...]:
        if chance(self.sampler, 0.5):
            return cls.defaults
        return tuple(str(self.sampler.rng.choice(list(CELL_FUNCTIONS))) for _ in cls.defaults)

    def _tensor(self, *dims: Dim) -> Value:
        return self.sampler.tensor(TensorType(F32, dims), -1.0, 1.0)
