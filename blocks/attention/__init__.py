"""Attention: scaled dot product, linear, additive, of patches, in windows, and its masks."""

from blocks.attention.additive import AdditiveAttention
from blocks.attention.core import Attend
from blocks.attention.cross import CrossAttention
from blocks.attention.differential import DifferentialAttention
from blocks.attention.dot_product import SelfAttention
from blocks.attention.first_values import FirstValues
from blocks.attention.latent import LatentAttention
from blocks.attention.linear_attention import LinearAttention
from blocks.attention.mask import Mask
from blocks.attention.patch import CrossPatchAttention, InnerPatchAttention
from blocks.attention.window import Heads, PatchMerging, Size, WindowAttention

__all__ = [
    "AdditiveAttention",
    "Attend",
    "CrossAttention",
    "CrossPatchAttention",
    "DifferentialAttention",
    "FirstValues",
    "Heads",
    "InnerPatchAttention",
    "LatentAttention",
    "LinearAttention",
    "Mask",
    "PatchMerging",
    "SelfAttention",
    "Size",
    "WindowAttention",
]
