"""Which parameters serve which classes and tasks."""

import pytest
import second_device
import torch
from dassl.utils import load_checkpoint
from methods import build


def test_frozen_tokens_in_upstream_checkpoints_are_ignored(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "CoOp", dataset="ToySingle")
    state = {**trainer.learned.state_dict(), "token_prefix": torch.zeros(2, 1, 64), "0.token_suffix": torch.zeros(1)}
    (tmp_path / "prompt_learner").mkdir()
    torch.save({"state_dict": state, "epoch": 2}, tmp_path / "prompt_learner" / "model.pth.tar-2")
    trainer.load_model(str(tmp_path), epoch=2)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 2},
        lambda state: {"state_dict": {f"prompt_learner.{key}": value for key, value in state.items()}},
        lambda state: {"model": state, "epoch": 2},
        lambda state: state,
    ],
    ids=["module.", "prompt_learner.", "model", "bare"],
)
def test_wrapped_prompts_are_the_same_prompts(wrap, toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "CoOp", dataset="ToySingle")
    state = {key: torch.full_like(value, 0.25) for key, value in trainer.learned.state_dict().items()}
    (tmp_path / "prompt_learner").mkdir()
    torch.save(wrap(state), tmp_path / "prompt_learner" / "model.pth.tar-2")
    trainer.load_model(str(tmp_path), epoch=2)
    assert all(torch.equal(value, state[key]) for key, value in trainer.learned.state_dict().items())
    torch.save({"state_dict": state, "model": state}, tmp_path / "prompt_learner" / "model.pth.tar-3")
    with pytest.raises(ValueError, match="tar-3 is no checkpoint of this CoOp: it holds several state dicts"):
        trainer.load_model(str(tmp_path), epoch=3)


@pytest.mark.parametrize("name", ["SoftCPT", "MaPLe", "PromptSRC", "CLIPLoRA"])
def test_base_prompts_serve_new_classes_of_unequal_number(toy_root, tmp_path, name):
    base = ("DATASET.SUBSAMPLE_CLASSES", "base", "OPTIM.MAX_EPOCH", 1)
    trainer = build(toy_root, tmp_path / "base", name, opts=base)
    assert [len(task.classnames) for task in trainer.tasks] == [2, 1, 3]
    trainer.train()
    new = build(toy_root, tmp_path / "new", name, opts=("DATASET.SUBSAMPLE_CLASSES", "new"))
    assert [len(task.classnames) for task in new.tasks] == [1, 1, 2]
    new.load_model(str(tmp_path / "base"))
    new.test()
    assert [result["n"] for result in new.evaluator.task_results] == [3, 3, 6]
    assert new.tasks[2].classnames == ("DHC-8-300", "Spitfire")


@pytest.mark.parametrize(
    "name, options",
    [
        ("CoOp", ("CSC", True)),
        ("SoftCPT", ("VARIANT", "CSTA")),
        ("CoOp", ("TSC", True)),
        ("SoftCPT", ("VARIANT", "NATS")),
        ("SoftCPT", ("TASK_FEATURES", "learned")),
        ("TaskRes", ()),
        ("TipAdapterF", ()),
        ("LPPlusPlus", ()),
        ("LinearProbe", ()),
        ("ProtoNet", ()),
    ],
)
def test_parameters_of_classes_or_tasks_do_not_serve_others(toy_root, tmp_path, name, options):
    """The first 3 of the 5 aircraft and the 3 flowers are equal in number, so nothing else would notice a mix-up."""
    first = ("DATASET.TASKS", "aircraft model recognition", "DATASET.SUBSAMPLE_CLASSES", "base")
    trainer = build(toy_root, tmp_path / "one", name, *options, opts=first)
    trainer.save_model(0, str(tmp_path / "one"))
    other = build(toy_root, tmp_path / "two", name, *options, opts=("DATASET.TASKS", "flower recognition"))
    with pytest.raises(ValueError, match="learned for other classes or tasks"):
        other.load_model(str(tmp_path / "one"))


@second_device.NEEDS
def test_tensors_of_another_device_are_compared_and_loaded(toy_root, tmp_path, monkeypatch):
    """An installed Dassl may load them to a GPU, even where USE_CUDA is False."""
    trainer = build(toy_root, tmp_path, "TaskRes")
    trainer.save_model(0, str(tmp_path))
    expected = {key: value.clone() for key, value in trainer.learned.state_dict().items()}

    def on_the_device(path):
        saved = load_checkpoint(path)
        return {
            **saved,
            "state_dict": {key: value.to(second_device.DEVICE) for key, value in saved["state_dict"].items()},
        }

    monkeypatch.setattr("trainers.engine.checkpoints.load_checkpoint", on_the_device)
    for parameter in trainer.learned.parameters():
        parameter.data += 1
    trainer.load_model(str(tmp_path))
    assert all(torch.equal(value, expected[key]) for key, value in trainer.learned.state_dict().items())
