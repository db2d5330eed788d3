"""Equal bits for any number of threads, where batches are large enough for threads to share the work."""

from pathlib import Path

import numpy as np

from headrace.compiler.demo_data import held_back, model_path, preprocess
from headrace.compiler.driver import compile
from headrace.runtime.python import load


def test_as_many_threads_as_there_are_give_the_same_bits(tmp_path: Path) -> None:
    compile(model_path(), output=tmp_path / "m.hrm")
    image = preprocess(np.tile(held_back()[0], (3, 1, 1))[:500])
    (expected,) = load(tmp_path / "m.hrm", threads=1).run({"image": image}).values()
    for threads in (2, 3, 4):
        session = load(tmp_path / "m.hrm", threads=threads, record=True)
        for _ in range(5):
            (found,) = session.run({"image": image}).values()
            assert found.tobytes() == expected.tobytes()
        works = [(r.flops or 0) + (r.bytes or 0) for r in session.take_records()]
        assert max(works) > 128_000 * threads  # so that all of them have a part in it
