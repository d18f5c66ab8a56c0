"""scripts/interpret.py: contexts and gains of finished runs."""

import json
import shutil

import interpret
import pytest
from PIL import Image
from records import LEFT_OUT
from toy import TASKS

from softcpt.evaluation.records import write_record


@pytest.fixture
def run_of(finished_run, tmp_path):
    """A function of a method: a copy of its finished run, which a test may change."""
    return lambda method: shutil.copytree(finished_run(method), tmp_path / method)


def test_run_is_interpreted(run_of, capsys):
    run = run_of("SoftCPT")
    assert interpret.main([str(run), "--words", "3"]) == 0
    folder = run / "interpret"
    assert sorted(path.name for path in folder.iterdir()) == [
        "interpret.json", "interpret.md", "task_contexts.png", "task_features.png",
    ]  # fmt: skip
    content = json.loads((folder / "interpret.json").read_text())
    assert content["schema"] == 1 and content["dataset"] == "ToyTasks" and content["shots"] == 2
    assert [context["owner"] for context in content["contexts"]] == TASKS
    for context in content["contexts"]:
        assert len(context["tokens"]) == 16
        for token in context["tokens"]:
            assert len(token["words"]) == 3 and token["distances"] == sorted(token["distances"])
    assert sorted(content["task_features"]["order"]) == sorted(TASKS)
    text = (folder / "interpret.md").read_text()
    for name in ("task_features.png", "task_contexts.png"):
        assert f"({name})" in text and Image.open(folder / name).size[0] > 300
    assert "### texture recognition" in text and "flower recognition:" in capsys.readouterr().out
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert interpret.main([str(run), "--words", "3"]) == 0
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_gains_work_with_and_without_a_run(run_of, tmp_path):
    for i, own in enumerate(LEFT_OUT):
        (tmp_path / f"sweep/{i}").mkdir(parents=True)
        write_record(tmp_path / f"sweep/{i}/results.json", own)
    arguments = ["--gains", str(tmp_path / "sweep"), "--to", str(tmp_path / "out")]
    assert interpret.main([str(run_of("SoftCPT")), *arguments]) == 0
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {
        "task_features.png", "task_contexts.png", "gains.png",
    }  # fmt: skip
    assert interpret.main(arguments) == 0
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"gains.png"}
    text = (tmp_path / "out/interpret.md").read_text()
    assert "SoftCPT NATA, Demo, 4 shots" in text and "1 or 2 seeds" in text and "(gains.png)" in text


def test_shared_context_has_words_but_no_picture(run_of):
    run = run_of("CoOp")
    assert interpret.main([str(run)]) == 0
    assert {path.name for path in (run / "interpret").iterdir()} == {"interpret.json", "interpret.md"}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["{zero}"], "ZeroshotCLIP has no contexts to look into: its prompts are hand-made words"),
        (["{zero}", "--words", "0"], "--words: 0 is not at least 1"),
        (["nowhere"], "no run folder or exported file nowhere"),
        ([], "name a run folder"),
        (["--gains", "{tmp}", "--to", "{tmp}/x"], "no runs on all tasks"),
        (["{zero}", "--to", "{tmp}/file"], "is a file"),
    ],
)
def test_invalid_input_is_a_one_line_error(arguments, message, run_of, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    zero = run_of("ZeroshotCLIP")
    assert interpret.main([word.format(zero=zero, tmp=tmp_path) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and len(error.splitlines()) == 1
    assert not (zero / "interpret").exists()
