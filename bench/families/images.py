"""ViT, Swin, ResNet and CAT on images of 224 x 224, a thousand classes, cross-entropy.

Nothing is dropped.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.compare.contender import Contender, Family
from bench.families.ours import built, macs, memory

SIZE, CLASSES = 224, 1000
FACTS = {"image": {"channels": 3, "height": SIZE, "width": SIZE}, "classes": CLASSES}
VIT = {
    "vit_ti": ("vit_ti16", "vit_tiny_patch16_224", 192, 3),
    "vit_s": ("vit_s16", "vit_small_patch16_224", 384, 6),
    "vit_b": ("vit_b16", "vit_base_patch16_224", 768, 12),
}


def on_images(
    make: Callable[[], nn.Module], batch: int, device: str, *, channels_last: bool = False
) -> Callable[[], Contender]:
    """A contender that gives logits of images, as a tensor or in one of the usual wrappings."""

    def contender() -> Contender:
        generator = torch.Generator().manual_seed(0)
        image = torch.randn(batch, 3, SIZE, SIZE, generator=generator).to(device)
        label = torch.randint(CLASSES, (batch,), generator=generator).to(device)
        model = make().to(device)
        if channels_last:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            image = image.to(memory_format=torch.channels_last)

        def output() -> Tensor:
            result: Any = model(image)
            return result if isinstance(result, Tensor) else result["logits"]

        return Contender(model, lambda: F.cross_entropy(output(), label), output)

    return contender


def timm(name: str) -> nn.Module:
    import timm

    return timm.create_model(
        name, num_classes=CLASSES, **({"drop_path_rate": 0.0} if "resnet" not in name else {})
    )


def family(
    name: str,
    batch: int,
    device: str,
    model: str,
    overrides: list[str],
    peers: dict[str, Any],
    **rest: Any,
) -> Family:
    """Ours and its peers on `batch` images."""
    last = rest.pop("channels_last", False)
    makers = {"dougong": lambda: built(model, overrides, FACTS), **peers}
    contenders = {
        key: on_images(make, batch, device, channels_last=last) for key, make in makers.items()
    }
    size = f"{model}, batch {batch}, {SIZE}x{SIZE}" + ", channels-last" * last
    return Family(
        name,
        size,
        contenders,
        flops=lambda: 6 * batch * macs(model, overrides, FACTS),
        items=(batch, "images"),
        memory=lambda: memory(model, overrides, FACTS, batch),
        **rest,
    )


def vit(name: str, batch: int, device: str) -> Family:
    model, timm_name, dim, heads = VIT[name]

    def transformers() -> nn.Module:
        from transformers import ViTConfig, ViTForImageClassification

        config = ViTConfig(
            hidden_size=dim,
            num_attention_heads=heads,
            intermediate_size=4 * dim,
            num_labels=CLASSES,
            layer_norm_eps=1e-6,
            hidden_dropout_prob=0.0,
        )
        return ViTForImageClassification(config)

    def torchvision() -> nn.Module:
        from torchvision.models import VisionTransformer

        return VisionTransformer(SIZE, 16, 12, heads, dim, 4 * dim, num_classes=CLASSES)

    def vit_pytorch() -> nn.Module:
        from vit_pytorch import ViT

        return ViT(
            image_size=SIZE,
            patch_size=16,
            num_classes=CLASSES,
            dim=dim,
            depth=12,
            heads=heads,
            mlp_dim=4 * dim,
        )

    def x_transformers() -> nn.Module:
        from x_transformers import Encoder, ViTransformerWrapper

        layers = Encoder(dim=dim, depth=12, heads=heads, attn_flash=True)
        return ViTransformerWrapper(
            image_size=SIZE, patch_size=16, num_classes=CLASSES, attn_layers=layers
        )

    peers = {
        "timm": lambda: timm(timm_name),
        "transformers": transformers,
        "torchvision": torchvision,
        "vit-pytorch": vit_pytorch,
        "x-transformers": x_transformers,
    }
    maps = {
        "timm": "timm_vit",
        "transformers": "transformers_vit",
        "torchvision": "torchvision_vit",
    }
    near = {
        "vit-pytorch": "norms around the patches, no bias of q, k, v",
        "x-transformers": "no bias, means tokens",
    }
    rest: dict[str, Any] = {"maps": maps, "near": near, "only_gpu": name == "vit_b"}
    return family(name, batch, device, model, ["params.drop_path=0.0"], peers, **rest)


def swin(batch: int, device: str) -> Family:
    def transformers() -> nn.Module:
        from transformers import SwinConfig, SwinForImageClassification

        return SwinForImageClassification(SwinConfig(num_labels=CLASSES, drop_path_rate=0.0))

    def torchvision() -> nn.Module:
        from torchvision.models.swin_transformer import SwinTransformer

        return SwinTransformer(
            [4, 4], 96, [2, 2, 6, 2], [3, 6, 12, 24], [7, 7], stochastic_depth_prob=0.0
        )

    peers = {
        "timm": lambda: timm("swin_tiny_patch4_window7_224"),
        "transformers": transformers,
        "torchvision": torchvision,
    }
    maps = {
        "timm": "timm_swin",
        "transformers": "transformers_swin",
        "torchvision": "torchvision_swin",
    }
    return family("swin_t", batch, device, "swin_t", ["params.drop_path=0.0"], peers, maps=maps)


def convnext(batch: int, device: str) -> Family:
    def torchvision() -> nn.Module:
        from torchvision.models import convnext_tiny

        return convnext_tiny(stochastic_depth_prob=0.0)

    peers = {"timm": lambda: timm("convnext_tiny"), "torchvision": torchvision}
    rest: dict[str, Any] = {"maps": {"timm": "timm_convnext"}, "only_gpu": True}
    rest["near"] = {"torchvision": "its norms add 1e-6, and swap the axes of images twice a block"}
    rest["channels_last"] = True
    return family(
        "convnext_t", batch, device, "convnext_t", ["params.drop_path=0.0"], peers, **rest
    )


def resnet(batch: int, device: str) -> Family:
    def transformers() -> nn.Module:
        from transformers import ResNetConfig, ResNetForImageClassification

        return ResNetForImageClassification(ResNetConfig(num_labels=CLASSES))

    def torchvision() -> nn.Module:
        from torchvision.models import resnet50

        return resnet50()

    peers = {
        "timm": lambda: timm("resnet50"),
        "torchvision": torchvision,
        "transformers": transformers,
    }
    maps = {
        "timm": "torchvision_resnet",
        "transformers": "transformers_resnet",
        "torchvision": "torchvision_resnet",
    }
    return family("resnet50", batch, device, "resnet50", [], peers, maps=maps, channels_last=True)


def cat(batch: int, device: str) -> Family:
    def plain() -> nn.Module:
        from bench.compare.plain_cat import Cat

        return Cat(CLASSES)

    return family(
        "cat_t",
        batch,
        device,
        "cat_t",
        ["params.drop_path=0.0"],
        {"plain": plain},
        maps={"plain": "cat"},
    )


def families(batch: int, device: str) -> list[Family]:
    vits = [vit(name, batch, device) for name in VIT]
    others = [each(batch, device) for each in (swin, resnet, convnext, cat)]
    return [*vits, *others]
