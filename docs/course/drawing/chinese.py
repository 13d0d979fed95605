"""The words of the pictures in Chinese."""

import re
from collections.abc import Callable

WORDS: dict[
    str, str | Callable[[re.Match[str]], str]
] = {  # an English text, as a pattern -> the Chinese one
    # lesson 1
    "gradient norm": "梯度范数",
    "steps before the answer": "距离答案的步数",
    # lesson 3
    "encoder, two places padded": "编码器，两个位置被填充",
    "decoder, causal": "解码器，因果",
    "cross, two places padded": "交叉注意力，两个位置被填充",
    "changed input": "被改动的输入",
    "output": "输出",
    # lessons 4, 12 and 15
    r"layer (\d)": r"第 \1 层",
    r"head (\d)": r"头 \1",
    # lesson 5
    r"rolled by (\d): nine regions,": r"滚动 \1 格：九个区域，",
    r"four windows of 4x4": "四个 4x4 的窗口",
    r"window with (.+)": r"含 \1 的窗口",
    "key": "键",
    "query": "查询",
    "one layer:": "一层：",
    "two layers, no shift:": "两层，没有移位：",
    "two layers, the second shifted:": "两层，第二层移位：",
    r"(\d+) of 64 cells": r"64 格中的 \1 格",
    # lesson 6
    "kernels": "卷积核",
    "feature maps after norm and ReLU": "归一化和 ReLU 之后的特征图",
    # lesson 7
    "layer": "层",
    "norm of the loss's gradient": "损失的梯度范数",
    "at each layer's output": "在每一层的输出处",
    "w - η · gradient on the loss surface": "损失曲面上的 w - η · 梯度",
    "step": "步",
    "loss": "损失",
    # lesson 8
    "value": "函数值",
    "slope": "导数",
    r"what enters (.+)": r"进入 \1 的值",
    r"one feature map after (.+)": r"\1 之后的一张特征图",
    # lesson 9
    "cosine of two sinusoidal positions": "两个正弦位置的余弦",
    "of two learned ones, after training": "两个学到的位置的余弦，训练之后",
    "part of a score that distance alone decides": "分数里只由距离决定的部分",
    "position": "位置",
    "distance": "距离",
    # lesson 10
    "gradient norm after the first layer": "第一层之后的梯度范数",
    r"agreement of two batches \(cosine\)": "两个批次的梯度有多一致（余弦）",
    "layers": "层数",
    # lesson 11
    "image, and a cell": "图像和一个格子",
    "inside its patch: weights": "所在图块内的权重",
    "weights of 4 patches": "四个图块的权重",
    r"(with|without) cross: (\d+) of 64": lambda found: (
        f"{'有' if found[1] == 'with' else '无'}跨块：{found[2]} / 64 格"
    ),
    r"is there a seven\?": "有没有七？",
    r"sum of the left column\?": "左边一列的和？",
    r"what is the (bottom|top) (left|right) digit\?": lambda found: (
        f"{'左' if found[2] == 'left' else '右'}{'上' if found[1] == 'top' else '下'}角是几？"
    ),
    r"which digit is the largest\?": "最大的数字是几？",
    "no": "没有",
    # lesson 12
    r"the only layer, head (\d)": r"唯一的一层，头 \1",
    "looked at": "被看的位置",
    "place that looks": "在看的位置",
    "place": "位置",
    "share that the right next token has": "正确的下一个词元得到的概率",
    # lesson 13
    "grouped": "分组",
    "rotary": "旋转位置",
    "parameters": "参数",
    "multiply-adds": "乘加次数",
    "numbers kept a token": "每个词元要缓存的数",
    # lesson 14
    "image": "图像",
    "what it sees": "它看到的",
    "what it fills in": "它补出的",
    # lesson 15
    "what retention keeps of a token": "保留机制对一个词元还记得多少",
    "steps later": "之后的步数",
    "steps": "逐步式",
    "gradient norm of the answer": "答案的梯度范数",
    "CPU time of one layer, ms": "一层的 CPU 时间，毫秒",
    "tokens": "词元数",
    "parallel": "并行式",
    "chunked": "分块式",
}
KEPT = re.compile(  # numbers, names of blocks and options, formulas
    r"[^A-Za-z]*|η = [\d.]+|\d+e\d+|RNN|Transformer|MinGRU|GPT|RMSNorm|SwiGLU|GELU|ReLU|SiLU|Tanh|"
    "alibi|none|plain|norm_only|postnorm|prenorm|(relu|tanh), (torch|xavier)"
)
TEXT = re.compile(r"(?<=>)([^<>]+)(?=</text>)")


def in_chinese(svg: str) -> str:
    """Return a drawing with its words in Chinese.

    Raises:
        ValueError: a text of the drawing is neither in WORDS nor kept as it is.
    """
    return TEXT.sub(translate, svg)


def translate(found: re.Match[str]) -> str:
    """Return the Chinese of one text of a drawing."""
    text = found[0].replace("&#x27;", "'").replace("&apos;", "'")
    for pattern, chinese in WORDS.items():
        match = re.fullmatch(pattern, text)
        if match:
            return match.expand(chinese) if isinstance(chinese, str) else chinese(match)
    if KEPT.fullmatch(text):
        return found[0]
    raise ValueError(f"no Chinese for {text!r}: add it to WORDS")
