"""The command line: flags, config errors, run folders, resuming, and what a failed run leaves."""

import json
import os
import shutil
import subprocess

import pytest
import torch
import toy
from dassl.engine import TrainerX
from records import prompts
from warm_python import python

import train
from softcpt.files import RUN_FILES, remove_empty, remove_run

EPOCHS = ("OPTIM.MAX_EPOCH", 4, "TRAIN.CHECKPOINT_FREQ", 1)


def test_run_leaves_config_shots_checkpoint_and_record(toy_root, tmp_path):
    out = tmp_path / "run"
    record = toy.run(toy_root, out, "SoftCPT", "DATASET.NUM_SHOTS", 2)
    names = {path.name for path in out.iterdir()}
    assert names == {*RUN_FILES, "results.json"} - {"split.csv", "failure.json"}
    assert record["device"] == "cpu" and 10**8 < record["peak_memory_bytes"] < 10**11
    assert (record["trainer"], record["variant"], record["shots"], record["seed"]) == ("SoftCPT", "NATA", 2, 1)
    assert [task["metric"] for task in record["tasks"]] == ["accuracy", "accuracy", "mean_per_class"]
    assert [task["n"] for task in record["tasks"]] == [9, 6, 15]
    assert record["n_params"] == 32 * 16 * 64 + 4 * 64 and record["train_seconds"] > 0 and record["epochs"] == 2
    shots = json.loads((out / "shots.json").read_text())
    assert len(shots["flower recognition"]["train"]) == 2 * 3 and len(shots["texture recognition"]["val"]) == 2
    log = (out / "log.txt").read_text()
    assert "Finish training" in log and "=> result" in log and "* accuracy: " in log


