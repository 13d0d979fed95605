import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Peak(TorchDispatchMode):
    """The most bytes of tensors that were alive at once, beside those that were there before."""

    def __init__(self, *before: torch.Tensor):
        super().__init__()
        self.now = self.most = 0
        self.alive = {tensor.untyped_storage()._cdata for tensor in before}

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        out = operation(*arguments, **(keywords or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.alive:
                    self.alive.add(storage._cdata)
                    self.now += storage.nbytes()
                    self.most = max(self.most, self.now)
                    weakref.finalize(storage, self.free, storage._cdata, storage.nbytes())
        return out

    def free(self, storage: int, size: int) -> None:
        self.alive.discard(storage)
        self.now -= size


@pytest.fixture
def peak():
    return Peak
