"""The environment in YAML: `${oc.env:NAME}` is read only once the file that asks for it was looked
at.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from omegaconf import OmegaConf
from omegaconf.resolvers import oc

_UNREAD: ContextVar[bool] = ContextVar("unread", default=False)


@contextmanager
def unread_environment() -> Iterator[None]:
    """Let `${oc.env:NAME}` come to `$NAME` while files are composed: who wrote them is looked at
    only after.
    """
    token = _UNREAD.set(True)
    try:
        yield
    finally:
        _UNREAD.reset(token)


def _read_environment(name: str, *default: Any) -> Any:
    return f"${name}" if _UNREAD.get() else oc.env(name, *default)


OmegaConf.register_new_resolver("oc.env", _read_environment, replace=True)
