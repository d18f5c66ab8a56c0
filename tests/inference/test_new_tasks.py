"""Predictions on a task that was not trained, from its name and its classes."""

import pandas as pd
import predict
import pytest
import torch
from dassl.utils import read_image
from methods import METHODS

import train
from softcpt.prompts.learned import PromptTemplate
from softcpt.sweeps import read_sweep
from trainers.finished.load import load_run

NEW = ("--task", "mushroom species recognition")


@pytest.fixture
def mushrooms(tmp_path):
    (tmp_path / "names.txt").write_text("ink cap\n\nfly agaric\nchanterelle\n")
    return ["--classes", str(tmp_path / "names.txt"), *NEW]


def test_new_task_has_context_zero_shot_and_average_columns(finished_run, flowers, mushrooms, tmp_path, capsys):
    run, table = finished_run("SoftCPT"), tmp_path / "table.csv"
    assert predict.main([str(run), str(flowers), *mushrooms, "--template", "a {}.", "--csv", str(table)]) == 0
    rows = pd.read_csv(table)
    assert rows.columns.tolist() == ["path", "task", "class", "SoftCPT", "zero-shot", "average"]
    printed = capsys.readouterr()
    assert "never trained on this task" in printed.err and '"a {}."' in printed.err
    assert [line.split(":")[0] for line in printed.out.splitlines()[1:4]] == ["  SoftCPT", "  zero-shot", "  average"]

    trainer = load_run(run)
    names = ["ink cap", "fly agaric", "chanterelle"]
    clip, prompts = trainer.clip, trainer.learned
    with torch.no_grad():
        template = PromptTemplate(NEW[1:], prompts.task_context.n_context, clip)
        feature = prompts.encode_names(template, prompts.task_context, torch.zeros(1, dtype=torch.long))
        classes = PromptTemplate(names, 16, clip)
        group = torch.zeros(3, dtype=torch.long)
        own = trainer.text_encoder(*classes(prompts.meta_net(feature), group), group)
        own, plain = (
            x / x.norm(dim=1, keepdim=True) for x in (own, clip.encode_text([f"a {name}." for name in names]))
        )
        paths = rows["path"].unique()
        image = torch.stack([trainer.test_transform(read_image(path)) for path in paths])
        x = clip.encode_image(image)
        x = x / x.norm(dim=1, keepdim=True)
        for column, text in (("SoftCPT", own), ("zero-shot", plain), ("average", own + plain)):
            text = text / text.norm(dim=1, keepdim=True)
            expected = (clip.logit_scale.exp() * x @ text.T).softmax(1)
            found = torch.tensor(rows[column].to_numpy()).view(-1, 3)
            torch.testing.assert_close(found.float(), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_serves_a_new_task_or_says_why_not(method, finished_run, flowers, mushrooms, tmp_path, capsys):
    run, table = finished_run(method), tmp_path / "table.csv"
    status = predict.main([str(run), str(flowers), *mushrooms, "--csv", str(table)])
    sweep = read_sweep(train.PROJECT_ROOT / "configs/sweeps/table1.yaml")
    serves = {row.trainer for row in sweep if row.new == "tasks"}
    if method not in serves:
        assert status == 2 and f"a run of {method}" in capsys.readouterr().err
        return
    assert status == 0
    columns = pd.read_csv(table).columns[3:].tolist()
    assert columns[-1 if method == "ZeroshotCLIP" else 1] == "zero-shot"
    linear = method in ("SoftCPT", "CoOp", "KgCoOp", "ProGrad")
    assert ("average" in columns) == linear and (method in columns) == (method != "ZeroshotCLIP")


@pytest.mark.parametrize(
    "opts", [("TRAINER.SOFTCPT.VARIANT", "NATS"), ("TRAINER.SOFTCPT.TASK_FEATURES", "learned")], ids=["NATS", "learned"]
)
def test_per_task_parameters_refuse_new_tasks(opts, finished_run, flowers, mushrooms, capsys):
    assert predict.main([str(finished_run("SoftCPT", *opts)), str(flowers), *mushrooms]) == 2
    assert "its own parameters for each class or task" in capsys.readouterr().err
