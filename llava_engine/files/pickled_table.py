"""A pickle as torch writes them, read as data: what it would call is noted and never called.

A pickle is a program for a small machine, and everything here is to keep it from running ours: its steps are walked by
the standard library's disassembler, nothing is imported, a name outside a short list ends the reading, and no step
makes more than it has in the file (the usual unpicklers can be told to make two gigabytes of a few bytes).
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from typing import BinaryIO

_LARGEST_NUMBER = 2**96  # torch's magic number has 80 bits; products of larger ones would take for ever


class UnsafePickleError(Exception):
    """It asks for something that could run code."""


class BrokenPickleError(Exception):
    """It is cut off, or no pickle that torch wrote."""


class NoTableError(Exception):
    """It holds tables whose keys are no names."""


@dataclass(frozen=True)
class Global:
    """Something that the pickle names, such as `torch FloatStorage`."""

    name: str


@dataclass(frozen=True)
class Call:
    """What a pickle would have called, and with what."""

    name: str
    arguments: tuple[object, ...]


@dataclass(frozen=True)
class Reference:
    """What lies outside of the pickle: torch describes storages so."""

    key: object


ORDERED = "collections OrderedDict"
_NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
_TEXTS = ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
_BYTES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
_VALUES = frozenset({*_NUMBERS, *_TEXTS, *_BYTES})
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_STORES = ("PUT", "BINPUT", "LONG_BINPUT")
_FETCHES = ("GET", "BINGET", "LONG_BINGET")
_MAKES_OBJECTS = ("INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4")


def read_pickle(file: BinaryIO, allowed: frozenset[str]) -> object:
    """The next pickle of a file, of plain values, `Global`, `Call` and `Reference`.

    Args:
        file: in memory: what the steps may read has no other end.
        allowed: what may be named, each as `module name`.

    Raises:
        UnsafePickleError, BrokenPickleError, NoTableError: what the names say.
    """
    machine = _Machine(allowed)
    try:
        for step, argument, _ in pickletools.genops(file):
            if step.name == "STOP":
                return machine.stack.pop()
            machine.do(step.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise BrokenPickleError(str(error)) from None
    raise BrokenPickleError("no end")


class _Machine:
    """The pickle machine's stack, marks and memo."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self.allowed = allowed
        self.stack: list[object] = []
        self.below: list[list[object]] = []  # what lies under each mark
        self.memo: dict[int, object] = {}

    def do(self, step: str, argument: object) -> None:
        """One step."""
        stack = self.stack
        if step in _VALUES:
            if isinstance(argument, int) and abs(argument) > _LARGEST_NUMBER:
                raise ValueError("a number without end")
            stack.append(argument)
        elif step in _CONSTANTS:
            stack.append(_CONSTANTS[step])
        elif step in _FETCHES:
            stack.append(self.memo[_number(argument)])
        elif step in _STORES:
            self.memo[_number(argument)] = stack[-1]
        elif step == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif step == "MARK":
            self.below.append(stack)
            self.stack = []
        elif step == "EMPTY_DICT":
            stack.append({})
        elif step == "EMPTY_LIST":
            stack.append([])
        elif step in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(step[-1])
            if len(stack) < count:
                raise IndexError(step)
            stack[-count:] = [tuple(stack[-count:])]
        elif step == "TUPLE":
            items = self._since_mark()
            self.stack.append(tuple(items))
        elif step == "LIST":
            items = self._since_mark()
            self.stack.append(items)
        elif step == "DICT":
            items = self._since_mark()
            self.stack.append({})
            self._set(items)
        elif step == "SETITEM":
            value, key = stack.pop(), stack.pop()
            self._set([key, value])
        elif step == "SETITEMS":
            self._set(self._since_mark())
        elif step == "APPEND":
            value = stack.pop()
            self._list().append(value)
        elif step == "APPENDS":
            items = self._since_mark()
            self._list().extend(items)
        elif step in ("GLOBAL", "STACK_GLOBAL"):
            self._name(step, argument)
        elif step == "REDUCE":
            self._call()
        elif step == "BUILD":  # attributes, such as a state dict's own metadata: nobody needs them
            stack.pop()
            stack[-1]
        elif step == "BINPERSID":
            stack.append(Reference(stack.pop()))
        elif step == "POP":
            (stack or self.below).pop()
        elif step in _MAKES_OBJECTS:
            raise UnsafePickleError(step)
        elif step not in ("PROTO", "FRAME"):
            raise ValueError(f"a step that torch does not write: {step}")

    def _since_mark(self) -> list[object]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def _list(self) -> list[object]:
        if not isinstance(top := self.stack[-1], list):
            raise TypeError("no list")
        return top

    def _set(self, items: list[object]) -> None:
        top = self.stack[-1]
        if not isinstance(top, dict) or len(items) % 2:
            raise TypeError("no table")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str):  # numbers can be chosen so that they all fall into one place of the table
                raise NoTableError
            top[key] = value

    def _name(self, step: str, argument: object) -> None:
        if step == "STACK_GLOBAL":
            name, module = self.stack.pop(), self.stack.pop()
            argument = f"{module} {name}" if isinstance(name, str) and isinstance(module, str) else ""
        if argument not in self.allowed:
            raise UnsafePickleError(str(argument)[:100])
        self.stack.append(Global(str(argument)))

    def _call(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        if not isinstance(called, Global) or not isinstance(arguments, tuple):
            raise UnsafePickleError(type(called).__name__)
        if called.name == ORDERED and arguments == ():
            self.stack.append({})
        else:
            self.stack.append(Call(called.name, arguments))


def _number(argument: object) -> int:
    if type(argument) is not int or abs(argument) > _LARGEST_NUMBER:
        raise ValueError("no number")
    return argument
