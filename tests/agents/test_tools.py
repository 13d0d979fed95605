"""The tools of `dougong mcp`, called by a client of the protocol."""

import pytest

TOOLS = ["list", "show", "catalog", "explain", "check", "diff", "fit", "why", "train", "result"]


def test_every_tool_and_argument_is_described(agent):
    tools = agent.list_tools()
    assert [tool.name for tool in tools] == TOOLS
    for tool in tools:
        assert len(tool.description) > 80
        assert tool.annotations.read_only_hint == (tool.name != "train")
        for name, schema in tool.input_schema["properties"].items():
            assert schema.get("description"), f"{tool.name}.{name}"


def test_the_files_of_the_project_are_listed_and_shown(agent):
    found = {choice["name"]: choice for choice in agent.call("list", kind="model")["choices"]}
    assert found["own"]["origin"] == "this project"
    assert found["own"]["summary"] == "wider"
    assert agent.call("show", name="model/own")["yaml"].startswith("# wider\ndefaults: [vit")


def test_a_variant_is_explained_checked_and_compared(agent):
    variant = ["model=vit", "model/norm=rmsnorm", "model/mlp=swiglu"]
    answer = agent.call("explain", overrides=variant, depth=4)
    assert answer["outputs"] == {"logits": ["batch", 10]}
    layer = next(node for node in answer["nodes"] if node["name"] == "layers")["children"][0]
    blocks = str(layer)
    assert "RMSNorm" in blocks
    assert "LayerNorm" not in blocks
    checked = agent.call("check", overrides=variant)
    assert checked["status"] == 0
    assert checked["runs"][0]["parameters"] == answer["parameters"]
    compared = agent.call("diff", old=["model=vit"], new=variant)
    assert compared["new"]["parameters"] == answer["parameters"]
    assert any("RMSNorm" in str(node) for node in compared["nodes"])


def test_depth_leaves_out_what_is_nested(agent):
    assert all(not node["children"] for node in agent.call("explain", depth=1)["nodes"])


def test_a_budget_is_met_and_a_value_explained(agent):
    fits = agent.call("fit", overrides=["model=vit"], param="model.params.dim", parameters=1e6)
    assert fits["fits"][0]["value"] == 144
    answer = agent.call("why", path="params.dim", overrides=["model=own"])
    assert "conf/model/own.yaml:3" in answer["why"]
    assert agent.call("catalog", names=["Linear"])["blocks"][0]["name"] == "Linear"


WRONG = [
    ("explain", {"overrides": ["model.params.heads=7"]}, "bad-argument", "heads must divide dim"),
    ("explain", {"overrides": ["model=vitt"]}, "unknown-option", "model has no option 'vitt'"),
    ("explain", {"depth": 0}, "bad-command", "greater than or equal to 1"),
    ("explain", {"library": ["x"]}, "bad-command", "Extra inputs are not permitted"),
    ("fit", {"param": "model.params.dim"}, "bad-command", "give either parameters or macs"),
    ("show", {"name": "model/vitt"}, "unknown-option", "no file of this name"),
    ("catalog", {"names": ["Liner"]}, "unknown-block", "no block 'Liner'"),
    ("result", {"run": "runs/none"}, "bad-run", "this folder holds no run"),
    ("train", {"seconds": 1000}, "bad-value", "longer than this server allows"),
    ("save", {}, "bad-command", "no tool 'save'"),
]


@pytest.mark.parametrize(("tool", "arguments", "code", "problem"), WRONG)
def test_a_mistake_is_answered_with_its_code(agent, tool, arguments, code, problem):
    answer = agent.call(tool, **arguments)
    assert answer["status"] == 2
    assert answer["errors"][0]["code"] == code
    assert problem in answer["errors"][0]["problem"]
