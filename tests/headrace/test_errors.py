"""headrace.errors names every error of the compiler and of the runtime."""

import headrace.errors
from headrace.ir import errors as compiler_errors


def test_every_compiler_error_is_exported() -> None:
    declared = {
        name
        for name, value in vars(compiler_errors).items()
        if isinstance(value, type) and value.__module__ == compiler_errors.__name__
    }
    assert declared <= set(headrace.errors.__all__)
    for name in declared:
        assert getattr(headrace.errors, name) is getattr(compiler_errors, name)
        assert issubclass(getattr(compiler_errors, name), compiler_errors.HeadraceError)
