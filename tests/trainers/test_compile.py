"""TRAIN.COMPILE: the towers' layers are compiled, with equal results."""

import shutil
from functools import partial

import pytest
import torch
import toy
from methods import build, relative

from softcpt.backbones import load_clip
from softcpt.backbones.compiled import compile_blocks
from softcpt.prompts.encoder import TextEncoder
from softcpt.prompts.learned import PromptTemplate
from trainers.engine.same_config import compared

CPU = torch.device("cpu")
NAMES = ["rose", "hard_leaved_pocket_orchid", "ox-eye daisy", "707-320"]
NEEDS_COMPILER = pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")


@pytest.fixture(autouse=True)
def no_graphs():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


@pytest.fixture
def model():
    return load_clip(f"{toy.GOLDEN}/tiny_vit.npz@quickgelu")


def without_code(monkeypatch):
    """Graphs are traced, but no code is generated for them, which takes long."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager", fullgraph=True))


def values(model, names, chunk=2048):
    """Features and gradients of names and of images."""
    context = torch.linspace(-1, 1, 5 * 64).view(1, 5, 64).requires_grad_()
    image = torch.linspace(-1, 1, 2 * 3 * model.preprocessing.size[0] ** 2).view(2, 3, *model.preprocessing.size)
    group = torch.zeros(len(names), dtype=torch.long)
    text = TextEncoder(model.text, chunk)(*PromptTemplate(names, 5, model)(context, group), group)
    visual = model.visual(image.requires_grad_())
    inputs = [context, image]
    gradients = [torch.autograd.grad(y.sin().sum(), x)[0] for y, x in zip((text, visual), inputs)]
    return [text.detach(), visual.detach(), *gradients]


@pytest.mark.parametrize("chunk", [2048, 2])
def test_compiled_layers_compute_the_same(model, chunk, monkeypatch):
    without_code(monkeypatch)
    expected, names = values(model, NAMES, chunk), list(model.state_dict())
    compile_blocks(model, CPU)
    for ours, wanted in zip(values(model, NAMES, chunk), expected):
        assert relative(ours, wanted) < 1e-5
    assert list(model.state_dict()) == names


def test_layers_and_lengths_share_their_graphs(model, monkeypatch):
    """Both towers, with and without gradients, have fewer graphs than PyTorch's limit of 8, for any tokens."""
    without_code(monkeypatch)
    compile_blocks(model, CPU)
    values(model, NAMES)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    values(model, [*NAMES, "a very long name of a class"])
    values(model, NAMES[1:])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs <= 7


@pytest.mark.slow
@NEEDS_COMPILER
def test_generated_code_computes_the_same(model):
    expected = values(model, NAMES)
    compile_blocks(model, CPU)
    for ours, wanted in zip(values(model, NAMES), expected):
        assert relative(ours, wanted) < 1e-5


def test_what_cannot_be_compiled_is_one_error(model, monkeypatch):
    with pytest.raises(ValueError, match="TRAIN.COMPILE: True, but neither tower"):
        compile_blocks(torch.nn.Linear(1, 1), CPU)

    def fail(function, **kwargs):
        raise RuntimeError("no compiler\nand much more")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(ValueError, match=r"TRAIN.COMPILE: True, but torch.compile .*\(no compiler\); set it to False"):
        compile_blocks(model, CPU)


def test_run_is_compiled_and_goes_on_without(toy_root, tmp_path, monkeypatch):
    """A compiled run ends as another; it is the same run, so that it is done before for a call without the key."""
    without_code(monkeypatch)
    pairs = ("OPTIM.MAX_EPOCH", 1, "DATASET.NUM_SHOTS", 1, "DATASET.TASKS", ",".join(toy.TASKS[:2]))
    trainers = {}
    for compiled in (True, False):
        opts = (*pairs, "TRAIN.COMPILE", compiled)
        trainers[compiled] = trainer = build(toy_root, tmp_path / str(compiled), "CoOp", opts=opts)
        trainer.train()
        assert (trainer.clip.text.blocks[0].compiled_rest is not None) == compiled
    states = [trainer.learned.state_dict() for trainer in trainers.values()]
    assert all(relative(states[0][name], states[1][name]) < 1e-4 for name in states[1])
    there, here = (compared(trainer.cfg) for trainer in trainers.values())
    assert there == here and "TRAIN.COMPILE" not in here
