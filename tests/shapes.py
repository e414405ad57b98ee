"""Checks the shapes and dtypes that annotations say, whenever a function of a package is called."""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

from jaxtyping import AbstractArray, jaxtyped


class _Finder(MetaPathFinder):
    """Finds a package's modules where they are, and has their functions checked once they are loaded."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if f"{name}.".startswith(f"{self.package}."):
            spec = PathFinder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                load = spec.loader.exec_module

                def exec_module(module: types.ModuleType) -> None:
                    load(module)
                    _check_all(module, module.__name__)

                spec.loader.exec_module = exec_module  # type: ignore[method-assign]
            return spec
        return None


def check_package(package: str) -> None:
    """Has the functions of a package checked, if nothing of it is imported yet."""
    sys.meta_path.insert(0, _Finder(package))


def _check_all(owner: Any, module: str) -> None:
    """Checks the functions and methods of a module or class that take or give arrays."""
    for name, value in list(vars(owner).items()):
        if isinstance(value, type) and value.__module__ == module and value is not owner:
            _check_all(value, module)
        elif isinstance(value, types.FunctionType) and value.__module__ == module and _names_arrays(value):
            setattr(owner, name, jaxtyped(checked(value), typechecker=None))


def _names_arrays(function: Callable[..., Any]) -> bool:
    hints = " ".join(str(hint) for hint in function.__annotations__.values())
    # Classes check for themselves what they are made of, and in better words.
    return function.__name__ != "__init__" and ("[Tensor," in hints or "ndarray," in hints)


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which raises TypeError where an array is not of the shape and dtype that its annotation says."""
    signature = inspect.signature(function)

    @functools.cache
    def arrays() -> dict[str, tuple[Any, ...]]:
        found = {}
        for name, hint in function.__annotations__.items():
            try:
                kinds = _members(eval(hint, function.__globals__) if isinstance(hint, str) else hint)
            except (NameError, TypeError, AttributeError):  # a name that is imported for type checkers alone
                continue
            if any(_is_array(kind) for kind in kinds):
                found[name] = kinds
        return found

    def check(name: str, value: Any) -> None:
        kinds = arrays().get(name)
        if kinds is not None and not any(_fits(value, kind) for kind in kinds):
            shown = (
                f"{type(value).__name__} {getattr(value, 'dtype', '')} {tuple(getattr(value, 'shape', ()))}"
            )
            raise TypeError(
                f"{function.__qualname__}: {name} is {shown}, not {function.__annotations__[name]}"
            )

    @functools.wraps(function)
    def call(*positional: Any, **named: Any) -> Any:
        for name, value in signature.bind(*positional, **named).arguments.items():
            check(name, value)
        result = function(*positional, **named)
        check("return", result)
        return result

    return call


def _members(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def _is_array(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, AbstractArray)


def _fits(value: Any, kind: Any) -> bool:
    if kind is None or kind is type(None):
        return value is None
    # Of other members of a union nothing is known here.
    return isinstance(value, kind) if isinstance(kind, type) else True
