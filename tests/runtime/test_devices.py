"""Where a model runs: which variant is picked, drivers from outside, and what happens when a device fails."""

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from null_driver import NULL, build_null

from headrace.runtime.python import (
    DeviceError,
    HostedDriver,
    LoadError,
    OutOfMemoryError,
    UnsupportedError,
    VersionError,
    driver_abi,
    load,
)
from headrace.runtime.python.calling import open_driver

RequireTool = Callable[[str], str]
FEATURES = {"x86-64": ("sse2",), "x86-64-v2": ("sse2", "sse4.2"), "x86-64-v3": ("avx2", "sse2", "sse4.2")}


@pytest.fixture(scope="session")
def null(require_tool: RequireTool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_tool("gcc")
    return build_null(tmp_path_factory.mktemp("null"))


@pytest.fixture
def several(maker: Any) -> Path:
    """Three CPUs, another machine, and a device that nobody has."""
    made = maker.scale_squares()
    first = made.variants[0]
    variants = [dataclasses.replace(first, preset=name, features=features) for name, features in FEATURES.items()]
    variants.append(dataclasses.replace(first, preset="aarch64", machine="aarch64", features=("neon",)))
    variants.append(dataclasses.replace(first, preset="far-one", driver="far", machine="any", features=()))
    path: Path = maker.write(dataclasses.replace(made, variants=tuple(variants)))
    return path


def _y(x: Any) -> Any:
    return ((x * np.arange(32, dtype=np.float32)) ** 2).sum(1)


def _is_right(session: Any) -> None:
    x = np.linspace(-1, 1, 5 * 32, dtype=np.float32).reshape(5, 32)
    np.testing.assert_allclose(session.run({"x": x})["y"], _y(x), rtol=1e-5)


# ---- picking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", list(FEATURES))
def test_the_most_demanding_cpu_is_picked(limit: Any, several: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("HEADRACE_CPU", limit)
    session = load(several)
    assert (session.target, session.device) == (limit, "cpu")
    _is_right(session)


@pytest.mark.parametrize(("asked", "target"), [("cpu", "x86-64-v3"), ("x86-64", "x86-64"), ("x86-64-v2", "x86-64-v2")])
def test_the_caller_says_which(asked: Any, target: Any, several: Any, monkeypatch: Any) -> None:
    session = load(several, device=asked)
    assert (session.target, session.device) == (target, "cpu")
    monkeypatch.setenv("HEADRACE_DEVICE", asked)
    assert load(several).target == target
    monkeypatch.setenv("HEADRACE_DEVICE", "nothing")
    assert load(several, device=asked).target == target
    with pytest.raises(UnsupportedError, match="runs on the device 'nothing', which HEADRACE_DEVICE names: x86-64-v3 runs"):
        load(several)


def test_every_variant_is_refused_with_its_reason_and_the_nearest_name(several: Any) -> None:
    with pytest.raises(UnsupportedError) as told:
        load(several, device="x86-64-v5")
    assert str(told.value) == (
        f"{several}: no target in it runs on the device 'x86-64-v5': x86-64-v3 runs on cpu, x86-64-v2 runs on cpu, "
        "aarch64 is for aarch64, x86-64 runs on cpu, far-one needs the driver 'far'; did you mean 'x86-64-v3'?"
    )
    with pytest.raises(UnsupportedError, match=r"runs on the device 'npu0': .*needs the driver 'far'$"):
        load(several, device="npu0")
    with pytest.raises(UnsupportedError, match=r"'cpus': .*; did you mean 'cpu'\?$"):
        load(several, device="cpus")


def test_headrace_run_takes_devices_and_drivers(several: Any, null: Any, headrace_run: Any, tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 5 * 32, dtype=np.float32).reshape(5, 32)
    np.save(tmp_path / "x.npy", x)

    def call(*options: Any) -> Any:
        command = [headrace_run, several, "--input", "x=x.npy", "--output", "y=y.npy", *options]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, cwd=tmp_path)

    assert call("--driver", null, "--device", "null").returncode == 0
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), _y(x), rtol=1e-5)
    assert call("--driver", null, "--device", "null:lost@launch:1").stderr == (
        "headrace-run: null: the device is lost at launch 1\n"
    )
    assert "did you mean 'null'?" in call("--driver", null, "--device", "nul").stderr


# ---- drivers from outside --------------------------------------------------------------------------------------------


def test_a_driver_from_outside_runs_the_cpus_code_in_memory_of_its_own(several: Any, null: Any) -> None:
    session = load(several, device="null", drivers=[null])
    assert (session.target, session.device) == ("x86-64-v3", "null")
    _is_right(session)
    session = load(several, device="null:lost@5000", drivers=[null])
    assert session.device == "null:lost@5000"
    _is_right(session)


def test_a_driver_is_not_used_where_nobody_asks_for_it(several: Any, null: Any) -> None:
    assert load(several, drivers=[null]).device == "cpu"


