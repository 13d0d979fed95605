"""Mistakes in Chinese: a sentence for each code, and for the messages that are met most.

The words of the model, which a message quotes, stay as they are.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

CODES = {
    "ambiguous-text": "这个词会被 YAML 转成别的值，或者含有形似的字符。",
    "bad-argument": "模块不接受参数的这个值。",
    "bad-command": "命令缺少内容，或者前后矛盾。",
    "bad-data": "数据文件缺失、损坏，或者格式无法读取。",
    "bad-expression": "表达式或模式无法解析，或者没有值。",
    "bad-node": "节点的写法不对：种类、输入或输出有误。",
    "bad-override": "命令行上的这项改动无法解析。",
    "bad-reference": "`${...}` 或 defaults 中的一项找不到所指。",
    "bad-run": "运行目录或检查点缺失、损坏，或者与命令不符。",
    "bad-sweep": "扫描的取值无法逐个列出。",
    "bad-value": "值超出了这个键允许的范围。",
    "block-failed": "模块在构建或运行时出错。",
    "broken-code": "类或代码文件无法导入。",
    "circular": "文件、部件、节点或名称循环引用。",
    "crash": "程序本身出错，不是配置的问题。",
    "data-mismatch": "模型、数据与任务不匹配。",
    "dtype-mismatch": "张量的数据类型不是模块所要的。",
    "duplicate-key": "同一个键写了两次。",
    "expectation-failed": "形状或参数量与 `expect` 所写的不同。",
    "failed-check": "网络看到了不该看到的 token。",
    "interrupted": "程序被信号或 Ctrl-C 中断。",
    "invalid-yaml": "这里不是合法的 YAML。",
    "missing-argument": "缺少必填的参数。",
    "missing-fact": "数据的这项信息要读取数据后才知道。",
    "missing-file": "文件或目录不存在。",
    "missing-key": "缺少必需的键。",
    "name-taken": "名称是保留字，或者已被占用。",
    "no-learning-rate": "没有找到能使损失下降的学习率。",
    "not-allowed": "改动要用到不受信任的代码，或者目录之外的位置。",
    "not-finite": "损失或梯度变成了无穷大或 NaN。",
    "not-installed": "缺少所需的软件包。",
    "process-lost": "运行的一个进程已经结束，或者没有响应。",
    "refused-file": "文件要做文件不许做的事，例如运行代码。",
    "shape-mismatch": "尺寸或轴的数目对不上。",
    "system-error": "系统拒绝了对文件、磁盘或连接的操作。",
    "too-large": "超出了大小、深度、步数或内存的上限。",
    "too-slow": "计算超过了允许的时间。",
    "unknown-argument": "模块、部件或类没有这个参数。",
    "unknown-block": "没有这个名称的模块。",
    "unknown-fact": "数据没有给出这项信息。",
    "unknown-flag": "命令没有这个选项。",
    "unknown-key": "这里没有这个键或这一节。",
    "unknown-name": "这里没有这个名称的节点、输入、输出、参数或指标。",
    "unknown-option": "这一组中没有这个名称的文件。",
    "unreadable-file": "文件无法打开，或者是别的格式。",
    "unsupported": "模型不能这样处理，例如拆分或导出。",
    "unused": "这个值或节点不起任何作用。",
    "unwritable-file": "文件或目录无法写入，或者不许覆盖。",
    "weights-mismatch": "文件中的张量与模型的参数对不上。",
    "wrong-inputs": "节点或模块的输入太少或太多。",
    "wrong-type": "值的类型不对，例如该写数字的地方写了文字。",
}
SENTENCES = {  # messages, `{}` for what they quote; the first that matches
    # what fits, and what to change
    "did you mean {} or {}?": "是不是想写 {} 或 {}？",
    "did you mean {}?": "是不是想写 {}？",
    "{}, or an expression: {}": "{}，或表达式 {}",
    "{} is {}: write a space": "{} 是 {}：请改成空格",
    "{} is {}: write {}": "{} 是 {}：请改写为 {}",
    "choose other data (data=...), or state it: {}": "换用别的数据（data=...），或自己写明：{}",
    "data has {}": "数据有 {}",
    "{} has index, count, fraction": "{} 有 index、count、fraction",
    "it takes none": "它没有参数",
    "a whole number": "整数",
    "a number": "数字",
    "a text": "文字",
    "true or false": " true 或 false",
    "a list": "列表",
    "close what a bracket or a brace opened, or add the comma": "补上右括号，或者补上逗号",
    "look at brackets, quotes and indentation here and above": "检查这里和上文的括号、引号与缩进",
    "indent with spaces, not with a tab": "缩进用空格，不用制表符",
    "keep one of the two": "两者只留一个",
    "leave the tag out": "去掉标签",
    "to leave a node out, write when: false": "不要这个节点时写 when: false",
    "{} lists all; blocks of your own come with library=[FOLDER]": (
        "{} 列出全部模块；自己的模块用 library=[FOLDER] 加入"
    ),
    "no name {} is in scope here; params of the model are in scope everywhere": (
        "这里没有名称 {}；模型的 params 处处可用"
    ),
    # of the assembler
    "no block {}": "没有名为 {} 的模块",
    "no slot {} is filled here": "没有名为 {} 的部件",
    "no section {} in a model": "模型文件没有 {} 这一节",
    "a model needs {}": "模型文件缺少 {}",
    "no node or input {} here, before this one": "在此之前没有名为 {} 的节点或输入",
    "no name {} in scope here": "这里没有名称 {}",
    "no node or input {} here": "这里没有名为 {} 的节点或输入",
    "the data does not say {}": "数据没有给出 {}",
    "a key has a character that looks like another": "键中有形似的字符",
    "a node is exactly one of block, use, body, share": (
        "一个节点要写 block、use、body、share 中的一个，且只写一个"
    ),
    "no data state {}": "数据没有给出 {}",
    "no node {} to share, before this one": "在此之前没有可共享的节点 {}",
    "{} has no option {}": "{} 没有选项 {}",
    "{} has no argument {}": "{} 没有参数 {}",
    "{} has no input {}": "{} 没有输入 {}",
    "{} has no key {}": "{} 没有键 {}",
    "{} has no {}": "{} 没有 {}",
    "{} is not an expression": "{} 不是表达式",
    "{} is missing (???)": "{} 还没有填（???）",
    "{} is a mapping": "{} 应当是映射",
    "{} cannot be inferred": "{} 无法推断，需要写出",
    "{} goes with {}": "{} 要与 {} 一起写",
    "{} is given twice": "{} 写了两次",
    "{} has no value: {}": "{} 没有值：{}",
    "{} takes 0 inputs": "{} 不接受输入",
    "{} takes 1 input ({})": "{} 只接受一个输入（{}）",
    "{} takes {} inputs ({})": "{} 接受 {} 个输入（{}）",
    "{} takes a list of inputs": "{} 的输入应当是列表",
    "{} takes {}": "{} 应当是{}",
    "{} does not take this value": "{} 不接受这个值",
    "{} needs {}, which the data does not have": "{} 需要 {}，而数据中没有",
    "{} needs {}": "{} 缺少参数 {}",
    "{} fails: {}": "{} 出错：{}",
    "groups must divide experts into groups of two or more": (
        "groups 必须把 experts 分成每组至少两个"
    ),
    "{} must divide {}": "{} 必须整除 {}",
    "{} must be divisible by {}": "{} 必须能被 {} 整除",
    "{} must be a multiple of {}": "{} 必须是 {} 的倍数",
    "{} must be positive": "{} 必须大于 0",
    "patches must tile the height of the image": "图块必须恰好铺满图像的高",
    "patches must tile the width of the image": "图块必须恰好铺满图像的宽",
    "{}={} or more": "{}={} 或更大",
    "{}={} or {}": "{}={} 或 {}",
    "e.g. {}={}": "例如 {}={}",
    "there is no such token": "没有这个 token",
    "repeat is at least 1": "repeat 至少为 1",
    "this node feeds nothing": "没有节点读取这个节点的输出",
    "nothing reads the input {}": "没有节点读取输入 {}",
    "a node is a mapping": "节点应当是映射",
    "a node cannot be empty": "节点不能为空",
    "a model is a mapping": "模型文件应当是映射",
    "the shape is not the one expected": "形状与预期的不同",
    "the model has not the parameters it claims": "参数量与文件所写的不同",
    "this changes nothing: nothing reads {}": "这项改动不起作用：没有地方读取 {}",
    "not YAML: found duplicate key {}": "不是合法的 YAML：键 {} 写了两次",
    "not YAML: expected {}, but got {}": "不是合法的 YAML：应当是 {}，写的却是 {}",
    "not YAML: found character {} that cannot start any token": (
        "不是合法的 YAML：这里不能以字符 {} 开头"
    ),
    "not YAML: {}": "不是合法的 YAML：{}",
    "a tag asks for more than plain values": "标签（!）要求了普通值以外的内容",
    # of the page
    "the text is no mapping": "文本不是映射",
    "`params` is no mapping": "`params` 不是映射",
    "{} is no value of YAML": "{} 不是 YAML 的值",
    "the file has no `defaults`": "文件中没有 `defaults`",
    "an expression chooses what {} is: write it in the text": (
        "{} 是什么由表达式决定，请在文本中改"
    ),
    "`{}` is no mapping": "`{}` 不是映射",
    "`{}` is not written in this text": "本文本中没有写 `{}`",
    "no argument is named": "没有指明参数",
    "this place of the text cannot be edited from here: write it in the text": (
        "文本的这一处不能从这里修改，请直接改文本"
    ),
    "no key {} in line {}": "第 {1} 行没有键 {0}",
    "the text is not YAML at the moment": "文本目前不是合法的 YAML，请先改正",
    "{} is not written as a node of this file": "{} 不是写在本文件中的节点",
    "{} reads nothing": "{} 没有输入",
    "{} is the only node of its graph": "{} 是所在图中唯一的节点，不能删除",
    "the two nodes stand in different graphs": "两个节点不在同一张图中",
    "a skip connection leads from one node to another": "跳跃连接要从一个节点连到另一个节点",
    "{} has several inputs with names: write it in the text": "{} 有多个带名称的输入，请在文本中改",
    "{} reads {} already": "{} 已经读取 {}",
    "choose nodes of one graph that stand below each other": "请选同一张图中上下相邻的节点",
    "{} is no free name": "{} 不能用作名称，或已被占用",
    "the graph is not found": "找不到这张图",
    "the text holds a block that would change: format it by hand": (
        "文本中有一段整理后会变，请手工整理"
    ),
    "a node behind them reads one inside: fold the nodes up to it": (
        "后面的节点读取其中一个：请一直折叠到那里"
    ),
    "{} reads {}, which is not among them": "{} 读取 {}，而后者不在所选之中",
    "a model is named by letters, digits and _": "模型名称只能用字母、数字和 _",
    "the folder of drafts leads out of the project": "草稿目录指向了项目之外",
    "there is no model {}": "没有名为 {} 的模型",
    "{} characters; a model file has {} at most": "共 {} 个字符；模型文件最多 {} 个",
    "there is a model {} already": "已经有名为 {} 的模型",
    "the file would lie outside of the project, or is too long": "文件会落在项目之外，或者太长",
    "the file of {} cannot be read: {}": "{} 的文件无法读取：{}",
    "the draft cannot be written: {}": "草稿无法写入：{}",
    "the draft cannot be removed: {}": "草稿无法删除：{}",
    "the file cannot be written: {}": "文件无法写入：{}",
    "the sweep is too large": "扫描的训练次数太多",
    "no run of this project": "本项目没有这次运行",
    "{} trainings; a sweep of the page has 1 to {}": "共 {} 次训练；页面上的扫描为 1 至 {} 次",
    "there is no sweep {}": "没有名为 {} 的扫描",
    "{} is no override": "{} 不是命令行改动",
    "no model": "没有模型",
    "the sweep {} cannot be read": "扫描 {} 无法读取",
    "no figure ends in {}": "没有以 {} 结尾的图",
    "a PDF needs a package that is not installed": "生成 PDF 所需的软件包没有安装",
}
OWNER = re.compile(r"(\w[\w.]*): (.+)", re.DOTALL)  # "SelfAttention: heads must divide dim"


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Return what each message looks like, and its Chinese sentence."""
    found = []
    for english, chinese in SENTENCES.items():
        parts = [re.escape(part) for part in english.split("{}")]
        found.append((re.compile("(.+?)".join(parts), re.DOTALL), chinese))
    return found


def translate(text: str) -> str | None:
    """Return a message in Chinese; None for one that is not among the known ones."""
    owned = OWNER.fullmatch(text)
    inner = translate(owned[2]) if owned is not None else None
    if owned is not None and inner is not None:
        return f"{owned[1]}：{inner}"
    for pattern, chinese in _patterns():
        found = pattern.fullmatch(text)
        if found is not None:
            return chinese.format(*(translate(each) or each for each in found.groups()))
    return None


def explain(entry: Mapping[str, Any]) -> str:
    """Return what is wrong in Chinese: the message, or at least what its code means."""
    known = translate(entry["problem"])
    if known is not None:
        return known
    sentence = CODES[entry["code"]]
    owned = OWNER.fullmatch(entry["problem"])
    return sentence if owned is None else f"{owned[1]}：{sentence}"
