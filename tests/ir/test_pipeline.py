"""Pipelines as text and as files; options by the types of a pass's fields."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.ir.errors import PassError
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.pipeline import Pipeline, Step, pass_of, step_of
from headrace.ir.rewrite import Rewriter


@dataclass(frozen=True)
class Everything(Pass):
    """A pass with options of every type."""

    func: str
    max_ops: int = 32
    by: tuple[int, ...] = ()
    pair: tuple[str, float] = ("a", 1.5)
    kind: Literal["task", "vector"] = "task"
    fast: bool = False
    limit: float | None = None
    axes: tuple[str, ...] | None = None

    name = "test.everything"
    summary = "nothing"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        """Does nothing."""


def find(name: str) -> type[Pass]:
    assert name == "test.everything"
    return Everything


def made(options: str) -> Pass:
    (step,) = Pipeline.parse(f"test.everything{{{options}}}").steps
    return pass_of(step, find)


FILE = """# What runs.
define cleanup = graph.cse,   # a comma at the end of a line goes on
                 graph.dce

define twice = cleanup, cleanup
graph.a
twice
graph.fuse{max-ops=32, by=[6 64]}, kernel.lower  # two on one line
graph.long{one=1
           two="a b"}
"""


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "my.pipeline"
    path.write_text(FILE)
    pipeline = Pipeline.read(path)
    assert str(pipeline) == (
        "graph.a,graph.cse,graph.dce,graph.cse,graph.dce,graph.fuse{max-ops=32 by=[6 64]},kernel.lower,"
        'graph.long{one=1 two="a b"}'
    )
    assert Pipeline.parse(str(pipeline)) == pipeline


def test_included_files(tmp_path: Path) -> None:
    """From the folder of the file that names them, as if their text stood there; what they define is known after them."""
    (tmp_path / "below").mkdir()
    (tmp_path / "my.pipeline").write_text('graph.a\ninclude below/one.pipeline  # both\ninclude "x"\ncleanup')
    (tmp_path / "x").write_text("graph.d")
    (tmp_path / "below/one.pipeline").write_text("define cleanup = graph.c\ninclude two.pipeline")
    (tmp_path / "below/two.pipeline").write_text("graph.b, cleanup\n")
    assert str(Pipeline.read(tmp_path / "my.pipeline")) == "graph.a,graph.b,graph.c,graph.d,graph.c"


INCLUDES = [
    ("include none.pipeline", r"my\.pipeline:1:9: include .*none\.pipeline: no such file or directory$"),
    ("include no.such/a.pipeline", r"my\.pipeline:1:9: include .*no\.such/a\.pipeline: no such file or directory$"),
    ("include headrace.errors/a", r"my\.pipeline:1:9: include .*headrace\.errors/a: no such file or directory$"),
    ("include ../a/", r"my\.pipeline:1:9: include .*: no such file or directory$"),
    ('include "\\u0000"', r"my\.pipeline:1:9: include .*: embedded null byte$"),
    ("include .", r"my\.pipeline:1:9: include .*: is a directory$"),
    ("\ninclude my.pipeline", r"my\.pipeline:2:9: include my\.pipeline: .*my\.pipeline would include itself$"),
    ("include back.pipeline", r"back\.pipeline:1:9: include my\.pipeline: .*my\.pipeline would include itself$"),
    ("include wrong.pipeline", r"wrong\.pipeline:2:1: no sub-pipeline 'cleanup' above"),
    ("define x = graph.a\ninclude twice.pipeline", r"twice\.pipeline:1:8: sub-pipeline 'x' is defined twice$"),
    ("include a.pipeline, graph.b", r"my\.pipeline:1:19: found ',', expected a line break or the end$"),
    ("include  # nothing", r"my\.pipeline:1:19: found the end, expected a path or a string$"),
]


@pytest.mark.parametrize(("text", "message"), INCLUDES)
def test_files_that_cannot_be_included(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "my.pipeline").write_text(text)
    (tmp_path / "back.pipeline").write_text("include my.pipeline")
    (tmp_path / "wrong.pipeline").write_text("graph.a\ncleanup")
    (tmp_path / "twice.pipeline").write_text("define x = graph.b")
    with pytest.raises(PassError, match=message):
        Pipeline.read(tmp_path / "my.pipeline")


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "\n\n  # a\n\n", "define x = graph.a\n"])
def test_nothing_to_run(text: str) -> None:
    assert Pipeline.parse(text) == Pipeline()


words = st.text('abcxyz019._-+ é"\\[]{}=,#', max_size=5)
values = st.recursive(words, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)
names = st.from_regex(r"[a-z][a-z-]{0,4}", fullmatch=True)
steps = st.builds(Step, st.sampled_from(["graph.a-b", "kernel.c"]), st.lists(st.tuples(names, values)).map(tuple))


@given(st.lists(steps, max_size=3))
def test_round_trip(listed: list[Step]) -> None:
    pipeline = Pipeline(tuple(listed))
    assert Pipeline.parse(str(pipeline)) == pipeline


OPTIONS = [
    ("func=f", Everything("f")),
    ("func=f max-ops=8", Everything("f", max_ops=8)),
    ("func=f, max_ops=-8", Everything("f", max_ops=-8)),
    ("func=f by=[6, 64]", Everything("f", by=(6, 64))),
    ("func=f by=[6 64]", Everything("f", by=(6, 64))),
    ("func=f by=6", Everything("f", by=(6,))),
    ("func=f by=[]", Everything("f")),
    ("func=f pair=[b 2]", Everything("f", pair=("b", 2.0))),
    ("func=f kind=vector fast=true", Everything("f", kind="vector", fast=True)),
    ("func=f limit=1e-3", Everything("f", limit=1e-3)),
    ("func=f limit=none axes=none", Everything("f")),
    ('func="two words" axes=[i j]', Everything("two words", axes=("i", "j"))),
]


@pytest.mark.parametrize(("options", "expected"), OPTIONS)
def test_options(options: str, expected: Everything) -> None:
    assert made(options) == expected
    assert pass_of(step_of(expected), find) == expected


WRONG = [
    ("", "test.everything: option func is missing, expected a word"),
    ("func=f max-op=3", "test.everything: no option 'max-op'; did you mean 'max-ops'?"),
    ("func=f zzz=3", "test.everything: no option 'zzz'; it has func, max-ops, by, pair, kind, fast, limit, axes"),
    ("func=f func=g", "test.everything: option func is given twice"),
    ("func=f max-ops=many", "test.everything: option max-ops is many, expected an integer"),
    ("func=f max-ops=[1]", "test.everything: option max-ops is [1], expected an integer"),
    ("func=f by=[1 x]", "test.everything: option by is [1 x], expected a list of: an integer"),
    ("func=f pair=[b]", "test.everything: option pair is [b], expected [a word, a number]"),
    ("func=f kind=grid", "test.everything: option kind is grid, expected one of task, vector"),
    ("func=f fast=1", "test.everything: option fast is 1, expected true or false"),
    ("func=f limit=x", "test.everything: option limit is x, expected a number or none"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_options(options: str, message: str) -> None:
    with pytest.raises(PassError) as caught:
        made(options)
    assert str(caught.value) == message


SYNTAX: list[tuple[str, str]] = [
    ("graph.a,", "p:1:9: found the end, expected a name or a pass like graph.cse"),
    ("graph.a graph.b", "p:1:9: found 'graph.b', expected ',' or '{' or a line break or the end"),
    ("graph.a{by=}", "p:1:12: found '}', expected '[' or a string or a value"),
    ("graph.a{by=1", "p:1:13: found the end, expected ',' or '}' or a name"),
    ("\ngraph.a{$}", "p:2:9: found '$', expected '}' or a name"),
    ("cleanup", "p:1:1: no sub-pipeline 'cleanup' above; passes are named like graph.cse"),
    (
        "define cleanup = graph.a\ncleanpu",
        "p:2:1: no sub-pipeline 'cleanpu' above; passes are named like graph.cse; did you mean 'cleanup'?",
    ),
    ("define a = graph.a\ndefine a = graph.b", "p:2:8: sub-pipeline 'a' is defined twice"),
    ('graph.a{x="\\q"}', 'p:1:11: string "\\q": invalid \\escape'),
]


@pytest.mark.parametrize(("text", "message"), SYNTAX)
def test_wrong_text(text: str, message: str) -> None:
    with pytest.raises(PassError) as caught:
        Pipeline.parse(text, "p")
    assert str(caught.value).startswith(message), str(caught.value)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(PassError, match=r"none\.pipeline: no such file or directory"):
        Pipeline.read(tmp_path / "none.pipeline")
    (tmp_path / "x.pipeline").write_bytes(b"\xff")
    with pytest.raises(PassError, match="no UTF-8; expected a pipeline as text"):
        Pipeline.read(tmp_path / "x.pipeline")


def test_steps_are_values() -> None:
    options: tuple[tuple[str, Any], ...] = (("by", ("6", "64")),)
    assert {Step("graph.a", options): 1}[Step("graph.a", options)] == 1
