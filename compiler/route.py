"""Which passes a target's module goes through: its own pipeline or the user's, with the user's passes put in.

In: what the user gives.  Out: a `Pipeline` for a target, and the options that the artefact records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from headrace.ir.errors import OptionError
from headrace.ir.pipeline import Pipeline
from headrace.targets import Target

Points = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Route:
    """`pipeline`: text, or the path of a `.pipeline` file, instead of the target's own; `before`, `after`: pairs of a
    pass in it and the pipeline text of what to run there too, in order."""

    pipeline: str | None = None
    before: Points = ()
    after: Points = ()

    def of(self, target: Target) -> Pipeline:
        """Raises PassError."""
        found = Pipeline.read(target.pipeline()) if self.pipeline is None else _given(self.pipeline)
        for points, behind in ((self.before, False), (self.after, True)):
            for point, text in points:
                steps = Pipeline.parse(text, f"--{'after' if behind else 'before'} {point}").steps
                found = found.with_steps(point, steps, behind=behind)
        return found

    def options(self) -> Iterator[str]:
        """What decides the artefact's bytes, as `name=value`."""
        if self.pipeline is not None:
            yield f"pipeline={_given(self.pipeline)}"
        yield from (f"before {point}={Pipeline.parse(text, point)}" for point, text in self.before)
        yield from (f"after {point}={Pipeline.parse(text, point)}" for point, text in self.after)


def _given(pipeline: str) -> Pipeline:
    return Pipeline.read(pipeline) if pipeline.endswith(".pipeline") else Pipeline.parse(pipeline, "--pipeline")


def point(option: str, text: str) -> tuple[str, str]:
    """`graph.cluster=graph.my-pass` as (pass, pipeline).  Raises OptionError."""
    name, equals, steps = text.partition("=")
    if not (name and equals and steps):
        raise OptionError(f"{option} {text!r}: expected PASS=PIPELINE")
    return name.strip(), steps