@pytest.mark.parametrize("method, views", [("SoftCPT", 2), ("CoOp", 0)])
def test_killed_run_resumes_bit_for_bit(toy_root, tmp_path, method, views, monkeypatch):
    opts = (*EPOCHS, "FEATURES.TRAIN_VIEWS", views)
    a = toy.run(toy_root, tmp_path / "whole", method, *opts)
    run_epoch = TrainerX.run_epoch

    def killed(self):
        if self.epoch == 2:
            raise KeyboardInterrupt
        run_epoch(self)

    monkeypatch.setattr(TrainerX, "run_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        toy.run(toy_root, tmp_path / "cut", method, *opts)
    assert not (tmp_path / "cut/results.json").exists()
    monkeypatch.setattr(TrainerX, "run_epoch", run_epoch)
    b = toy.run(toy_root, tmp_path / "cut", method, *opts)
    whole, cut = prompts(tmp_path / "whole"), prompts(tmp_path / "cut")
    assert whole.keys() == cut.keys() and all(torch.equal(whole[key], cut[key]) for key in whole)
    assert a["tasks"] == b["tasks"] and b["train_seconds"] is None


def test_run_with_another_config_is_not_resumed(toy_root, tmp_path, capsys):
    toy.run(toy_root, tmp_path / "run", "SoftCPT")
    assert train.main(toy.arguments(toy_root, tmp_path / "run", "SoftCPT", "OPTIM.LR", 0.01)) == 2
    assert "another config" in (error := capsys.readouterr().err) and "OPTIM.LR (0.002 there, 0.01 here)" in error


def test_eval_only_loads_the_trained_model(toy_root, tmp_path):
    trained = toy.run(toy_root, tmp_path / "run", "CoOp")
    arguments = ["--eval-only", "--model-dir", str(tmp_path / "run"), "--load-epoch", "2"]
    assert train.main([*arguments, *toy.arguments(toy_root, tmp_path / "eval", "CoOp")]) == 0
    assert trained["tasks"] == json.loads((tmp_path / "eval/results.json").read_text())["tasks"]


def test_untrained_method_is_not_evaluated(toy_root, tmp_path, capsys):
    assert train.main(["--eval-only", *toy.arguments(toy_root, tmp_path / "new/run", "CoOp")]) == 1
    assert (
        "error: --eval-only: CoOp needs training; name the run folder to load with --model-dir"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "new").exists()
    assert train.main(["--eval-only", *toy.arguments(toy_root, tmp_path / "run", "ZeroshotCLIP")]) == 0


def test_failed_run_removes_only_its_own_files(tmp_path):
    (tmp_path / "out/other").mkdir(parents=True)
    remove_run(tmp_path / "out")
    remove_empty([tmp_path / "out", tmp_path])
    assert (tmp_path / "out/other").is_dir()


def test_non_finite_loss_is_explained(toy_root, tmp_path, capsys):
    out = tmp_path / "run"
    arguments = toy.arguments(toy_root, out, "CoOp", "DATASET.NUM_SHOTS", 2)
    steep = ["OPTIM.LR", "1e6", "OPTIM.WEIGHT_DECAY", "1e6", "OPTIM.MAX_EPOCH", 6, "OPTIM.WARMUP_EPOCH", "-1"]
    assert train.main([*arguments, *map(str, steep)]) == 1
    error = capsys.readouterr().err
    assert str(out / "failure.json") in error and "OPTIM.LR (now " in error and "TRAINER.COOP.PREC" in error
    assert {"config.yaml", "log.txt", "failure.json"} <= {path.name for path in out.iterdir()}
    facts = json.loads((out / "failure.json").read_text())
    assert 0 < facts["learning_rate"] <= 1e6 and facts["step"] >= 1 and facts["loss"] in ("nan", "inf")
    assert facts["images"] and all(os.path.isfile(image) for image in facts["images"])
    assert len(facts["labels"]) == len(facts["images"]) and float(facts["gradient_norm_before"]) >= 0
    shutil.rmtree(out / "prompt_learner", ignore_errors=True)
    (out / "config.yaml").unlink()
    assert train.main(arguments) == 0 and not (out / "failure.json").exists()  # the same folder can be used again


def test_repeated_run_keeps_its_training_time(toy_root, tmp_path):
    records = [toy.run(toy_root, tmp_path / "run", "CoOp") for _ in range(2)]
    assert records[0]["train_seconds"] == records[1]["train_seconds"] > 0
    assert records[0]["tasks"] == records[1]["tasks"]


def test_later_settings_win_and_coops_flags_work(tmp_path):
    (tmp_path / "data.yaml").write_text("DATASET:\n  NAME: Demo\nSEED: 5\nOPTIM:\n  LR: 0.5\n")
    (tmp_path / "method.yaml").write_text("OPTIM:\n  LR: 0.25\n  MAX_EPOCH: 7\nTRAINER:\n  NAME: X\n")
    files = f"--dataset-config-file {tmp_path}/data.yaml --config-file {tmp_path}/method.yaml"
    flags = (
        f"{files} --root r --output-dir o --resume s --seed 0 --trainer CoOp --backbone RN50 --head h "
        "--source-domains a b --target-domains c --transforms normalize --model-dir m --load-epoch 3 --no-train "
        "OPTIM.MAX_EPOCH 9 TRAINER.COOP.N_CTX 4"
    )
    cfg = train.setup_cfg(train.parse_args(flags.split()))
    assert (cfg.DATASET.NAME, cfg.OPTIM.LR, cfg.OPTIM.MAX_EPOCH, cfg.SEED) == ("Demo", 0.25, 9, 0)
    assert (cfg.TRAINER.NAME, cfg.MODEL.BACKBONE.NAME, cfg.MODEL.HEAD.NAME) == ("CoOp", "RN50", "h")
    assert (cfg.DATASET.ROOT, cfg.OUTPUT_DIR, cfg.RESUME) == ("r", "o", "s")
    assert (list(cfg.DATASET.SOURCE_DOMAINS), list(cfg.INPUT.TRANSFORMS)) == (["a", "b"], ["normalize"])
    assert cfg.TRAINER.COOP.N_CTX == 4


def remove_images(root):
    next((root / "toy/flower/images").iterdir()).unlink()


def spoil_an_image(root):
    for path in (root / "toy/flower/images").glob("train-0-*"):
        path.write_bytes(b"no image")


def take_a_class_from_training(root):
    path = root / "toy/flower/split_zhou_ToyFlower.json"
    split = json.loads(path.read_text())
    split["train"] = [row for row in split["train"] if row[1] != 1]
    path.write_text(json.dumps(split))


BAD = {
    "trainer": (["--trainer", "SoftCTP"], None, "SoftCPT"),
    "data set": (["DATASET.NAME", "ToyTask"], None, "ToyTasks"),
    "task": (["DATASET.TASKS", "flower recognitoin"], None, "flower recognition"),
    "variant": (["TRAINER.SOFTCPT.VARIANT", "NATO"], None, "NATA, NATS"),
    "precision": (["TRAINER.SOFTCPT.PREC", "fp17"], None, "fp32, amp"),
    "backbone": (["MODEL.BACKBONE.NAME", "ViT-B/17"], None, "ViT-B/16"),
    "config key": (["TRAINER.SOFTCPT.NCTX", "4"], None, "TRAINER.SOFTCPT.N_CTX"),
    "config value": (["TRAINER.SOFTCPT.N_CTX", "four"], None, "TRAINER.SOFTCPT.N_CTX"),
    "odd options": (["OPTIM.LR"], None, "pairs KEY VALUE"),
    "config file": (["--config-file", "configs/trainers/SoftCPT/rn51.yaml"], None, "rn51.yaml"),
    "root": (["--root", "nowhere"], None, "nowhere"),
    "input size": (["INPUT.SIZE", "(48, 48)"], None, "(32, 32)"),
    "missing images": ([], remove_images, "missing"),
    "corrupt image": ([], spoil_an_image, "train-0-"),
    "corrupt image in a worker": (["DATALOADER.NUM_WORKERS", "1"], spoil_an_image, "train-0-"),
    "corrupt image among views": (["FEATURES.TRAIN_VIEWS", "2"], spoil_an_image, "train-0-"),
    "class without training images": ([], take_a_class_from_training, "ox-eye daisy"),
    "model folder": (["--eval-only", "--model-dir", "nowhere"], None, "nowhere"),
}


@pytest.mark.parametrize("what", BAD)
def test_invalid_input_leaves_no_run(toy_root, tmp_path, capsys, what):
    arguments, spoil, message = BAD[what]
    root = toy_root
    if spoil:
        root = tmp_path / "data"
        shutil.copytree(toy_root, root)
        spoil(root)
    flags = [item for item in arguments if item.startswith("--")]
    ours = toy.arguments(root, tmp_path / "run", "SoftCPT", *([] if flags else arguments))
    assert train.main([*ours[:8], *(arguments if flags else []), *ours[8:]]) != 0
    error = capsys.readouterr().err
    assert error.count("error: ") == 1 and message in error and "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_train_works_from_any_folder(toy_root, tmp_path):
    split = json.loads((toy_root / "toy/texture/split_zhou_ToyTexture.json").read_text())
    shutil.copytree(toy_root / "toy/texture/images", tmp_path / "data/images")
    rows = [f"images/{file},texture,{name},{part}" for part, items in split.items() for file, _, name in items]
    (tmp_path / "data/tasks.csv").write_text("\n".join(["path,task,class,split", *rows]))
    shutil.copy(toy.GOLDEN / "tiny_vit.npz", tmp_path / "clip.npz")
    (tmp_path / "method.yaml").write_text("TRAINER:\n  SOFTCPT:\n    N_CTX: 3\n")
    settings = toy.arguments(
        "data", "runs/mine", "SoftCPT", "MODEL.BACKBONE.NAME", "clip.npz@quickgelu", dataset="FolderTasks"
    )
    command = [python(), str(train.PROJECT_ROOT / "train.py"), "--config-file", "method.yaml", *settings]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"data", "clip.npz", "method.yaml", "runs"}
    record = json.loads((tmp_path / "runs/mine/results.json").read_text())
    assert [(task["name"], task["n"]) for task in record["tasks"]] == [("texture", 6)]
    assert record["n_params"] == 32 * 3 * 64 + 4 * 64  # the context of method.yaml
    assert not (train.PROJECT_ROOT / "runs").exists()
