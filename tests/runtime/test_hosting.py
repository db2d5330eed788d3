"""Drivers that Python hosts, run by the library as any other."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.runtime.python import (
    Call,
    DeviceError,
    Fault,
    HostedDriver,
    InputError,
    OutOfMemoryError,
    UnsupportedError,
    load,
)
from headrace.runtime.python.calling import open_driver


class Simulator(HostedDriver):
    """Runs kernels by their names; the image says how often."""

    name = "sim"

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.problem: Exception | None = None

    def load(self, image: bytes) -> int:
        if not image.startswith(b"sim"):
            raise ValueError("the image does not begin with 'sim'")
        return len(image)

    def launch(self, module: Any, call: Call) -> Fault | None:
        self.calls.append(f"{call.name} {call.tasks}")
        if self.problem is not None:
            raise self.problem
        if call.name == "gather":
            return self.gather(*call.buffers, *call.scalars)
        n, rows = call.scalars
        first = call.buffers[0].view(np.float32)[: rows * n].reshape(rows, n)
        if call.name == "scale":
            call.buffers[2][: rows * n * 4] = (first * call.buffers[1].view(np.float32)[:n]).ravel().view(np.uint8)
        else:
            call.buffers[1][: rows * 4] = (first**2).sum(1, dtype=np.float32).view(np.uint8)
        return None

    def gather(self, x: Any, index: Any, y: Any, n: int, count: int) -> Fault | None:
        for place, i in enumerate(index.view(np.int64)[:count]):
            if not 0 <= i < n:
                return Fault(1, (int(i), n))
            y.view(np.float32)[place] = x.view(np.float32)[i]
        return None


def _for_simulator(maker: Any, artefact: Any, image: bytes = b"sim image that holds the entries" + bytes(4096)) -> Path:
    variant = dataclasses.replace(artefact.variants[0], driver="sim", image=image)
    path: Path = maker.write(dataclasses.replace(artefact, variants=(variant,)))
    return path


@pytest.mark.parametrize("model", ["scale_squares", "row_by_row"])
def test_a_model_runs_on_it(model: Any, maker: Any) -> None:
    simulator = Simulator()
    session = load(_for_simulator(maker, getattr(maker, model)()), drivers=[simulator])
    assert session.device == "sim"
    for rows in (5, 3, 40):
        x = np.linspace(-1, 1, rows * 32, dtype=np.float32).reshape(rows, 32)
        y = ((x * np.arange(32, dtype=np.float32)) ** 2).sum(1)
        np.testing.assert_allclose(session.run({"x": x})["y"], y, rtol=1e-5)
    assert simulator.calls[-1] == "squares 40"


def test_its_faults_name_the_node(maker: Any) -> None:
    session = load(_for_simulator(maker, maker.gather()), drivers=[Simulator()])
    x, index = np.arange(4, dtype=np.float32), np.array([3, 1])
    np.testing.assert_array_equal(session.run({"x": x, "index": index})["y"], [3, 1])
    with pytest.raises(InputError, match=r"^node 'Gather_3': index 4 is out of range for 4"):
        session.run({"x": x, "index": index + 1})
    np.testing.assert_array_equal(session.run({"x": x, "index": index})["y"], [3, 1])


def test_its_exceptions_are_errors_of_the_device(maker: Any) -> None:
    simulator = Simulator()
    path = _for_simulator(maker, maker.scale_squares())
    session = load(path, drivers=[simulator])
    x = np.ones((2, 32), np.float32)
    simulator.problem = RuntimeError("the scratchpad\nis full")
    with pytest.raises(DeviceError, match=r"^sim: the scratchpad is full$"):
        session.run({"x": x})
    simulator.problem = MemoryError()
    with pytest.raises(OutOfMemoryError, match="sim: MemoryError"):
        session.run({"x": x})
    simulator.problem = None
    session.run({"x": x})
    with pytest.raises(DeviceError, match=r"^sim: the image does not begin with 'sim'$"):
        load(_for_simulator(maker, maker.scale_squares(), bytes(4096)), drivers=[Simulator()])


def test_nothing_stays_with_a_device_that_is_closed(maker: Any) -> None:
    simulator = Simulator()
    session = load(_for_simulator(maker, maker.scale_squares()), drivers=[simulator])
    session.run({"x": np.ones((2, 32), np.float32)})
    assert simulator.held() > 0
    del session
    assert simulator.held() == 0


class Fast(Simulator):
    features = ("fast",)


@pytest.mark.parametrize(("driver", "target"), [(Fast, "sim-fast"), (Simulator, "sim")])
def test_the_driver_says_which_variants_its_device_takes(driver: Any, target: str, maker: Any) -> None:
    made = maker.scale_squares()
    image = b"sim image that holds the entries" + bytes(4096)
    either = dataclasses.replace(made.variants[0], preset="sim", driver="sim", machine="any", features=(), image=image)
    picky = dataclasses.replace(either, preset="sim-fast", features=("sim:fast",))
    path = maker.write(dataclasses.replace(made, variants=(either, picky)))
    assert load(path, device="sim", drivers=[driver()]).target == target


def test_what_a_device_lacks_is_told(maker: Any) -> None:
    made = maker.scale_squares()
    picky = dataclasses.replace(
        made.variants[0], preset="sim-fast", driver="sim", machine="any", features=("sim:fast",)
    )
    path = maker.write(dataclasses.replace(made, variants=(picky,)))
    with pytest.raises(UnsupportedError) as told:
        load(path, drivers=[Simulator()])
    assert str(told.value) == (
        f"{path}: no target in it runs on this machine: sim-fast needs sim:fast (sim: has no 'fast')"
    )


def test_drivers_that_are_built_in_are_found_by_name() -> None:
    assert open_driver("cpu").name == "cpu"
    with pytest.raises(InputError, match="no driver 'gpu' is built in or installed; name its library by --driver"):
        open_driver("gpu:1")
