"""The texts of the page in English and Chinese."""

from collections.abc import Mapping
from typing import Any

from blocks.studio.page.language.mistakes import explain, translate

LANGUAGES = {"en": "English", "zh": "中文"}
CHINESE = {
    "model": "模型",
    "data": "数据",
    "example of the model": "模型自带的示例",
    "undo": "撤销",
    "zoom out": "缩小",
    "zoom in": "放大",
    "fit the width": "适应宽度",
    "cancel": "取消",
    "downloaded": "已下载",
    "of this repeat; its box counts all of them": "仅这一层；图中的方框为各层之和",
    "redo": "重做",
    "language": "语言",
    "theme": "外观",
    "light": "浅色",
    "dark": "深色",
    "as the system": "跟随系统",
    "the command line for this model": "与当前模型等价的命令",
    "copy": "复制",
    "copied": "已复制",
    "model file": "模型文件",
    "graph": "结构图",
    "no mistakes": "没有错误",
    "checking…": "正在检查…",
    "{file} holds the text below while it differs from the model; run the line in {folder}": (
        "下面的文本与原模型不同时存于 {file}；请在 {folder} 中运行此命令"
    ),
    "copy the command of this training": "复制这次训练的命令",
    "the last graph without a mistake": "仍显示出错前的结构图",
    "line": "行",
    "given": "写的是",
    "fits": "应当是",
    "fix": "改法",
    "apply the fix": "一键修正",
    "in English": "英文原文",
    "edit": "修改",
    "node": "节点",
    "difference": "差异",
    "PyTorch": "PyTorch",
    "train": "训练",
    "runs": "运行记录",
    "slots": "可换的部件",
    "params": "参数",
    "fit to a budget": "按预算求参数",
    "param": "参数",
    "budget": "预算",
    "parameters": "参数量",
    "multiply-adds": "乘加次数",
    "memory for training": "训练时保存的激活值",
    "least time a step": "单步最短耗时",
    "forward and backward of a batch, at the speed of a large product on this CPU": (
        "一个批次的前向与反向，按本机 CPU 做大矩阵乘法的速度估算"
    ),
    "nodes": "节点数",
    "as published": "与论文一致",
    "published": "论文所载",
    "find": "求解",
    "levels": "展开层数",
    "automatic": "自动",
    "all": "全部",
    "choose a node, or a line of the file": "点图中的节点，或把光标放到文件的某一行",
    "written at": "写在",
    "inputs": "输入",
    "outputs": "输出",
    "arguments": "参数",
    "a change is written to": "修改会写入",
    "left out": "不写时为",
    "inferred": "推断得出",
    "receptive field": "感受野",
    "where each value comes from": "每个值从何而来",
    "source": "出处",
    "formula": "公式",
    "epochs": "轮数",
    "epoch": "轮次",
    "starting": "正在启动",
    "progress": "进度",
    "loss": "损失",
    "more overrides": "其他命令行选项",
    "start": "开始训练",
    "stop": "停止",
    "output": "输出",
    "report": "报告",
    "no runs yet": "还没有运行记录",
    "the model has a mistake; mend it before you train": "模型有错误，请先改正再训练",
    "save as a model of the project": "存为本项目的模型",
    "name": "名称",
    "save": "保存",
    "the graphs are the same": "两张图相同",
    "nothing differs from the model of the file": "与原文件中的模型没有差异",
    "insert a node behind": "在其后插入节点",
    "insert a node between": "在两者之间插入节点",
    "replace the node": "替换该节点",
    "duplicate the node": "复制该节点",
    "delete the node": "删除该节点",
    "choose several": "多选",
    "draw a skip connection": "添加跳跃连接",
    "fold into a template": "折叠为模板",
    "format the text": "整理格式",
    "choose a node or an edge": "点选节点或连线",
    "joined by": "合并方式",
    "add": "相加",
    "concatenate the last axis": "沿最后一个轴拼接",
    "concatenate channels: axis 1 of images": "按通道拼接（图像的第 1 轴）",
    "name of the template": "模板名称",
    "apply": "确定",
    "search blocks and slots": "搜索模块与部件",
    "running": "运行中",
    "finished": "已完成",
    "interrupted": "已中断",
    "failed": "失败",
    "killed": "被终止",
    "test": "测试",
    "value": "数值",
    "model file; Esc, then Tab leaves it": "模型文件；先按 Esc 再按 Tab 可离开",
    "choose two runs or more to compare them": "勾选两个以上的运行即可比较",
    "measure": "指标",
    "resume": "继续训练",
    "sweep": "参数扫描",
    "sweeps": "已有的参数扫描",
    "several values for each key; a training for each combination": (
        "给每个键选若干取值，每种组合训练一次，依次排队进行"
    ),
    "learning rates": "学习率",
    "seeds": "随机种子数",
    "add a key": "添加一个键",
    "start the queue": "开始排队训练",
    "waiting": "等待中",
    "not running": "未在运行",
    "status": "状态",
    "look": "观察",
    "what the network of a run makes of one input; renewed after each epoch": (
        "选一个输入，看训练所得的网络如何处理它；每轮训练后更新"
    ),
    "computing…": "正在计算…",
    "point at a place: each head shows where it looks": "把指针移到某处，看每个头从这里关注哪里",
    "a token without a place in the input, e.g. the class token": (
        "在输入中没有位置的 token，例如分类 token"
    ),
    "run": "运行",
    "on the nodes": "节点上显示",
    "nothing": "不显示",
    "gradients": "梯度",
    "activations": "激活",
    "test sample": "测试样本",
    "a sentence of your own": "自己写一句话",
    "or draw": "或者画一个",
    "a field to draw in": "画板",
    "clear": "清空",
    "layer of attention": "注意力层",
    "the token that looks": "发出注意力的位置",
    "head": "头",
    "largest weight": "最大权重",
    "mean": "均值",
    "spread": "标准差",
    "compare with": "比较对象",
    "the model of the file": "原文件中的模型",
    "the other graph": "另一张结构图",
    "side by side": "并排显示",
    "variants": "变体",
    "added": "新增",
    "removed": "删除",
    "replaced": "替换",
    "moved": "移动",
    "changed": "修改",
    "go back": "回到此版",
    "compare": "比较",
    "a line lights its node, a node its line": "点一行代码，对应节点会亮起，反之亦然",
    "share": "分享",
    "the figure, with the levels that are unfolded": "结构图（按当前展开层数）",
    "the model": "模型",
    "command": "命令",
    "an address with the text of the model": "带有模型文本的网址",
    "copy the link": "复制链接",
    "close": "关闭",
    "the text is too long for a link": "文本太长，放不进链接",
    "the text of the link; undo shows yours": "这是链接中的文本；撤销可回到你自己的",
    "YAML": "YAML",
    "it trains in its own process; this page may be closed": "训练另起进程，关闭本页也不会停",
}

