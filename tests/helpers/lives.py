"""The whole life of a method on a device: the tests' second one, or a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import export
import predict
import pytest
import torch
import toy
from methods import CLASSES, LEARNING

from softcpt.inference import load_classifier
from trainers.engine.memory import device_name


def lives(
    root: Path, folder: Path, name: str, device: torch.device, capsys: pytest.CaptureFixture[str], rel: float = 1e-4
) -> None:
    """Check that a method is trained, cut off and resumed, evaluated and exported, and predicts on its tasks and on a
    new one; and that its export predicts on a CPU what it predicts on the device, to `rel`."""
    pairs = ("DATASET.TASKS", ",".join(toy.TASKS[:2]), "DATASET.NUM_SHOTS", 1, "OPTIM.MAX_EPOCH", 1)
    two = ("OPTIM.MAX_EPOCH", 2, "TRAIN.CHECKPOINT_FREQ", 1) if name in LEARNING else ()
    run, again, file, names = (folder / path for path in ("a/run", "b/run", "a/m.safetensors", "names.txt"))
    pictures = [str(path) for path in sorted(root.glob("toy/*/images/test-*"))[:3]]
    names.write_text("ink cap\nfly agaric\n")
    toy.finish_after_a_cut(toy.arguments(root, run, name, *pairs, *two))
    loaded = ["--model-dir", str(run)] if CLASSES[name].uses_shots else []
    toy.finish([*toy.arguments(root, again, name, *pairs), "--eval-only", *loaded])
    first, second = (json.loads((folder / "results.json").read_text()) for folder in (run, again))
    assert first["tasks"] == second["tasks"] and first["device"] == device_name(device)
    assert export.main([str(run), str(file)]) == (2 if CLASSES[name].no_heads else 0)
    if file.exists():
        assert predict.main([str(file), *pictures, "--task", toy.TASKS[1], "MODEL.BACKBONE.NAME", toy.CLIP]) == 0
    for task in ("--task", toy.TASKS[1]), ("--task", "mushroom recognition", "--classes", str(names)):
        capsys.readouterr()
        if predict.main([str(run), *pictures, *task]):
            assert "its own parameters for each class or task" in capsys.readouterr().err and len(task) == 4
    if file.exists():
        cpu, there = (load_classifier(file, toy.CLIP, place) for place in ("cpu", device))
        expected = cpu.decision_function(pictures, toy.TASKS[0])
        assert there.decision_function(pictures, toy.TASKS[0]) == pytest.approx(expected, rel=rel)
