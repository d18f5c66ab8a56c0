"""Predictions of finished runs on pictures of one's own, beside Dassl's test loop and the whole model's logits."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import export
import pandas as pd
import predict
import pytest
import torch
import toy
import yaml
from dassl.engine import build_trainer
from dassl.utils import read_image
from methods import METHODS
from torchvision.transforms.functional import normalize, to_tensor

import train
from finished.load import load_run
from trainers.modules.prompts import PromptTemplate

TASKS = ["flower recognition", "texture recognition", "aircraft model recognition"]
FLOWERS = toy.CLASSES["ToyFlower"]
FLOWER = ("--task", "flower recognition")
OPTS = ("OPTIM.MAX_EPOCH", 1, "DATASET.NUM_SHOTS", 2, "TRAINER.PLOT.THRESH", 0.0)  # a plan that no other image stops


@pytest.fixture(autouse=True)
def no_logs(monkeypatch):
    """train.py leaves its log with the process; a prediction has none."""
    monkeypatch.setattr(logging.root, "handlers", [logging.NullHandler()])


def learn(arguments):
    stdout = sys.stdout
    try:
        assert train.main(arguments) == 0
    finally:
        sys.stdout, logging.root.handlers = stdout, [logging.NullHandler()]


@pytest.fixture(scope="module")
def flowers(toy_root, tmp_path_factory):
    """A folder of the flowers' nine test pictures, in folders of their classes."""
    folder = tmp_path_factory.mktemp("flowers")
    for path in (toy_root / "toy/flower/images").glob("test-*"):
        to = folder / "some" / FLOWERS[int(path.name.split("-")[1])]
        to.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to / path.name)
    return folder


@pytest.fixture(scope="module")
def run(finished_run):
    """A finished run of CoOp over the three tasks."""
    return finished_run("CoOp")


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def expected(trainer, paths, task):
    """Softmax of the task's columns among the logits of all classes, of pictures that need no resizing."""
    cfg = trainer.cfg.INPUT
    image = torch.stack([normalize(to_tensor(read_image(path)), cfg.PIXEL_MEAN, cfg.PIXEL_STD) for path in paths])
    trainer.set_model_mode("eval")
    return trainer.model_inference(image)[:, trainer.class_task == TASKS.index(task)].softmax(1)


@pytest.mark.parametrize("method", METHODS)
def test_the_probabilities_are_those_of_the_whole_model_and_the_accuracy_that_of_the_run(
    method, toy_root, flowers, finished_run, tmp_path, capsys
):
    out, table = finished_run(method), tmp_path / "table.csv"
    arguments = toy.arguments(toy_root, out, method, *OPTS)
    before = files(out.parent)
    capsys.readouterr()
    task = "flower recognition"
    assert predict.main([str(out), str(flowers), "--task", task, "--csv", str(table)]) == 0
    assert files(tmp_path).keys() == {table}
    assert files(out.parent) == before

    rows = pd.read_csv(table)
    assert len(rows) == 9 * 3 and set(rows["task"]) == {task}
    trainer = build_trainer(train.setup_cfg(train.parse_args(arguments)))
    trainer.load_model(str(out) if trainer.prompts.state_dict() else "")
    wide = rows.pivot(index="path", columns="class", values="probability")[FLOWERS]
    p = expected(trainer, list(wide.index), task)
    torch.testing.assert_close(torch.tensor(wide.values.tolist()), p, atol=1e-4, rtol=1e-3)

    first = rows[rows["rank"] == 1]
    assert first["class"].tolist() == [FLOWERS[i] for i in p.argmax(1)]
    right = first["class"] == [Path(path).parent.name for path in first["path"]]
    result = json.loads((out / "results.json").read_text())["tasks"][0]
    assert result["name"] == task and 100 * right.mean() == pytest.approx(result["value"])
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        f"{path}: " + ", ".join(f"{name} {100 * value:.1f} %" for name, value in zip(own["class"], own["probability"]))
        for path, own in rows.groupby("path", sort=False)
    ]


def test_batches_and_worker_processes_change_nothing(run, flowers, capsys):
    arguments = [str(run), str(flowers), "--task", "aircraft model recognition", "--top", "2"]
    assert predict.main(arguments) == 0
    whole = capsys.readouterr().out
    assert predict.main([*arguments, "DATALOADER.TEST.BATCH_SIZE", "4", "DATALOADER.NUM_WORKERS", "1"]) == 0
    assert capsys.readouterr().out == whole and len(whole.splitlines()) == 9
    assert all(line.count(" %") == 2 for line in whole.splitlines())


