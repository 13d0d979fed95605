"""What stands in for the compiler of torch and for sympy in a process that only asks for shapes:
importing them takes longer than most answers.
"""

import importlib
import sys
import types
from collections.abc import Callable
from typing import Any

COMPILER = "torch._dynamo"
# modules that a question does not need -> whether they hold others
STAND_INS = {COMPILER: True, "torch.fx.experimental.symbolic_shapes": False, "sympy": True}


class StandIn(types.ModuleType):
    """A module in the place of one that takes long to import.

    A name that it lacks is a function that imports the module when it is called, or, of a class,
    imports it at once.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and not (name == "__path__" and STAND_INS[self.__name__]):
            raise AttributeError(name)
        if name.islower() and not name.startswith("__"):
            return lambda *values, **named: self.find(name)(*values, **named)
        return self.find(name)

    def find(self, name: str) -> Any:
        """Return what the module itself calls by a name; it takes the place of this one."""
        restore_the_compiler(except_for="" if self.__name__ == COMPILER else COMPILER)
        return getattr(importlib.import_module(self.__name__), name)

    def answer(self, name: str, answer: Callable[..., Any]) -> None:
        """Add a function of plain numbers and shapes; the module itself is asked about others."""

        def ask(*values: Any, **named: Any) -> Any:
            if not named and all(map(is_plain, values)):
                return answer(*values)
            return self.find(name)(*values, **named)

        setattr(self, name, ask)


def is_plain(value: Any) -> bool:
    """Return whether a value is a number or a shape without symbols."""
    return all(map(is_plain, value)) if isinstance(value, tuple) else type(value) in (bool, int)


def spare_the_compiler() -> None:
    """Keep torch's compiler and sympy out of this process.

    Some shape functions of torch are wrapped in `torch._dynamo.disable`, which does nothing but
    tell the compiler to leave them alone, and which imports the compiler at the first call. Most
    check sizes by functions that give back what is not symbolic, or look for symbols of sympy.
    """
    compiler, symbolic, sympy = map(StandIn, STAND_INS)
    compiler.disable = lambda function, *_, **__: function  # type: ignore[attr-defined]
    for name in ("expect_true", "guard_or_false", "guard_or_true", "statically_known_true"):
        symbolic.answer(name, lambda truth: truth)
    symbolic.answer("sym_and", lambda *truths: all(truths))
    symbolic.answer("sym_or", lambda *truths: any(truths))
    symbolic.answer("sym_eq", lambda left, right: left == right)
    symbolic.answer("is_nested_int", lambda size: False)
    sympy.Basic = type("Basic", (), {})  # type: ignore[attr-defined]
    for module in (compiler, symbolic, sympy):
        sys.modules.setdefault(module.__name__, module)


def restore_the_compiler(except_for: str = "") -> None:
    """Take away what stands in for parts of torch, which Lightning imports."""
    for name in STAND_INS:
        if name != except_for and not hasattr(sys.modules.get(name), "__file__"):
            sys.modules.pop(name, None)
