"""headrace.errors names every error of the compiler and of the runtime."""

from types import ModuleType

import pytest

import headrace.errors
from headrace.ir import errors as compiler_errors
from headrace.runtime.python import errors as runtime_errors


@pytest.mark.parametrize(("declaring", "root"), [
    (compiler_errors, compiler_errors.HeadraceError), (runtime_errors, runtime_errors.HeadraceRuntimeError),
])  # fmt: skip
def test_every_error_is_exported(declaring: ModuleType, root: type[Exception]) -> None:
    declared = {n for n, v in vars(declaring).items() if isinstance(v, type) and v.__module__ == declaring.__name__}
    assert declared
    assert declared <= set(headrace.errors.__all__)
    for name in declared:
        assert getattr(headrace.errors, name) is getattr(declaring, name)
        assert issubclass(getattr(declaring, name), root)


def test_no_name_is_exported_twice() -> None:
    assert len(set(headrace.errors.__all__)) == len(headrace.errors.__all__)
    assert not set(vars(compiler_errors)) & set(runtime_errors.__dict__) & set(headrace.errors.__all__)
