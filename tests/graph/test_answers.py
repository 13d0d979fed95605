"""Answers and errors as JSON and SARIF: what a program reads says what a person reads."""

import json
from pathlib import Path
from urllib.parse import unquote

import pytest
from jsonschema import Draft7Validator, ValidationError

from blocks.__main__ import main
from blocks.commands import fit
from blocks.graph import conf_folder
from blocks.graph.codes import CODES
from blocks.graph.describe.answers.schema import describe_answers
from blocks.graph.describe.schema import format_schema
from tests.graph.test_errors import WRONG

PARTS = ["file", "line", "column", "where", "path", "code", "problem", "got", "from", "fits", "fix"]
SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "answers.json"
BROKEN = "inputs: {x: {tokens: 7, dim: 6}}\ngraph:\n  head: {block: Liner, features: 5}\n"
GOOD = BROKEN.replace("Liner", "Linear")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with two models of the user's, the first of them wrong."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "conf" / "model"
    folder.mkdir(parents=True)
    (folder / "broken.yaml").write_text(BROKEN, encoding="utf-8")
    (folder / "sound one.yaml").write_text(GOOD, encoding="utf-8")
    return folder


def ask(capsys, *words):
    """The exit status, the object on standard output, and what stands on standard error.

    The object must fit the published schema: that of the command, or that of errors.
    """
    status = main(list(words))
    out, err = capsys.readouterr()
    answer = json.loads(out)
    name = "errors"
    if answer.keys() != {"errors", "status"}:
        name = "memory" if "--memory" in words else words[0]
    must_fit(name, answer)
    return status, answer, err


def must_fit(name, answer):
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    schema = {"definitions": schema["definitions"], "$ref": f"#/definitions/{name}"}
    Draft7Validator(schema).validate(answer)


def test_the_published_schema_is_current():
    assert SCHEMA.read_text(encoding="utf-8") == format_schema(describe_answers())


@pytest.mark.parametrize("words", [["model=vit"], ["model=swin", "--memory"], ["model=rnn"]])
def test_explain_answers_by_its_schema(words, capsys):
    status, answer, _ = ask(capsys, "explain", *words, "--json")
    assert status == 0
    with pytest.raises(ValidationError):
        must_fit("diff", answer)


def test_all_blocks_of_the_catalogue_fit_the_schema(capsys):
    status, answer, _ = ask(capsys, "catalog", "--json")
    assert status == 0
    assert len(answer["blocks"]) > 50


