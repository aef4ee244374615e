"""The only place that looks into pickles: which tensors a PyTorch file names, found without doing what the pickle says.

A pickle is a program. This follows it with stand-ins: a function that it names is a text, a call of it is an empty
thing, and nothing is imported or run. What can't be followed is odd. See Python's `pickletools` for the words, and
`torch/_utils.py` and `torch/serialization.py` for what PyTorch calls.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from modelsyncd.formats.header import OddError
from modelsyncd.limits import LIMITS, Limits

_STORAGES = {
    "DoubleStorage": "f64",
    "FloatStorage": "f32",
    "HalfStorage": "f16",
    "BFloat16Storage": "bf16",
    "LongStorage": "i64",
    "IntStorage": "i32",
    "ShortStorage": "i16",
    "CharStorage": "i8",
    "ByteStorage": "u8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "c64",
    "ComplexDoubleStorage": "c128",
    "QInt8Storage": "i8",
    "QUInt8Storage": "u8",
    "QInt32Storage": "i32",
    "UntypedStorage": "",
}
"""Elements of a storage, by the last word of its class; an untyped one is told by its tensor."""
_DTYPES = {
    "float8_e4m3fn": "f8_e4m3",
    "float8_e4m3fnuz": "f8_e4m3fnuz",
    "float8_e5m2": "f8_e5m2",
    "float8_e5m2fnuz": "f8_e5m2fnuz",
    "float8_e8m0fnu": "f8_e8m0",
    "uint16": "u16",
    "uint32": "u32",
    "uint64": "u64",
}
_QUANTISED = "_rebuild_qtensor"
_REBUILD = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", _QUANTISED)
_WRAPPERS = ("_rebuild_parameter", "_rebuild_parameter_with_state")


class Global(NamedTuple):
    """The name of a class or function, and no more than the name."""

    module: str
    name: str


@dataclass(slots=True, eq=False)
class Thing:
    """Stands for a dictionary, a list or any object: what was put into it, by key or by place."""

    pairs: list[tuple[object, object]] = field(default_factory=list)


class Storage(NamedTuple):
    """Bytes that the file keeps under `key`; `dtype` of its elements, "" when their tensors say."""

    key: str
    dtype: str


class View(NamedTuple):
    """A tensor: part of a storage; offset and strides in elements. What is `quantised` means nothing without scales."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    quantised: bool = False


class NamedView(NamedTuple):
    """A tensor with the way to it from the top: keys and places with dots between."""

    name: str
    view: View


_INTEGER = 1 << 64  # above any key that names a tensor: long ones take long to write out


def views(pickle: bytes, limits: Limits = LIMITS) -> list[NamedView]:
    """The tensors that a pickle names, in its order. Raises OddError."""
    try:
        top = _Machine(limits).run(pickle)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        # No such opcode, cut short, nothing on the stack, no such memo, a stand-in of another kind than was needed.
        raise OddError from error
    return list(_walk(top, limits))


def _walk(top: object, limits: Limits) -> Iterator[NamedView]:
    """Goes through what the pickle made. Each thing is entered once: they may lie in one another."""
    entered: set[int] = set()
    waiting: list[tuple[str, int, object]] = [("", 0, top)]
    while waiting:
        name, depth, value = waiting.pop()
        if isinstance(value, View):
            yield NamedView(name, value)
            continue
        inside = _inside(value)
        if not inside or id(value) in entered or depth > limits.layout_nesting:
            continue
        entered.add(id(value))
        for key, inner in reversed(inside):
            if len(key) > limits.layout_name_chars if isinstance(key, str) else abs(key) >= _INTEGER:
                continue
            path = f"{name}.{key}" if name else str(key)
            if len(path) <= limits.layout_name_chars:
                waiting.append((path, depth + 1, inner))


def _inside(value: object) -> list[tuple[str | int, object]]:
    """What lies in a thing and is worth going to, by text or number."""
    if isinstance(value, Thing):
        pairs: list[tuple[object, object]] = value.pairs
    elif type(value) is tuple:
        pairs = list(enumerate(value))
    else:
        return []
    return [(key, inner) for key, inner in pairs if isinstance(key, str | int) and isinstance(inner, tuple | Thing)]