def test_a_folder_gives_its_images_in_order_without_hidden_ones_and_a_file_counts_once(tmp_path):
    for name in ("b/2.PNG", "b/1.jpeg", "a.webp", "notes.txt", ".x.png", ".hidden/y.png", "named like.png/z.bmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = predict.find_images([tmp_path / "b/2.PNG", tmp_path, tmp_path / "notes.txt"])
    names = [path.relative_to(tmp_path).as_posix() for path in found]
    assert names == ["b/2.PNG", "a.webp", "b/1.jpeg", "named like.png/z.bmp", "notes.txt"]


def test_pictures_end_where_the_settings_begin_wherever_the_flags_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "SEED").mkdir()
    args = predict.parse_args("run IMG_1.JPG SEED --top 2 MODEL/a.png USE_CUDA False --task x OPTIM.LR -1".split())
    assert [str(path) for path in args.pictures] == ["IMG_1.JPG", "SEED", "MODEL/a.png"]
    assert args.opts == ["USE_CUDA", "False", "OPTIM.LR", "-1"] and (args.top, args.task) == (2, "x")
    assert predict.parse_args(["run", "a"]).opts == []


def test_a_run_of_one_task_needs_no_choice_and_one_per_task_has_a_folder_for_each(toy_root, flowers, tmp_path, capsys):
    part = tmp_path / "run/tasks/flower-recognition"
    learn(toy.arguments(toy_root, part, "CoOp", *OPTS, "DATASET.TASKS", "flower recognition"))
    capsys.readouterr()
    assert predict.main([str(part), str(flowers)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 9
    assert predict.main([str(tmp_path / "run"), str(flowers)]) == 2
    assert str(part) in capsys.readouterr().err


def moved_run(run, toy_root, to):
    """A copy of a run whose data are not where they were."""
    shutil.copytree(run, to)
    (to / "config.yaml").write_text((to / "config.yaml").read_text().replace(str(toy_root), "nowhere"))
    return [str(to)]


def test_predicting_needs_no_data_set_and_works_from_any_folder(toy_root, flowers, run, tmp_path, capsys, monkeypatch):
    arguments = [str(flowers), "--task", "flower recognition"]
    assert predict.main([str(run), *arguments]) == 0
    expected = capsys.readouterr().out
    moved = moved_run(run, toy_root, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert predict.main(["moved", *arguments]) == 0 and capsys.readouterr().out == expected
    Path(*moved, "classes.json").unlink()  # a copy lies beside the checkpoint
    assert predict.main(["moved", *arguments]) == 0 and capsys.readouterr().out == expected


def test_a_run_of_an_older_version_takes_its_classes_from_the_data_set(toy_root, flowers, run, tmp_path, capsys):
    moved = moved_run(run, toy_root, tmp_path / "moved")
    for name in ("classes.json", "prompt_learner/classes.json"):
        Path(*moved, name).unlink()
    arguments = [*moved, str(flowers), "--task", "flower recognition"]
    assert predict.main(arguments) == 2 and "nowhere" in capsys.readouterr().err
    assert predict.main([*arguments, "--root", str(toy_root)]) == 0


def test_a_class_that_was_added_to_the_data_later_is_not_predicted(flowers, tmp_path, capsys):
    data, out = toy.draw(tmp_path / "data"), tmp_path / "run"
    learn(toy.arguments(data, out, "CoOp", *OPTS))
    split = data / "toy/flower/split_zhou_ToyFlower.json"
    rows = json.loads(split.read_text())
    for part in rows.values():
        part.append([part[0][0], 3, "tulip"])
    split.write_text(json.dumps(rows))
    capsys.readouterr()
    assert predict.main([str(out), str(flowers), "--task", "flower recognition"]) == 0
    assert "tulip" not in capsys.readouterr().out
    split.unlink()
    assert predict.main([str(out), str(flowers), "--task", "flower recognition"]) == 0


def test_broken_pictures_are_skipped_and_named_at_the_end(run, flowers, tmp_path, capsys):
    for name, content in (("a.png", b"no image"), ("b.png", next(flowers.rglob("*.png")).read_bytes()[:200])):
        (tmp_path / name).write_bytes(content)
    places = [str(tmp_path / "a.png"), str(flowers), str(tmp_path / "b.png")]
    table, tree = tmp_path / "table.csv", tmp_path / "tree.json"
    arguments = [str(run), *places, *FLOWER, "--csv", str(table), "--json", str(tree)]
    for workers in ("0", "1"):
        settings = ["DATALOADER.NUM_WORKERS", workers, "DATALOADER.TEST.BATCH_SIZE", "4"]
        assert predict.main([*arguments, *settings]) == 1
        printed = capsys.readouterr()
        assert len(printed.out.splitlines()) == 9
        first, second, count = printed.err.splitlines()
        assert "a.png" in first and "b.png" in second and count.startswith("2 of 11 ")
    found = json.loads(tree.read_text())
    assert [Path(error["path"]).name for error in found["errors"]] == ["a.png", "b.png"]
    assert found["task"] == "flower recognition" and found["classes"] == FLOWERS
    rows = pd.read_csv(table)
    for image, (path, own) in zip(found["images"], rows.groupby("path", sort=False), strict=True):
        assert image["path"] == path and [p["class"] for p in image["predictions"]] == own["class"].tolist()
        assert [p["probability"] for p in image["predictions"]] == pytest.approx(own["probability"].tolist())


def test_an_export_predicts_what_its_run_does(run, flowers, tmp_path, capsys):
    model, tables = tmp_path / "model.safetensors", [tmp_path / "run.csv", tmp_path / "export.csv"]
    assert export.main([str(run), str(model)]) == 0
    for source, table in zip((run, model), tables):
        assert predict.main([str(source), str(flowers), *FLOWER, "--csv", str(table)]) == 0
    ours, theirs = map(pd.read_csv, tables)
    pd.testing.assert_frame_equal(ours, theirs, atol=1e-6)
    capsys.readouterr()
    assert predict.main([str(model), str(flowers), *FLOWER, "OPTIM.LR", "1.0"]) == 2
    assert "OPTIM.LR" in capsys.readouterr().err
    assert predict.main([str(model), str(flowers), *FLOWER, "DATALOADER.TEST.BATCH_SIZE", "2"]) == 0


NEW = ("--task", "mushroom species recognition")


@pytest.fixture
def mushrooms(tmp_path):
    (tmp_path / "names.txt").write_text("ink cap\n\nfly agaric\nchanterelle\n")
    return ["--classes", str(tmp_path / "names.txt"), *NEW]


def test_a_new_task_has_a_column_for_the_context_zero_shot_and_their_mean(
    finished_run, flowers, mushrooms, tmp_path, capsys
):
    run, table = finished_run("SoftCPT"), tmp_path / "table.csv"
    assert predict.main([str(run), str(flowers), *mushrooms, "--template", "a {}.", "--csv", str(table)]) == 0
    rows = pd.read_csv(table)
    assert rows.columns.tolist() == ["path", "task", "class", "SoftCPT", "zero-shot", "average"]
    printed = capsys.readouterr()
    assert "never trained on this task" in printed.err and '"a {}."' in printed.err
    assert [line.split(":")[0] for line in printed.out.splitlines()[1:4]] == ["  SoftCPT", "  zero-shot", "  average"]

    trainer = load_run(run)
    names = ["ink cap", "fly agaric", "chanterelle"]
    clip, prompts = trainer.clip, trainer.prompts
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
    sweep = yaml.safe_load((train.PROJECT_ROOT / "configs/sweeps/table1.yaml").read_text())
    serves = {line["trainer"] for line in sweep["methods"] if line.get("new") == "tasks"}
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
def test_a_variant_with_parameters_per_task_refuses_new_ones(opts, finished_run, flowers, mushrooms, capsys):
    assert predict.main([str(finished_run("SoftCPT", *opts)), str(flowers), *mushrooms]) == 2
    assert "parameters of their own for each class or task" in capsys.readouterr().err


BAD = {
    "no config": (["{tmp}", "{images}"], "config.yaml"),
    "no image there": (["{run}", "{images}/roze.png", *FLOWER], "roze.png"),
    "no images": (["{run}", "{tmp}", *FLOWER], "no images"),
    "no task chosen": (["{run}", "{images}"], "flower recognition, texture recognition"),
    "unknown task": (["{run}", "{images}", "--task", "flower recognitoin"], "did you mean 'flower recognition'"),
    "top": (["{run}", "{images}", *FLOWER, "--top", "0"], "--top"),
    "csv": (["{run}", "{images}", *FLOWER, "--csv", "{tmp}/no/table.csv"], "--csv"),
    "json": (["{run}", "{images}", *FLOWER, "--json", "{tmp}/no/table.json"], "--json"),
    "classes without a task": (["{run}", "{images}", "--classes", "{bad}"], "--task"),
    "template of a known task": (["{run}", "{images}", *FLOWER, "--template", "a {{}}."], "--template"),
    "no file of classes": (["{run}", "{images}", "--classes", "{tmp}/names.txt", *FLOWER], "names.txt"),
    "classes of an export": (["{bad}", "{images}", "--classes", "{bad}", *FLOWER], "is an export"),
    "no export": (["{bad}", "{images}", *FLOWER], "bad.png is no exported classifier"),
    "config key": (["{run}", "{images}", *FLOWER, "DATALOADER.TEST.BATCHSIZE", "4"], "DATALOADER.TEST.BATCH_SIZE"),
    "no checkpoint": (["{empty}", "{images}", *FLOWER], "no checkpoint"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_clear_error(what, run, flowers, tmp_path, capsys):
    (tmp_path / "bad").mkdir()
    (tmp_path / "empty").mkdir()
    bad = tmp_path / "bad/bad.png"
    bad.write_bytes(b"no image")
    shutil.copy(run / "config.yaml", tmp_path / "empty")
    places = {"run": run, "images": flowers, "tmp": tmp_path / "none", "empty": tmp_path / "empty", "bad": bad}
    places["tmp"].mkdir()
    arguments, message = BAD[what]
    assert predict.main([word.format(**places) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("error: ") == 1 and message in error and len(error.splitlines()) == 1, error


def test_the_command_line_works_from_any_folder(tmp_path):
    command = [sys.executable, str(train.PROJECT_ROOT / "scripts/predict.py"), "nowhere", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: nowhere is no run's folder")
