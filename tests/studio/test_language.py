"""The page in Chinese: each code, each message of the page, and the mistakes met most."""

import ast
from pathlib import Path

import pytest

from blocks.graph.codes import CODES
from blocks.studio.page.language import mistakes
from blocks.studio.page.language.phrases import Phrases
from blocks.support.answers import error_entry

ROOT = Path(__file__).resolve().parents[2]
RAISED = ("EditError", "DraftError", "SweepError")
MET = {  # (message, code) -> what the page says
    ("no block 'ClasToken'", "unknown-block"): "没有名为 'ClasToken' 的模块",
    ("model/norm has no option 'layernor'", "unknown-option"): "model/norm 没有选项 'layernor'",
    ("Dropout: 'rat.1' is not an expression", "bad-expression"): "Dropout：'rat.1' 不是表达式",
    ("PatchEmbedding: dim takes a whole number", "wrong-type"): ("PatchEmbedding：dim 应当是整数"),
    ("Linear needs features", "missing-argument"): "Linear 缺少参数 features",
    ("Chunk: no such thing", "bad-argument"): "Chunk：模块不接受参数的这个值。",
    ("unheard of", "too-slow"): "计算超过了允许的时间。",
}


def test_each_code_has_a_chinese_sentence():
    assert mistakes.CODES.keys() == CODES.keys()


@pytest.mark.parametrize(("message", "code"), MET)
def test_a_mistake_is_told_in_the_language_of_the_page(message, code):
    entry = error_entry(message, code=code)
    assert Phrases("zh").problem(entry) == MET[message, code]
    assert Phrases("en").problem(entry) == message


def test_what_fits_is_told_in_the_language_of_the_page():
    say = Phrases("zh").message
    assert say("did you mean ClassToken or LastToken?") == "是不是想写 ClassToken 或 LastToken？"
    assert say("data has image, classes") == "数据有 image, classes"
    assert say("'：' is U+FF1A FULLWIDTH COLON: write ':'") == (
        "'：' 是 U+FF1A FULLWIDTH COLON：请改写为 ':'"
    )
    assert say("features: a whole number") == "features：整数"
    assert say("heads in 1, 2, 4") == "heads in 1, 2, 4"


def write_template(node: ast.expr) -> str:
    """Return a message with {} for what it quotes; "" for one that another function writes."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if not isinstance(node, ast.JoinedStr):
        return ""
    parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
    return "".join(map(str, parts))


def test_each_message_of_the_page_has_a_chinese_sentence():
    messages = set()
    for path in (ROOT / "blocks" / "studio").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            raised = node.func if isinstance(node, ast.Call) else None
            if isinstance(raised, ast.Name) and raised.id in RAISED and node.args:
                messages.add(write_template(node.args[0]))
    messages.discard("")
    assert len(messages) > 30
    assert messages <= mistakes.SENTENCES.keys()
