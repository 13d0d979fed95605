"""ResNet-50 as a careful person writes it, with the names of the composed model."""

from torch import Tensor, nn


class Conv(nn.Module):
    def __init__(
        self,
        channels: int,
        features: int,
        kernel: int = 1,
        stride: int = 1,
        activation: bool = True,
    ):
        super().__init__()
        self.conv = nn.Conv2d(
            channels, features, kernel, stride, padding=kernel // 2, bias=False
        )
        self.norm = nn.BatchNorm2d(features)
        self.activation = nn.ReLU() if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(x)))


class Unit(nn.Module):
    def __init__(self, channels: int, features: int, stride: int = 1):
        super().__init__()
        wide = 4 * features
        self.reduce = Conv(channels, features)
        self.spatial = Conv(features, features, 3, stride)
        self.expand = Conv(features, wide, activation=False)
        self.shortcut = nn.Identity()
        if channels != wide:
            self.shortcut = Conv(channels, wide, stride=stride, activation=False)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out = self.expand(self.spatial(self.reduce(x)))
        return self.relu(out + self.shortcut(x))


class Stage(nn.Module):
    def __init__(self, channels: int, features: int, depth: int, stride: int):
        super().__init__()
        rest = (Unit(4 * features, features) for _ in range(depth - 1))
        self.units = nn.Sequential(Unit(channels, features, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        return self.units(x)


class Model(nn.Module):
    def __init__(self, classes: int):
        super().__init__()
        self.stem = Conv(3, 64, 7, 2)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.stages = nn.Sequential(
            Stage(64, 64, 3, stride=1),
            Stage(256, 128, 4, stride=2),
            Stage(512, 256, 6, stride=2),
            Stage(1024, 512, 3, stride=2),
        )
        self.head = nn.Linear(2048, classes)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = self.stages(self.pool(self.stem(image)))
        return {"logits": self.head(x.mean(dim=(2, 3)))}
