"""Decoding of pickled numpy object arrays into plain Python data, without running a pickle.

A pickle is a program for a small stack machine. This module interprets the instructions that data needs
and refuses all others. Where the program names a function, it can only name one of the few of
`_FUNCTIONS`, and gets our stand-in for it: numpy's own reconstruction code never sees a hostile byte, and
no value is decoded that is much larger than the pickle itself.

Source: the instruction set is documented in the standard library's `pickletools`.
"""

from __future__ import annotations

import math
import pickletools
import re
import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np

_MARK: Final = object()
_NUMBERS: Final = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_TEXTS: Final = {"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
_BYTES: Final = {"STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
_LITERALS: Final = _NUMBERS | _TEXTS | _BYTES
_EMPTY: Final[dict[str, Callable[[], Any]]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "MARK": lambda: _MARK,
}
_FUNCTIONS: Final = {
    "_codecs encode": "encode",
    "collections OrderedDict": "dict",
    "__builtin__ bytes": "bytes",
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "numpy.core.multiarray _reconstruct": "array",
    "numpy.core.multiarray scalar": "scalar",
    "numpy._core.multiarray _reconstruct": "array",
    "numpy._core.multiarray scalar": "scalar",
}
_DTYPE: Final = re.compile(r"O[48]?|[biuf]\d{1,2}|[SU]\d{1,4}")


class _Function(str):
    """The name of an allowed function; nothing on the stack can be called but these."""

    __slots__ = ()


class _Dtype:
    """Stand-in for a pickled `numpy.dtype`: numbers, text or objects, in either byte order."""

    def __init__(self, code: str) -> None:
        if not _DTYPE.fullmatch(code):
            raise ValueError(f"arrays of dtype {code[:20]!r} are not allowed")
        self.dtype = np.dtype(code)

    def set_state(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array(list[Any]):
    """Stand-in for a pickled array: nested lists of plain values."""

    shape: tuple[int, ...] = (0,)

    def __repr__(self) -> str:
        return f"<array of shape {self.shape}>"

    def set_state(self, state: tuple[Any, ...], spend: Callable[[int], None]) -> None:
        _, shape, stand_in, fortran_order, content = state
        if len(shape) > 8 or not all(type(length) is int and length >= 0 for length in shape):
            raise ValueError("an array has an impossible shape")
        spend(math.prod(max(length, 1) for length in shape) + len(content))
        if stand_in.dtype.hasobject:
            flat = np.fromiter(content, dtype=object, count=len(content))
        else:
            flat = np.frombuffer(content, dtype=stand_in.dtype)
        values = flat.reshape(shape, order="F" if fortran_order else "C").tolist()
        self.shape = tuple(shape)
        self[:] = values if shape else [values]


class _Machine:
    """The stack, the memo, and a budget that keeps shared values from multiplying."""

    def __init__(self, size: int) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.budget = 4 * size

    def spend(self, amount: int) -> None:
        self.budget -= amount
        if self.budget < 0:
            raise ValueError("the data unfold to far more than their file holds")

    def pop_to_mark(self) -> list[Any]:
        for start in reversed(range(len(self.stack))):
            if self.stack[start] is _MARK:
                items = self.stack[start + 1 :]
                del self.stack[start:]
                return items
        raise ValueError("the data end before they begin")

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _LITERALS:
            stack.append(argument)
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        else:
            match name:
                case "PROTO" | "FRAME":
                    pass
                case "MEMOIZE":
                    self.memo[len(self.memo)] = stack[-1]
                case "PUT" | "BINPUT" | "LONG_BINPUT":
                    self.memo[argument] = stack[-1]
                case "GET" | "BINGET" | "LONG_BINGET":
                    stack.append(self.memo[argument])
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    count = int(name[-1])
                    stack[-count:] = [tuple(stack[-count:])]
                case "TUPLE":
                    stack.append(tuple(self.pop_to_mark()))
                case "LIST":
                    stack.append(self.pop_to_mark())
                case "DICT":
                    items = self.pop_to_mark()
                    stack.append({})
                    self.set_items(items)
                case "APPEND":
                    self.extend([stack.pop()])
                case "APPENDS":
                    self.extend(self.pop_to_mark())
                case "SETITEM":
                    value, key = stack.pop(), stack.pop()
                    self.set_items([key, value])
                case "SETITEMS":
                    self.set_items(self.pop_to_mark())
                case "GLOBAL":
                    stack.append(self.function(argument))
                case "STACK_GLOBAL":
                    function, module = stack.pop(), stack.pop()
                    stack.append(self.function(f"{module} {function}"))
                case "REDUCE":
                    arguments, function = stack.pop(), stack.pop()
                    stack.append(self.call(function, arguments))
                case "BUILD":
                    self.build(stack.pop())
                case _:
                    raise ValueError(f"the pickle instruction {name} is not allowed")

    def extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("items are appended to something that is not a list")
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict:
            raise ValueError("items are set on something that is not a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str:  # hashing nested tuples can take for ever
                raise ValueError("a dict has a key that is not text")
            target[key] = value

    def function(self, name: str) -> _Function:
        if name not in _FUNCTIONS:
            raise ValueError(f"it asks for {name.replace(' ', '.')[:80]!r}, which is not plain data")
        return _Function(_FUNCTIONS[name])

    def call(self, function: object, arguments: tuple[Any, ...]) -> Any:
        if type(function) is _Function:
            match str(function), arguments:
                case "array", (_Function(), *_):
                    return _Array()  # its content comes with BUILD
                case "dtype", (str() as code, *_):
                    return _Dtype(code)
                case "scalar", (_Dtype(dtype=dtype), bytes() as content) if not dtype.hasobject:
                    self.spend(len(content))
                    return np.frombuffer(content, dtype=dtype, count=1).item()
                case "encode", (str() as text, *_):  # how protocols 0 to 2 write bytes
                    self.spend(len(text))
                    return text.encode("latin1")
                case "bytes", ():  # and how they write no bytes
                    return b""
                case "dict", ():  # its items come with SETITEMS
                    return {}
        raise ValueError("something is called in an unknown way")

    def build(self, state: Any) -> None:
        target = self.stack[-1]
        if isinstance(target, _Array):
            target.set_state(state, self.spend)
        elif isinstance(target, _Dtype):
            target.set_state(state)
        else:
            raise ValueError("state is set on something that is neither an array nor a dtype")


def decode(data: bytes) -> Any:
    """Decode one pickled numpy object array.

    data: the pickle (protocols 0 to 4, numpy 1 or 2) that follows the header of a `.npy` file.
    Returns nested lists of the array's shape (the element itself for a 0-d array) that hold dicts with text
    keys, lists, tuples, numbers, text, bytes, booleans and None; inner arrays too have become nested lists.
    Raises ValueError, or what a malformed program makes of the stack (IndexError, KeyError, TypeError,
    AttributeError): the data are not an array of plain data.
    """
    machine = _Machine(len(data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Python thinks of escapes in old text
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                break
            machine.step(opcode.name, argument)
    array = machine.stack.pop()
    if not isinstance(array, _Array):
        raise ValueError("the data are not a numpy array")
    return list(array) if array.shape else array[0]