class _Machine:
    """A stack, a memo, and what each opcode does to them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._stack: list[object] = []
        self._below: list[list[object]] = []
        self._memo: dict[int, object] = {}
        self._copied = 0  # pairs that one opcode brought many of

    def run(self, pickle: bytes) -> object:
        """What would be on top at the end."""
        for step, (opcode, argument, _) in enumerate(pickletools.genops(pickle)):
            if step > self._limits.layout_steps:
                raise OddError
            if opcode.name == "STOP":
                return self._stack.pop()
            self._step(opcode.name, argument)
        raise OddError

    def _step(self, name: str, argument: object) -> None:
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self._below.append(self._stack)
                self._stack = []
            case "POP" | "POP_MARK" | "DUP":
                self._move(name)
            case "PUT" | "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                self._memo[argument if isinstance(argument, int) else len(self._memo)] = self._stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                self._stack.append(self._memo[_number(argument)])
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3" | "EMPTY_TUPLE":
                self._tuple(name)
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_SET":
                self._stack.append(Thing())
            case "DICT" | "LIST" | "FROZENSET":
                items = self._to_mark()
                self._stack.append(Thing(_paired(items) if name == "DICT" else list(enumerate(items))))
            case "SETITEM" | "SETITEMS" | "APPEND" | "APPENDS" | "ADDITEMS":
                self._put(name)
            case "GLOBAL":
                module, _, word = _text(argument).partition(" ")
                self._stack.append(Global(module, word))
            case "STACK_GLOBAL":
                word, module = _text(self._stack.pop()), _text(self._stack.pop())
                self._stack.append(Global(module, word))
            case "REDUCE":
                arguments, function = self._stack.pop(), self._stack.pop()
                self._stack.append(_called(function, arguments))
            case "BUILD":
                self._build(self._stack.pop())
            case "BINPERSID":
                self._stack.append(_storage(self._stack.pop()))
            case _:
                self._plain(name, argument)

    def _plain(self, name: str, argument: object) -> None:
        """Objects that hold nothing yet, and constants; what is left refers to something outside the pickle."""
        if name in ("NEWOBJ", "NEWOBJ_EX", "OBJ", "INST"):
            self._new(name)
        elif name in ("PERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"):
            raise OddError
        else:  # a number, a text, True, None
            self._stack.append(argument if isinstance(argument, str | int) else None)

    def _to_mark(self) -> list[object]:
        items, self._stack = self._stack, self._below.pop()
        return items

    def _move(self, name: str) -> None:
        if name == "DUP":
            self._stack.append(self._stack[-1])
        elif name == "POP" and self._stack:
            self._stack.pop()
        else:
            self._to_mark()

    def _tuple(self, name: str) -> None:
        if name == "TUPLE":
            items = self._to_mark()
        else:
            length = 0 if name == "EMPTY_TUPLE" else int(name[-1])
            items = [self._stack.pop() for _ in range(length)][::-1]
        self._stack.append(tuple(items))

    def _put(self, name: str) -> None:
        """Into the thing below, whatever it is: a tensor that gets items is still that tensor."""
        if name == "SETITEM":
            value, key = self._stack.pop(), self._stack.pop()
            items = [key, value]
        else:
            items = [self._stack.pop()] if name == "APPEND" else self._to_mark()
        target = self._stack[-1]
        if not isinstance(target, Thing):
            return
        if name.startswith("SETITEM"):
            target.pairs.extend(_paired(items))
        else:
            target.pairs.extend(enumerate(items, len(target.pairs)))

    def _new(self, name: str) -> None:
        if name in ("OBJ", "INST"):
            self._to_mark()
        else:
            for _ in range(3 if name == "NEWOBJ_EX" else 2):
                self._stack.pop()
        self._stack.append(Thing())

    def _build(self, state: object) -> None:
        """An object's attributes; of a pair, both halves may be some."""
        target = self._stack[-1]
        if isinstance(target, Thing):
            for half in state if type(state) is tuple else (state,):
                if isinstance(half, Thing):
                    if len(target.pairs) + len(half.pairs) > self._limits.layout_steps - self._copied:
                        raise OddError  # a few bytes that double what is there, again and again
                    self._copied += len(half.pairs)
                    target.pairs.extend(half.pairs)


def _paired(items: list[object]) -> list[tuple[object, object]]:
    return list(zip(items[::2], items[1::2], strict=True))


def _number(value: object) -> int:
    if type(value) is not int:
        raise OddError
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise OddError
    return value


def _storage(identity: object) -> object:
    """What PyTorch's `persistent_id` says: ("storage", class, key, device, elements)."""
    if type(identity) is not tuple or len(identity) < 3 or identity[0] != "storage":
        return Thing()
    kind, key = identity[1], identity[2]
    if not isinstance(kind, Global) or kind.name not in _STORAGES or not isinstance(key, str):
        raise OddError
    return Storage(key, _STORAGES[kind.name])


def _called(function: object, arguments: object) -> object:
    """What a call would give: a tensor for PyTorch's ways to make one, else something empty."""
    for _ in range(4):  # wrappers in wrappers
        if not isinstance(function, Global) or type(arguments) is not tuple:
            return Thing()
        if function.name == "_rebuild_from_type_v2" and len(arguments) > 2:
            function, arguments = arguments[0], arguments[2]
        elif function.name in _WRAPPERS and arguments:
            return arguments[0]
        elif function.name in _REBUILD and function.module == "torch._utils":
            return _view(arguments, quantised=function.name == _QUANTISED)
        else:
            return Thing()
    return Thing()


def _view(arguments: tuple[object, ...], *, quantised: bool) -> object:
    """Arguments of the ways to make a tensor: storage, offset, shape, strides; of version 3 also the dtype, seventh."""
    if len(arguments) < 4:
        return Thing()
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, Storage):
        return Thing()
    dtype = storage.dtype
    if not dtype and len(arguments) > 6 and isinstance(arguments[6], Global):
        dtype = _DTYPES.get(arguments[6].name, "")
    return View(storage, dtype, _number(offset), _numbers(shape), _numbers(strides), quantised)


def _numbers(value: object) -> tuple[int, ...]:
    if type(value) is not tuple:
        raise OddError
    return tuple(_number(one) for one in value)