def test_the_environment_lists_drivers(several: Any, null: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("HEADRACE_DRIVERS", f"{null}:{null}")
    monkeypatch.setenv("HEADRACE_DEVICE", "null")
    assert load(several).device == "null"


def package(folder: Path, value: str) -> None:
    """One that is installed there, with a driver by an entry point; `device_package.DRIVER` is this null driver."""
    info = folder / "device_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: device_package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[headrace.drivers]\nnull = {value}\n")


def test_an_installed_package_has_a_driver(several: Any, null: Any, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "device_package.py").write_text(f"DRIVER = {str(null)!r}\n")
    package(tmp_path, "device_package:DRIVER")
    with pytest.raises(UnsupportedError, match="null"):
        load(several, device="null")
    monkeypatch.syspath_prepend(tmp_path)
    session = load(several, device="null")
    assert session.device == "null"
    _is_right(session)
    assert load(several).device == "cpu"
    assert open_driver("null").stands_for == "cpu"


@pytest.mark.parametrize("value", ["no_such_device_package:DRIVER", "os:no_such_driver"])
def test_a_package_without_its_driver_is_named(several: Any, value: str, tmp_path: Path, monkeypatch: Any) -> None:
    package(tmp_path, value)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LoadError, match=f"^driver null: {value} is not there: "):
        load(several, device="null")


def test_a_driver_of_another_abi_is_refused_with_both_versions(several: Any, tmp_path: Path) -> None:
    library = build_null(tmp_path, "-DNULL_ABI=7u")
    with pytest.raises(VersionError) as told:
        load(several, drivers=[library])
    assert str(told.value) == f"driver {library}: is made for ABI 7, this library has ABI 1; build it with our header"


def test_a_driver_whose_struct_ends_early_is_refused_or_lacks_what_was_appended(several: Any, tmp_path: Path) -> None:
    library = build_null(tmp_path, "-DNULL_BYTES=40u")
    with pytest.raises(VersionError, match=r"its struct has 40 bytes, ABI 1 has at least "):
        load(several, drivers=[library])
    (tmp_path / "first").mkdir()
    library = build_null(tmp_path / "first", "-DNULL_BYTES=HR_DRIVER_LEAST_BYTES")
    with pytest.raises(UnsupportedError, match="x86-64-v3 runs on cpu"):  # what it stands for was appended
        load(several, device="null", drivers=[library])


def test_a_driver_without_features_takes_no_variant_that_needs_one(maker: Any, null: Any) -> None:
    made = maker.scale_squares()
    picky = dataclasses.replace(
        made.variants[0], preset="null-fast", driver="null", machine="any", features=("null:fast",)
    )
    path = maker.write(dataclasses.replace(made, variants=(picky,)))
    with pytest.raises(UnsupportedError, match=r"null-fast needs null:fast \(null: its devices have no 'fast'\)$"):
        load(path, drivers=[null])


@pytest.mark.parametrize("name", ["open", "module_unload", "finish"])
def test_a_driver_without_a_function_is_refused(name: str, several: Any) -> None:
    class Half(HostedDriver):
        name = "half"
        stands_for = "cpu"

    driver = Half()
    setattr(driver.struct, name, driver_abi.FUNCTIONS[name]())
    with pytest.raises(VersionError, match=f"driver half: its function '{name}' is NULL"):
        load(several, device="half", drivers=[driver])


def test_what_is_no_driver_is_refused(several: Any, library: Any, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"driver no/such.so: "):
        load(several, drivers=["no/such.so"])
    with pytest.raises(DeviceError, match="exports no function 'headrace_driver' that gives one"):
        load(several, drivers=[library])


def test_a_device_that_there_is_not_is_named(several: Any, null: Any) -> None:
    with pytest.raises(Exception, match=r"null: there is no device 'los@2'; expected '', or out-of-memory"):
        load(several, device="null:los@2", drivers=[null])


# ---- devices that fail -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["scale_squares", "row_by_row", "beside"])
def test_a_device_that_fails_at_any_call_leaves_nothing_and_works_later(
    model: Any, maker: Any, build_driver: Any
) -> None:
    faults = build_driver("asan", "faults.c", "counted.c", str(NULL))
    counts = [int(line.split()[1]) for line in faults(maker.write(getattr(maker, model)())).splitlines()]
    assert len(counts) == 2
    assert min(counts) >= 20


def test_errors_of_a_device_are_exceptions(several: Any, null: Any) -> None:
    session = load(several, device="null:out-of-memory@alloc:3", drivers=[null])
    with pytest.raises(OutOfMemoryError, match=r"^node 'Mul_0': null: out of memory at alloc 3$"):
        _is_right(session)
    _is_right(session)
    session = load(several, device="null:lost@download:1", drivers=[null])
    for expected in ("download 1", "begin 3"):
        with pytest.raises(DeviceError, match=rf"^null: the device is lost at {expected}$"):
            _is_right(session)
    with pytest.raises(DeviceError, match=r"^null: bad module at module_load 1$"):
        load(several, device="null:bad-module", drivers=[null])
