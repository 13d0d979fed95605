"""The texts of the page in English and Chinese. Messages of mistakes stay in English."""

LANGUAGES = {"en": "English", "zh": "中文"}
CHINESE = {
    "model": "模型",
    "data": "数据",
    "example of the model": "模型自带的示例",
    "undo": "撤销",
    "redo": "重做",
    "language": "语言",
    "theme": "明暗",
    "light": "浅色",
    "dark": "深色",
    "as the system": "跟随系统",
    "the command line for this model": "与当前模型等价的命令",
    "copy": "复制",
    "copied": "已复制",
    "model file": "模型文件",
    "graph": "结构图",
    "no mistakes": "没有错误",
    "the last graph without a mistake": "仍显示出错前的结构图",
    "line": "行",
    "given": "写的是",
    "fits": "应当是",
    "fix": "改法",
    "apply the fix": "一键修正",
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
    "memory for training": "训练所存激活",
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
    "arguments": "参数及来源",
    "inferred": "推断得出",
    "receptive field": "感受野",
    "where each value comes from": "每个值从何而来",
    "source": "出处",
    "formula": "公式",
    "epochs": "轮数",
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
    "nothing differs from the model of the file": "与原文件中的模型没有差异",
    "running": "运行中",
    "finished": "已完成",
    "interrupted": "已中断",
    "failed": "失败",
    "killed": "被终止",
    "test": "测试",
    "compare with": "比较对象",
    "the model of the file": "原文件中的模型",
    "the other graph": "另一张结构图",
    "side by side": "并排显示",
    "variants": "变体",
    "go back": "回到此版",
    "compare": "比较",
    "a line lights its node, a node its line": "点一行代码,对应节点会亮起,反之亦然",
    "share": "分享",
    "the figure, with the levels that are unfolded": "结构图(按当前展开层数)",
    "the model": "模型",
    "command": "命令",
    "an address with the text of the model": "带有模型文本的网址",
    "copy the link": "复制链接",
    "close": "关闭",
    "the text is too long for a link": "文本太长,放不进链接",
    "the text of the link; undo shows yours": "这是链接中的文本;撤销可回到你自己的",
    "YAML": "YAML",
    "it trains in its own process; this page may be closed": "训练另起进程，关闭本页也不会停",
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