KINDS = {  # what an argument takes; the longer first
    "true or false": "true／false",
    "a whole number": "整数",
    "a number": "数字",
    "a text": "文字",
    "a list": "列表",
    "any value": "任意值",
    "one of ": "任选其一：",
    " values [": " 个值 [",
    "Module": "模块",
    " or ": " 或 ",
}


class Phrases:
    """The texts in one language.

    Args:
        language: "en" or "zh"; another is English.
    """

    def __init__(self, language: str):
        self.language = "en"
        if language in LANGUAGES:
            self.language = language

    def __call__(self, english: str) -> str:
        """Return a text in this language."""
        if self.language == "zh":
            return CHINESE[english]
        return english

    def problem(self, entry: Mapping[str, Any]) -> str:
        """Return what is wrong, in this language."""
        return explain(entry) if self.language == "zh" else str(entry["problem"])

    def message(self, text: str) -> str:
        """Return a message of the assembler or of the page; as it is where it is not known."""
        return (translate(text) or text) if self.language == "zh" else text

    def kind(self, english: str) -> str:
        """Return what an argument takes, "a whole number or null", in this language."""
        if self.language == "zh":
            for part, chinese in KINDS.items():
                english = english.replace(part, chinese)
        return english

    def in_one_line(self, entry: Mapping[str, Any], *parts: str) -> str:
        """Return what is wrong, and some of its other parts, where it has them."""
        others = [self.message(entry[part]) for part in parts if entry[part]]
        return " · ".join([self.problem(entry), *others])