@pytest.mark.parametrize("name", WRONG)
def test_an_error_as_json_says_what_its_text_says(name, tmp_path, monkeypatch, capsys):
    """What each part of the text prints is in the object, for every wrong model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_SUCH_VARIABLE", raising=False)
    model, overrides, text = WRONG[name]
    words = [f"model={'vit' if model is None else 'broken'}", *overrides]
    if model is not None:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "broken.yaml").write_text(f"{model}\n", encoding="utf-8")
        words.append(f"--config-dir={tmp_path}")
    status, answer, err = ask(capsys, "explain", *words, "--json")
    assert (status, answer["status"], err) == (2, 2, "")
    for error in answer["errors"]:
        assert list(error) == PARTS
        assert error["code"] in CODES
        assert error["problem"][:90] in text
        if error["file"] is not None:
            assert error["where"] == f"{error['file']}:{error['line']}:{error['column']}"
    assert text.startswith(answer["errors"][0]["where"])


def test_the_environment_asks_for_errors_as_json(capsys, monkeypatch):
    monkeypatch.setenv("DOUGONG_ERRORS", "json")
    assert main(["explain", "model=vitt"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    (error,) = json.loads(err)["errors"]
    assert (error["code"], error["where"]) == ("unknown-option", "the command line: model=vitt")


def test_an_error_of_the_parser_is_json_too(capsys):
    for words, code in (
        (["explain", "--depth", "x", "--json"], "bad-command"),
        (["fit", "--json"], "bad-command"),
        (["explain", "--jsom", "--json"], "unknown-flag"),
    ):
        try:
            status = main(words)
        except SystemExit as ended:
            status = ended.code
        answer = json.loads(capsys.readouterr().out)
        assert (status, answer["status"], answer["errors"][0]["code"]) == (2, 2, code)


def test_a_crash_is_json_with_its_status(capsys, monkeypatch):
    def fail(chosen):
        raise RuntimeError("out of order")

    monkeypatch.setattr(fit, "run", fail)
    status, answer, _ = ask(capsys, "fit", "model=vit", "--json")
    (error,) = answer["errors"]
    assert (status, answer["status"], error["code"]) == (1, 1, "crash")
    assert error["problem"] == "RuntimeError: out of order"
    with pytest.raises(RuntimeError):
        main(["fit", "model=vit"])


def test_check_states_each_mistake_once_with_its_runs(project, capsys):
    file = "conf/model/broken.yaml"
    status, answer, _ = ask(capsys, "check", file, "conf/model/sound one.yaml", "--json")
    assert (status, answer["status"]) == (2, 2)
    assert answer["runs"][0] == {"overrides": ["model=broken"], "ok": False}
    assert answer["runs"][1]["parameters"] == 5 * 6 + 5
    (error,) = answer["errors"]
    assert (error["file"], error["line"], error["column"]) == (file, 3, 3)
    assert (error["code"], error["runs"]) == ("unknown-block", [0])


def test_check_reads_models_of_the_project_and_of_a_folder_of_the_users(project, capsys):
    ours = str(conf_folder() / "model" / "vit.yaml")
    elsewhere = project.parents[1] / "elsewhere" / "model" / "other.yaml"
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_text(GOOD, encoding="utf-8")
    files = (str(elsewhere), "conf/model/sound one.yaml", ours)
    status, answer, _ = ask(capsys, "check", *files, "seed=1", "--json")
    found = [run["overrides"][0] for run in answer["runs"]]
    assert (status, found) == (0, ["model=sound one", "model=vit", "model=other"])
    assert all(run["overrides"][1] == "seed=1" for run in answer["runs"])


def test_the_difference_states_parameters_and_nodes(capsys):
    status, answer, _ = ask(capsys, "diff", "model=vit", "model=vit,model.params.depth=5", "--json")
    assert status == 0
    assert answer["parameters"] == answer["new"]["parameters"] - answer["old"]["parameters"] > 0
    assert answer["macs"] == answer["new"]["macs"] - answer["old"]["macs"] > 0
    assert ("changed", "layers") in [(node["kind"], node["name"]) for node in answer["nodes"]]


def test_fit_states_the_value_to_use(capsys):
    status, answer, _ = ask(
        capsys, "fit", "model=vit", "model.params.depth=?", "parameters=3e5", "--json"
    )
    (found,) = answer["fits"]
    assert (status, found["key"], found["value"]) == (0, "model.params.depth", 6)


def test_the_catalogue_states_a_block(capsys):
    status, answer, _ = ask(capsys, "catalog", "SelfAttention", "--json")
    (block,) = answer["blocks"]
    assert (status, block["name"], block["family"]) == (0, "SelfAttention", "attention")
    assert "attention/full" in block["models"]


def test_sarif_shows_a_mistake_at_its_line(project, capsys):
    """The structure that SARIF 2.1.0 requires, and what hosts of code require beyond it."""
    assert main(["check", "conf/model/broken.yaml", "--sarif"]) == 2
    log = json.loads(capsys.readouterr().out)
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert run["tool"]["driver"]["name"] == "Dougong"
    assert [rule["shortDescription"]["text"] for rule in rules] == [CODES["unknown-block"]]
    (result,) = run["results"]
    assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == "unknown-block"
    assert result["level"] == "error"
    assert result["message"]["text"].startswith("no block 'Liner'\n")
    place = result["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 3, "startColumn": 3}
    artifact = place["artifactLocation"]
    assert artifact["uriBaseId"] in run["originalUriBaseIds"]
    base = run["originalUriBaseIds"][artifact["uriBaseId"]]["uri"]
    assert base.startswith("file:///")
    assert base.endswith("/")
    assert (
        Path(unquote(base.removeprefix("file://") + artifact["uri"])).read_text(encoding="utf-8")
        == BROKEN
    )


def test_sarif_is_written_to_a_file_beside_the_report(project, capsys):
    bad, good = "conf/model/broken.yaml", "conf/model/sound one.yaml"
    assert main(["check", bad, good, "--sarif", "found.sarif"]) == 2
    assert "2 combinations, 1 bad" in capsys.readouterr().out
    (run,) = json.loads(Path("found.sarif").read_text(encoding="utf-8"))["runs"]
    assert len(run["results"]) == 1
    assert main(["check", good, "--sarif", "found.sarif"]) == 0
    (run,) = json.loads(Path("found.sarif").read_text(encoding="utf-8"))["runs"]
    assert (run["results"], run["tool"]["driver"]["rules"]) == ([], [])
