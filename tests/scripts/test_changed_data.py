"""A run whose images have changed since is not mixed with them, and a finished run is left as it is."""

import json
import os
import shutil

import pytest
import toy
from dassl.engine import TrainerX
from records import prompts

import train
from softcpt.evaluation.data import data_in
from softcpt.evaluation.predictions import read_predictions

OPTS = ("DATASET.NUM_SHOTS", 2, "OPTIM.MAX_EPOCH", 2, "TRAIN.CHECKPOINT_FREQ", 1)
CLASS = "warm things/one"


@pytest.fixture
def root(tmp_path):
    toy.draw_folders(tmp_path / "data")
    return tmp_path / "data"


def arguments(root, out, *opts, method="CoOp"):
    return toy.arguments(root, out, method, *OPTS, *opts, dataset="FolderTasks")


def cut_off(monkeypatch, words):
    """The run is interrupted before its second epoch."""
    with monkeypatch.context() as patch, toy.as_a_process():
        run_epoch = TrainerX.run_epoch

        def killed(self):
            if self.epoch == 1:
                raise KeyboardInterrupt
            run_epoch(self)

        patch.setattr(TrainerX, "run_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            train.main(words)


def files_in(folder):
    """{path: its bytes and time of change} of all files."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def shuffle(root, run):
    """One training image more and one fewer in a class, which moves images between its parts."""
    shots = json.loads((run / "shots.json").read_text())["warm things"]["train"]
    (gone,) = [name for name in shots if name.startswith(CLASS)][:1]
    shutil.copy(root / gone, root / CLASS / "new.png")
    (root / gone).unlink()
    return gone


def divide_anew(root, run):
    """A table of the run's split in which its training and its test images have changed places."""
    other = {"train": "test", "test": "train"}
    rows = [line.rpartition(",") for line in (run / "split.csv").read_text().splitlines()]
    (root / "tasks.csv").write_text("".join(f"{row},{other.get(part, part)}\n" for row, _, part in rows))


def trained_and_tested(run):
    shots = json.loads((run / "shots.json").read_text())
    trained = {name for own in shots.values() for part in own.values() for name in part}
    return trained, {row.image for row in read_predictions(run / "predictions.csv.gz")}


def test_run_writes_what_it_trains_and_tests_on(root, tmp_path):
    assert train.main(arguments(root, tmp_path / "run")) == 0
    record = data_in(tmp_path / "run")
    assert record["root"] == str(root) and [task["name"] for task in record["tasks"]] == ["cold things", "warm things"]
    assert [[task[part]["n"] for part in ("train", "val", "test")] for task in record["tasks"]] == [[4, 2, 2]] * 2


@pytest.mark.parametrize("finished", [False, True], ids=["cut off", "finished"])
def test_run_on_changed_images_is_refused_and_nothing_is_written(root, tmp_path, monkeypatch, capsys, finished):
    run, words = tmp_path / "run", arguments(root, tmp_path / "run")
    toy.finish(words) if finished else cut_off(monkeypatch, words)
    gone, before = shuffle(root, run), files_in(run)
    capsys.readouterr()
    assert train.main(words) == 1
    out, error = capsys.readouterr()
    assert files_in(run) == before and not out
    assert error.startswith(f"error: {run} is a run on other data: task 'warm things', training images: ")
    assert f"only in the run '{gone}'" in error and f"only now '{CLASS}/" in error and error.count("\n") == 1
    assert "another --output-dir" in error and "--data-changed, which trains it anew" in error


@pytest.mark.parametrize("finished", [False, True], ids=["cut off", "finished"])
def test_data_changed_never_tests_on_images_that_were_trained_on(root, tmp_path, monkeypatch, finished):
    run, words = tmp_path / "run", arguments(root, tmp_path / "run")
    toy.finish(words) if finished else cut_off(monkeypatch, words)
    before = {part["name"]: part for part in data_in(run)["tasks"]}
    shuffle(root, run)
    assert train.main([*words, "--data-changed"]) == 0
    assert before != {part["name"]: part for part in data_in(run)["tasks"]}
    trained, tested = trained_and_tested(run)
    assert len(tested) == 4 and not trained & tested
    assert train.main(arguments(root, tmp_path / "anew")) == 0
    first, second = prompts(run), prompts(tmp_path / "anew")  # nothing is left of the first training
    assert all((first[key] == second[key]).all() for key in first)


def test_data_changed_keeps_a_training_on_the_same_images(root, tmp_path, capsys):
    run, words = tmp_path / "run", arguments(root, tmp_path / "run")
    assert train.main(words) == 0
    checkpoint = (run / "prompt_learner/model.pth.tar-2").read_bytes()
    (tested,) = [row.image for row in read_predictions(run / "predictions.csv.gz")][:1]
    os.utime(root / tested, (1e9, 1e9))
    capsys.readouterr()
    assert train.main(words) == 1
    error = capsys.readouterr().err
    assert f"test images: the same names and sizes, but other times of change ('{tested}')" in error
    assert "which tests it again" in error and "cp -p" in error
    assert train.main([*words, "--data-changed"]) == 0
    assert (run / "prompt_learner/model.pth.tar-2").read_bytes() == checkpoint
    assert train.main(words) == 0


def test_finished_run_is_left_as_it_is(root, tmp_path, capsys):
    run, words = tmp_path / "run", arguments(root, tmp_path / "run")
    toy.finish(words)
    before = files_in(run)
    metric = json.loads((run / "results.json").read_text())["metric"]
    capsys.readouterr()
    assert train.main(words) == 0
    out, error = capsys.readouterr()
    assert (
        out == f"done before: {run} ({metric:.1f} %, the mean over its tasks); --test-again tests it again\n"
        and not error
    )
    assert files_in(run) == before
    assert train.main([*words, "--test-again"]) == 0
    assert files_in(run)["results.json"][1] > before["results.json"][1]
    assert json.loads((run / "results.json").read_text())["metric"] == metric


def test_the_same_files_elsewhere_are_the_same_images(root, tmp_path, monkeypatch, capsys):
    cut_off(monkeypatch, arguments(root, tmp_path / "run"))
    shutil.copytree(root, tmp_path / "moved")
    shutil.rmtree(root)
    assert train.main(arguments(tmp_path / "moved", tmp_path / "run")) == 0
    (tmp_path / "moved" / CLASS / "6.png").write_bytes((tmp_path / "moved" / CLASS / "0.png").read_bytes())
    capsys.readouterr()
    assert train.main(arguments(tmp_path / "moved", tmp_path / "run")) == 1
    shutil.copytree(tmp_path / "moved", root)
    capsys.readouterr()
    assert train.main(arguments(root, tmp_path / "run")) == 1
    assert f"its root is {tmp_path / 'moved'}, now it is {root}" in capsys.readouterr().err


def test_run_of_an_older_version_is_compared_by_names(root, tmp_path, capsys):
    run, words = tmp_path / "run", arguments(root, tmp_path / "run")
    assert train.main(words) == 0
    (run / "data.json").unlink()
    assert train.main(words) == 0
    shuffle(root, run)
    capsys.readouterr()
    assert train.main(words) == 1
    assert "training images: only in the run" in capsys.readouterr().err


def test_run_is_not_evaluated_on_images_that_it_was_trained_on(root, tmp_path, capsys):
    run = tmp_path / "run"
    assert train.main(arguments(root, run)) == 0
    evaluation = ["--eval-only", "--model-dir", str(run)]
    assert train.main([*evaluation, *arguments(root, tmp_path / "same")]) == 0
    divide_anew(root, run)
    capsys.readouterr()
    for where in (root, tmp_path / "moved"):
        assert train.main([*evaluation, *arguments(where, tmp_path / "test")]) == 1
        error = capsys.readouterr().err
        assert (
            f"--eval-only: {run} was trained or validated on " in error
            and "its split.csv, as tasks.csv in the" in error
        )
        assert not (tmp_path / "test").exists()
        shutil.copytree(root, tmp_path / "moved", dirs_exist_ok=True, copy_function=shutil.copyfile)
    toy.draw_folders(tmp_path / "other")  # other images of the same names
    for i, path in enumerate(sorted((tmp_path / "other").rglob("*.png"))):
        path.write_bytes(path.read_bytes() + bytes(i + 1))
    assert train.main([*evaluation, *arguments(tmp_path / "other", tmp_path / "transfer")]) == 0


def test_picture_of_two_tasks_may_train_one_and_test_the_other(root, tmp_path, capsys):
    toy.share_pictures(root)
    run = tmp_path / "run"
    assert train.main(arguments(root, run)) == 0
    trained, tested = trained_and_tested(run)
    assert trained & tested
    words = ["--eval-only", "--model-dir", str(run), *arguments(root, tmp_path / "test")]
    assert train.main(words) == 0
    divide_anew(root, run)
    capsys.readouterr()
    assert train.main([*words[:3], *arguments(root, tmp_path / "other")]) == 1
    assert "was trained or validated on 8 of the images to be tested" in capsys.readouterr().err


def test_data_changed_tests_a_run_that_was_trained_anew(root, tmp_path):
    """Its test images are those of before, so nothing but the run itself says that its old results are not its own."""
    run, test = tmp_path / "run", tmp_path / "test"
    words = ["--eval-only", "--model-dir", str(run), *arguments(root, test)]
    toy.finish(arguments(root, run))
    toy.finish(words)
    shots = json.loads((run / "shots.json").read_text())["warm things"]["train"]
    os.utime(root / shots[0], (1e9, 1e9))
    toy.finish([*arguments(root, run), "--data-changed"])
    before = (test / "results.json").stat().st_mtime_ns
    toy.finish([*words, "--data-changed"])
    tested = (test / "results.json").stat().st_mtime_ns
    assert tested > before
    toy.finish([*words, "--data-changed"])
    assert (test / "results.json").stat().st_mtime_ns == tested


@pytest.mark.parametrize("change", ["settings", "epoch", "training"])
def test_evaluation_of_another_run_is_not_done_before(root, tmp_path, capsys, change):
    assert train.main(arguments(root, tmp_path / "run")) == 0
    words = ["--eval-only", "--model-dir", str(tmp_path / "run"), *arguments(root, tmp_path / "test")]
    assert train.main(words) == 0 and train.main(words) == 0
    assert "done before" in capsys.readouterr().out
    if change == "training":
        shuffle(root, tmp_path / "run")
        assert train.main([*arguments(root, tmp_path / "run"), "--data-changed"]) == 0
    if change == "settings":
        assert train.main(arguments(root, tmp_path / "other", "OPTIM.LR", 0.1)) == 0
        words[2] = str(tmp_path / "other")
        words = [word for word in words]
    again = [*words, "--load-epoch", "2"] if change == "epoch" else words
    capsys.readouterr()
    assert train.main(again) != 0
    assert str(tmp_path / "test") in capsys.readouterr().err


HEAD = '{"schema": 1, "root": "", "settings": "", "evaluates": "", '
PART = '{"n": 1, "images": "12345678", "times": "1234567"}'


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "not a JSON file"),
        ("[]", "schema is"),
        ('{"schema": 1, "root": "", "settings": 3, "evaluates": "", "tasks": []}', "settings missing"),
        ('{"schema": 1, "root": "", "settings": "", "evaluates": "", "tasks": [{"train": 1}]}', "tasks missing"),
        (f'{HEAD}"tasks": [{{"name": "a", "train": {PART}}}]}}', "tasks missing or of another form"),
    ],
)
def test_damaged_data_file_is_an_error_that_names_it(tmp_path, text, message):
    (tmp_path / "data.json").write_text(text)
    with pytest.raises(ValueError, match=f"data.json: .*{message}"):
        data_in(tmp_path)
