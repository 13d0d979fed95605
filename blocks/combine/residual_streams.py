"""Several residual streams in place of one: hyper-connections."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from blocks.errors import BlockError, must_be_positive


class ReadStreams(nn.Module):
    """Mixes residual streams before a branch: what the branch reads, the streams beside it, and
    the weights with which its output is added to each stream.

    Formula:
        [x, S'] = (A + α tanh(norm(S) W))ᵀ S and β = b + γ tanh(norm(S) w), for each token

    Args:
        streams: number of streams; inferred from the input.
        dim: width of a stream; inferred from the input.
        start: the stream that the branch reads at the start, from 0 to `streams - 1`.
        dynamic: the weights depend on the token; else A and b alone are learned.

    Shape:
        (batch, *tokens, streams, dim) -> branch (batch, *tokens, dim), streams (batch, *tokens,
        streams, dim), weights (batch, *tokens, streams)

    Raises:
        BlockError: `start` is not a stream.

    Source:
        Zhu et al. 2024, arXiv:2409.19606, section 2 and algorithm 2: the norm is LayerNorm; W and w
        start at zero, α and γ at 0.01, A as the identity beside a choice of one stream, and b at 1,
        so that all streams equal the one of a pre-norm network.
    """

    outputs = ("branch", "streams", "weights")

    def __init__(self, streams: int, dim: int, *, start: int = 0, dynamic: bool = True):
        super().__init__()
        must_be_positive("streams", streams)
        if not 0 <= start < streams:
            raise BlockError(
                "start must be one of the streams",
                got=f"start={start}, streams={streams}",
                fits=f"start in 0..{streams - 1}",
            )
        first = F.one_hot(torch.tensor(start), streams).float()
        self.mix = nn.Parameter(torch.cat((first[:, None], torch.eye(streams)), dim=1))
        self.add = nn.Parameter(torch.ones(streams))
        self.norm, self.mix_by_token, self.add_by_token, self.scales = None, None, None, None
        if dynamic:
            self.norm = nn.LayerNorm(dim)
            self.mix_by_token = nn.Parameter(torch.zeros(dim, streams + 1))
            self.add_by_token = nn.Parameter(torch.zeros(dim))
            self.scales = nn.Parameter(torch.full((2,), 0.01))

    def forward(
        self, x: Float[Tensor, "batch *tokens streams dim"]
    ) -> tuple[
        Float[Tensor, "batch *tokens dim"],
        Float[Tensor, "batch *tokens streams dim"],
        Float[Tensor, "batch *tokens streams"],
    ]:
        mix, add = self.mix.to(x.dtype), self.add.to(x.dtype)
        if self.norm is None or self.scales is None:
            weights = add.expand(x.shape[:-1])
        else:
            normed = self.norm(x)
            of_mix, of_add = self.scales.to(x.dtype)
            mix = mix + of_mix * torch.tanh(normed @ self.mix_by_token)
            weights = add + of_add * torch.tanh(normed @ self.add_by_token)
        mixed = mix.mT @ x
        return mixed[..., 0, :], mixed[..., 1:, :], weights


class WriteStreams(nn.Module):
    """Adds the output of a branch to each residual stream, with the weights of `ReadStreams`.

    Formula:
        S' + β xᵀ, for each token

    Shape:
        x (batch, *tokens, dim), streams (batch, *tokens, streams, dim), weights (batch, *tokens,
        streams) -> (batch, *tokens, streams, dim)

    Source:
        Zhu et al. 2024, arXiv:2409.19606, section 2 and algorithm 2 (the depth connections).
    """

    def forward(
        self,
        x: Float[Tensor, "batch *tokens dim"],
        streams: Float[Tensor, "batch *tokens streams dim"],
        weights: Float[Tensor, "batch *tokens streams"],
    ) -> Float[Tensor, "batch *tokens streams dim"]:
        return torch.addcmul(streams, x.unsqueeze(-2), weights.unsqueeze(-1))
