"""The registered methods, their trainers over the toy tasks, and what the tests of several methods share."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
import toy
from dassl.engine import TRAINER_REGISTRY, build_trainer
from dassl.utils import read_image
from torchvision.transforms.functional import normalize, to_tensor

from trainers.base import PromptTrainer

CLASSES = {name: TRAINER_REGISTRY.get(name) for name in TRAINER_REGISTRY.registered_names()}
METHODS = [name for name, method in CLASSES.items() if issubclass(method, PromptTrainer)]
LEARNING = [name for name in METHODS if CLASSES[name].learns_by_gradient]
FITTED = [name for name in METHODS if CLASSES[name].uses_shots and not CLASSES[name].learns_by_gradient]

# Of the classes of the toy tasks, in order: their names, tasks and templates.
CLASSNAMES = [name.replace("_", " ") for names in toy.CLASSES.values() for name in names]
TASK = torch.tensor([0] * 3 + [1] * 2 + [2] * 5)
TEMPLATES = ["a photo of a {}."] * 3 + ["{} texture."] * 2 + ["a photo of a {}."] * 5


def build(root, out, name, *options, dataset="ToyTasks", opts=()):
    """The trainer of a method; `options` are keys and values of the method's own, `opts` of any."""
    pairs = [
        item for key, value in zip(options[::2], options[1::2]) for item in (f"TRAINER.{name.upper()}.{key}", value)
    ]
    torch.manual_seed(0)
    return build_trainer(toy.config(root, out, name, *pairs, *opts, dataset=dataset))


def batch_of(trainer):
    """The first training batch, with the trainer at its first step."""
    batch = next(iter(trainer.train_loader_x))
    trainer.epoch, trainer.batch_idx, trainer.num_batches = 0, 0, 2
    return batch


def steps_of_an_epoch(trainer):
    """Yields (a function that makes the next training step, its batch), as between two printed lines."""
    trainer.before_train()
    trainer.set_model_mode("train")
    trainer.before_epoch()
    trainer.epoch, trainer.num_batches = 0, 10**6
    for trainer.batch_idx, batch in enumerate(trainer.train_loader_x):  # noqa: B020
        yield (lambda batch=batch: trainer.forward_backward(batch)), batch


def cosine(a, b):
    """Of two lists of numbers."""
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def relative(value, expected) -> float:
    """The largest difference, as a share of the largest expected value."""
    value, expected = torch.as_tensor(value).double(), torch.as_tensor(expected).double()
    return ((value - expected).abs().max() / expected.abs().max()).item()


def task_cross_entropy(logits, label):
    """The mean cross-entropy of logits (B, C) over the classes of each sample's own task."""
    return F.cross_entropy(logits.masked_fill(TASK != TASK[label].unsqueeze(1), -math.inf), label)


def check_loss(trainer, batch, expected):
    """The trainer's loss of a batch and its gradients are those of `expected`, a function of the same parameters. What
    the loss logs is returned."""
    loss, logs = trainer.compute_loss(batch["img"], batch["label"])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    parameters = dict(trainer.learned.named_parameters())
    gradients = (torch.autograd.grad(value, list(parameters.values())) for value in (loss, expected))
    for name, found, wanted in zip(parameters, *gradients):
        assert relative(found, wanted) < 1e-3, name
    return {name: value.item() for name, value in logs.items()}


def probabilities_of(trainer, paths, task):
    """The softmax over a task's columns among the logits of all classes, of pictures that need no resizing."""
    cfg = trainer.cfg.INPUT
    image = torch.stack([normalize(to_tensor(read_image(path)), cfg.PIXEL_MEAN, cfg.PIXEL_STD) for path in paths])
    trainer.set_model_mode("eval")
    own = trainer.class_task == [task.name for task in trainer.tasks].index(task)
    return trainer.model_inference(image)[:, own].softmax(1)


# -- what a method of prompts or updates must do, called with its name -------------------------------------------------


def resumes_after_two_epochs(root, folder, name, whole, *options, opts):
    """Check that a run that is cut off after two epochs ends with the parameters of the trained trainer `whole`."""

    def cut_off():
        if cut.epoch == 2:
            raise KeyboardInterrupt
        run_epoch()

    cut = build(root, folder / "cut", name, *options, opts=opts)
    run_epoch, cut.run_epoch = cut.run_epoch, cut_off
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    again = build(root, folder / "cut", name, *options, opts=opts)
    again.train()
    assert again.start_epoch == 2
    for key, value in whole.learned.state_dict().items():
        assert torch.equal(again.learned.state_dict()[key], value), key
