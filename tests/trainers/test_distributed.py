"""Two processes (gloo) against one: the same losses, parameters and results, and files written once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import toy

from evaluation.predictions import PREDICTIONS_FILE, read_predictions

SCRIPT = Path(__file__).resolve().parents[1] / "helpers/toy_process.py"


def start(processes: int, out: Path, arguments: list[str], copies: Path | str = "") -> subprocess.CompletedProcess:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    env = {**os.environ, "LOSSES": str(out.with_suffix(".json")), "COPIES": str(copies), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *launch, str(SCRIPT), *arguments], capture_output=True, text=True, env=env)


def losses(out: Path) -> list[float]:
    return json.loads(out.with_suffix(".json").read_text())


@pytest.mark.parametrize(
    "method, options",
    [
        ("SoftCPT", ["TRAINER.SOFTCPT.VARIANT", "CATS", "TRAINER.SOFTCPT.CLASS_SAMPLE_RATE", "0.5"]),
        ("SoftCPT", ["TRAINER.SOFTCPT.BLEND", "True", "TRAINER.SOFTCPT.KNOWLEDGE_WEIGHT", "1.0"]),
        ("CoOp", ["TRAINER.COOP.CSC", "True", "FEATURES.TRAIN_VIEWS", "0"]),
        ("KgCoOp", ["OPTIM.MAX_STEPS", "7"]),  # the last epoch is cut short
        ("ProGrad", []),
        ("PromptSRC", ["FEATURES.TRAIN_VIEWS", "0"]),
        ("CLIPLoRA", ["FEATURES.TRAIN_VIEWS", "0", "TRAINER.CLIPLORA.DROPOUT", "0.0"]),
        ("LinearProbe", []),
        ("TipAdapterF", ["TRAINER.TIPADAPTERF.SEARCH_STEPS", "(5,5)", "OPTIM.NAME", "adamw"]),
        ("LPPlusPlus", []),
        ("ProLIP", []),
        ("ProtoNet", ["FEATURES.TEST_CACHE", "False"]),
    ],
)
def test_two_processes_compute_what_one_does(toy_root, tmp_path, method, options):
    runs = {}
    for processes in (1, 2):
        out = tmp_path / f"run{processes}" / "run"
        out.parent.mkdir()
        arguments = toy.arguments(toy_root, out, method, "FEATURES.TRAIN_VIEWS", 2, "DATALOADER.TRAIN_X.BATCH_SIZE", 7)
        done = start(processes, out, [*arguments, *options])
        assert done.returncode == 0, done.stderr
        (path,) = (out / "prompt_learner").glob("model.pth.tar-*")
        state = torch.load(path, weights_only=True)["state_dict"]
        runs[processes] = losses(out), state, json.loads((out / "results.json").read_text()), done.stdout
    one, two = runs[1], runs[2]
    assert len(one[0]) == len(two[0]) == one[2]["steps"] == two[2]["steps"]
    np.testing.assert_allclose(two[0], one[0], rtol=1e-4)
    for key, value in one[1].items():
        torch.testing.assert_close(two[1][key], value, rtol=1e-4, atol=1e-6)
    assert two[2]["tasks"] == one[2]["tasks"]
    rows = [read_predictions(tmp_path / f"run{processes}" / "run" / PREDICTIONS_FILE) for processes in (1, 2)]
    assert [row[:4] for row in rows[0]] == [row[:4] for row in rows[1]]
    np.testing.assert_allclose(*([row.probability for row in some] for some in rows), rtol=1e-3)
    assert two[3].count("=> result") == 1  # only rank 0 prints


def test_without_a_seed_two_processes_learn_the_same_parameters(toy_root, tmp_path):
    out = tmp_path / "run"
    arguments = toy.arguments(toy_root, out, "CoOp", "OPTIM.MAX_EPOCH", 1)
    at = arguments.index("--seed")
    done = start(2, out, [*arguments[:at], *arguments[at + 2 :]], copies=tmp_path / "rank")
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(f"{tmp_path}/rank{i}", weights_only=True) for i in range(2))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_more_processes_than_images_in_a_batch_is_an_error(toy_root, tmp_path):
    arguments = toy.arguments(toy_root, tmp_path / "run", "CoOp", "DATALOADER.TRAIN_X.BATCH_SIZE", 1)
    done = start(2, tmp_path / "run", arguments)
    assert done.returncode != 0 and done.stderr.count("error: ") == 1
    assert "a batch of 1 images" in done.stderr and not (tmp_path / "run").exists()
