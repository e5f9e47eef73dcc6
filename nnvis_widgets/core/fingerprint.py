"""What a function of the user's computes, as a digest: its code, and the values that it refers to.

May import: the standard library, numpy, torch, core.states. Results of a training are found again by such a digest, so whatever
cannot be seen into is named: nothing is taken for the same because it could not be told apart.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import pickle
import re
import sys
import sysconfig
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .states import raw_bytes

_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size, np.generic, np.dtype)
_PLACES = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_OWN = __name__.partition(".")[0]


def fingerprint(value: Any) -> tuple[str, list[str]]:
    """Return 32 hexadecimal digits that identify a value by content, and the names of what could not be seen into.

    A function is its byte code, constants, defaults, the variables that it closes over and the global ones that it refers to; a
    module of the user's is its text and the plain values in it;
    functions and classes of installed packages are their names, with what they close over.
    """
    reader = _Reader()
    reader.read(value, getattr(value, "__name__", type(value).__name__))
    return reader.total.hexdigest(), reader.unreadable


class _Reader:
    def __init__(self) -> None:
        self.total = hashlib.blake2b(digest_size=16)
        self.unreadable: list[str] = []
        self._seen: dict[int, int] = {}
        self._held: list[Any] = []  # an id is free again when its object is gone

    def read(self, value: Any, name: str) -> None:
        if isinstance(value, _PLAIN):
            self._enter(type(value).__qualname__, repr(value))
            return
        if id(value) in self._seen:
            self._enter("again", str(self._seen[id(value)]))
            return
        self._seen[id(value)] = len(self._seen)
        self._held.append(value)
        self._enter(type(value).__qualname__)
        if isinstance(value, torch.Tensor):
            self._enter(str(value.dtype), str(tuple(value.shape)))
            self.total.update(raw_bytes(value))
        elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
            self._enter(str(value.dtype), str(value.shape))
            self.total.update(np.ascontiguousarray(value).tobytes())
        elif isinstance(value, torch.Generator):
            self.total.update(raw_bytes(value.get_state()))
        elif isinstance(value, (types.BuiltinFunctionType, types.MethodDescriptorType)):
            self._enter(str(getattr(value, "__module__", "")), value.__name__)
        elif isinstance(value, types.ModuleType):
            self._module(value, name)
        elif isinstance(value, types.FunctionType):
            self._function(value, name)
        elif isinstance(value, types.MethodType):
            self._parts({"function": value.__func__, "self": value.__self__}, name)
        elif isinstance(value, functools.partial):
            self._parts({"function": value.func, "args": value.args, "keywords": value.keywords}, name)
        elif isinstance(value, type):
            self._class(value, name)
        elif isinstance(value, types.CodeType):
            self._code(value, name)
        elif isinstance(value, Mapping):
            self._parts({f"{key!r}": part for key, part in value.items()}, name)
        elif isinstance(value, (list, tuple)):
            self._parts({str(i): part for i, part in enumerate(value)}, name)
        elif isinstance(value, (set, frozenset)):
            self._enter(*sorted(fingerprint(part)[0] for part in value))
        else:
            self._object(value, name)

    def _enter(self, *words: str) -> None:
        for word in words:
            self.total.update(f"{len(word)}:{word}".encode())

    def _parts(self, parts: Mapping[str, Any], name: str) -> None:
        self._enter(str(len(parts)))
        for key, part in parts.items():
            self._enter(key)
            self.read(part, f"{name}.{key}" if key.isidentifier() else f"{name}[{key}]")

    def _function(self, function: types.FunctionType, name: str) -> None:
        self._enter(function.__module__ or "", function.__qualname__)
        own = not _installed(function.__module__)
        if own:
            self._code(function.__code__, name)
        self.read(function.__defaults__, f"{name}'s defaults")
        self.read(function.__kwdefaults__, f"{name}'s defaults")
        for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self._enter(variable)
            try:
                self.read(cell.cell_contents, variable)
            except ValueError:  # not assigned yet
                self._enter("empty")
        for variable in _globals_of(function.__code__) if own else ():
            if variable in function.__globals__:
                self._enter(variable)
                self.read(function.__globals__[variable], variable)

    def _module(self, module: types.ModuleType, name: str) -> None:
        self._enter(module.__name__)
        if _installed(module.__name__):
            return
        # which of its functions are called cannot be told, so all of its text counts, and the plain values that it holds now
        try:
            self.total.update(Path(str(module.__file__)).read_bytes())
        except (OSError, AttributeError):
            self.unreadable.append(f"{name} (a module without a file)")
        plain = {key: part for key, part in vars(module).items() if isinstance(part, _PLAIN) and not key.startswith("__")}
        self._parts(dict(sorted(plain.items())), name)

    def _code(self, code: types.CodeType, name: str) -> None:
        self._enter(str(code.co_argcount), str(code.co_kwonlyargcount), *code.co_names, *code.co_varnames)
        self.total.update(code.co_code)
        for constant in code.co_consts:
            self.read(constant, f"a constant of {name}")

    def _class(self, kind: type, name: str) -> None:
        self._enter(kind.__module__, kind.__qualname__)
        if _installed(kind.__module__):
            return
        self.read(kind.__bases__, f"{name}'s bases")
        skipped = ("__dict__", "__weakref__", "__doc__", "__module__", "__abstractmethods__", "_abc_impl")
        for key, part in sorted(vars(kind).items()):
            if key not in skipped:
                self._enter(key)
                inner = {"fget": part.fget, "fset": part.fset} if isinstance(part, property) else part
                self.read(getattr(inner, "__func__", inner), f"{name}.{key}")

    def _object(self, value: Any, name: str) -> None:
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict):
            self.read(type(value), type(value).__name__)
            self._parts(attributes, name)
            if all(_in_python(base) for base in type(value).__mro__[:-1]):
                return  # else it may hold more than its attributes: an open file has some, too
        try:
            self.total.update(pickle.dumps(value, protocol=5))
        except Exception:  # whatever an object raises that cannot be pickled: locks, files, sockets
            described = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
            self.unreadable.append(f"{name} ({described[:60]})")


def _globals_of(code: types.CodeType) -> list[str]:
    names = {part.argval for part in dis.get_instructions(code) if part.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names.update(_globals_of(constant))
    return sorted(names)


def _in_python(kind: type) -> bool:
    """Whether a class is written in Python, so that its objects are what their attributes are."""
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None)
    return kind.__module__ == "__main__" or (file is not None and file.endswith((".py", ".pyc")))


def _installed(module: str | None) -> bool:
    """Whether a module comes with Python or from an installed package: known by its name."""
    if module is None:
        return False
    if module.partition(".")[0] in (*sys.stdlib_module_names, "builtins", _OWN) and module != "__main__":
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and file.startswith(_PLACES)
