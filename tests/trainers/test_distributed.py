"""Two processes (gloo) against one: the same losses, parameters and results, and files written once."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import toy
from faults.runs import start_pair
from records import prompts
from warm_python import python

from softcpt.evaluation.predictions import PREDICTIONS_FILE, read_predictions

SCRIPT = Path(__file__).resolve().parents[1] / "helpers/toy_process.py"


def torchrun(arguments: list[str], copies: Path) -> subprocess.CompletedProcess:
    """A run of two processes, each of which writes its parameters to `copies`<rank>."""
    command = [python(), "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(SCRIPT)]
    env = {**os.environ, "COPIES": str(copies), "OMP_NUM_THREADS": "1"}
    return subprocess.run([*command, *arguments], capture_output=True, text=True, env=env)


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
def test_two_processes_match_one(processes, toy_root, tmp_path, method, options):
    out = Path("out/run")
    arguments = toy.arguments(toy_root, out, method, "FEATURES.TRAIN_VIEWS", 2, "DATALOADER.TRAIN_X.BATCH_SIZE", 7)
    arguments += options
    started = [processes.start(tmp_path / "1", arguments, trace="events.json")]
    started += start_pair(processes, tmp_path / "2", arguments)
    ended = [process.wait() for process in started]
    assert [process.status for process in ended] == [0, 0, 0], ended
    assert ended[1].out.count("=> result") == 1 and not ended[2].out  # only rank 0 prints
    one, two = tmp_path / "1", tmp_path / "2"
    losses = [json.loads((folder / "events.json").read_text())["losses"] for folder in (one, two)]
    records = [json.loads((folder / out / "results.json").read_text()) for folder in (one, two)]
    assert len(losses[0]) == len(losses[1]) == records[0]["steps"] == records[1]["steps"]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    theirs = prompts(two / out)
    for key, value in prompts(one / out).items():
        torch.testing.assert_close(theirs[key], value, rtol=1e-4, atol=1e-6)
    assert records[1]["tasks"] == records[0]["tasks"]
    rows = [read_predictions(folder / out / PREDICTIONS_FILE) for folder in (one, two)]
    assert [row[:4] for row in rows[0]] == [row[:4] for row in rows[1]]
    np.testing.assert_allclose(*([row.probability for row in some] for some in rows), rtol=1e-3)


def test_processes_without_a_seed_agree(toy_root, tmp_path):
    out = tmp_path / "run"
    arguments = toy.arguments(toy_root, out, "CoOp", "OPTIM.MAX_EPOCH", 1)
    at = arguments.index("--seed")
    done = torchrun([*arguments[:at], *arguments[at + 2 :]], copies=tmp_path / "rank")
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(f"{tmp_path}/rank{i}", weights_only=True) for i in range(2))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize("rank", [0, 1])
def test_loss_that_is_no_number_on_one_process_stops_both(processes, toy_root, tmp_path, rank):
    out = tmp_path / "out/run"
    pair = start_pair(processes, tmp_path, toy.arguments(toy_root, out, "CoOp"), rank=rank, at="step", action="nan")
    ended = [process.wait() for process in pair]
    assert [process.status for process in ended] == [1, 1]
    (line,) = ended[rank].err.splitlines()
    assert line.startswith("error: the loss is nan in epoch 1, step 1 ") and f"{out}/failure.json" in line
    assert not ended[1 - rank].err
    facts = json.loads((out / "failure.json").read_text())
    assert (facts["step"], facts["loss"], len(facts["images"])) == (1, "nan", 4)  # this process's half of the batch
    assert not (out / "prompt_learner").exists() and not list(out.glob("running*"))


def test_batch_smaller_than_the_number_of_processes_is_an_error(processes, toy_root, tmp_path):
    arguments = toy.arguments(toy_root, tmp_path / "run", "CoOp", "DATALOADER.TRAIN_X.BATCH_SIZE", 1)
    first, second = (process.wait() for process in start_pair(processes, tmp_path / "here", arguments))
    assert first.status != 0 and second.status != 0 and (first.err + second.err).count("error: ") == 1
    assert "error: " in first.err and "a batch of 1 image" in first.err and not (tmp_path / "run").exists()
