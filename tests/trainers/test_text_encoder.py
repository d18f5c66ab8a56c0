"""Prompts and the shared-prefix text encoder against the clip package's plain path of 77 tokens."""

import copy

import host_waits
import plain
import pytest
import second_device
import torch
import toy
from clip import clip
from methods import relative

from scripts.bench.launches import Launches
from softcpt.backbones import layers, load_clip
from softcpt.backbones.layers import Attention, QuickGELU
from softcpt.prompts import encoder as text_encoder
from softcpt.prompts.encoder import TextEncoder
from softcpt.prompts.learned import Context, PromptTemplate

NAMES = ["rose", "hard_leaved_pocket_orchid", "ox-eye daisy", "707-320", "a", " ".join(["aircraft"] * 40)]
GROUPS = [[0] * 6, [0, 1, 0, 2, 2, 1], [0, 1, 2, 3, 4, 5]]


@pytest.fixture(scope="module")
def model():
    return load_clip(f"{toy.GOLDEN}/tiny_vit.npz@quickgelu")


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("chunk, cpu_slice", [(256, 128), (2, 128), (256, 4), (4, 3)])
@pytest.mark.parametrize("groups", GROUPS)
def test_features_and_gradients_match_the_plain_path(model, position, chunk, cpu_slice, groups, monkeypatch):
    monkeypatch.setattr(text_encoder, "CPU_SLICE", cpu_slice)
    check_against_the_plain_path(model, position, chunk, groups)


@pytest.mark.parametrize("position", ["end", "front"])
@pytest.mark.parametrize("chunk, whole", [(256, 4096), (256, 0), (2, 0), (4, 4096)])
@pytest.mark.parametrize("groups", GROUPS)
def test_path_of_a_gpu_matches_the_plain_path(model, position, chunk, whole, groups, monkeypatch):
    for module in (text_encoder, layers):
        monkeypatch.setattr(module, "on_cpu", lambda value: False)
    monkeypatch.setattr(text_encoder, "WHOLE", whole)
    check_against_the_plain_path(model, position, chunk, groups)


def check_against_the_plain_path(model, position, chunk, groups):
    torch.manual_seed(0)
    group = torch.tensor(groups)
    context = torch.randn(max(groups) + 1, 5, 64, requires_grad=True)
    template = PromptTemplate(NAMES, 5, model, position)
    ours = TextEncoder(model.text, chunk)(*template(context, group), group)
    expected = plain.features(plain.reference(), NAMES, context[group], position)
    assert relative(ours, expected) < 1e-5

    weight = torch.randn_like(expected)
    (ours_grad,) = torch.autograd.grad((ours * weight).sum(), context)
    (expected_grad,) = torch.autograd.grad((expected * weight).sum(), context)
    assert relative(ours_grad, expected_grad) < 1e-5


@second_device.NEEDS
@pytest.mark.parametrize("whole", [4096, 0])
def test_host_waits_for_nothing_if_it_knows_the_lengths(model, whole, monkeypatch):
    monkeypatch.setattr(text_encoder, "WHOLE", whole)
    template, group = PromptTemplate(NAMES, 5, model), torch.arange(6) % 2
    inputs = [x.to(second_device.DEVICE) for x in (*template(torch.randn(2, 5, 64), group), group)]
    tower = copy.deepcopy(model.text).to(second_device.DEVICE)
    inputs[0].requires_grad_(True)

    def step():
        TextEncoder(tower)(inputs[0], inputs[1], template.lengths, inputs[3]).sum().backward()

    step()  # where the tokens lie is found once
    with host_waits.recorded() as waits:
        step()
    assert [wait for wait in waits if wait.kind == "read"] == []
    assert inputs[0].grad.isfinite().all()


@pytest.mark.parametrize("whole, launches", [(4096, 94), (0, 177)])
def test_launches_of_a_gpu(model, whole, launches, monkeypatch):
    """The forward and the backward pass of three layers. They were 250."""
    for module in (text_encoder, layers):
        monkeypatch.setattr(module, "on_cpu", lambda value: False)
    monkeypatch.setattr(text_encoder, "WHOLE", whole)
    template, group = PromptTemplate(NAMES, 5, model), torch.tensor([0, 0, 0, 1, 1, 1])
    context = torch.randn(2, 5, 64, requires_grad=True)
    with Launches() as found:
        TextEncoder(model.text)(*template(context, group), group).sum().backward()
    assert found.counts.total() <= launches


def test_context_from_words_has_their_embeddings(model):
    words = "a type of flower, a photo of a"
    context = Context(16, model, rows=3, words=words)
    ids = torch.tensor(clip._tokenizer.encode(words))
    assert context().shape == (3, len(ids), 64)  # the comma is a token
    assert torch.equal(context()[2], model.text.token_embedding(ids))


def test_no_unneeded_token_is_computed(model, monkeypatch):
    computed = []
    project = Attention.project
    record = lambda self, x, part, update: computed.append((*x.shape[:-1], part)) or project(self, x, part)  # noqa: E731
    monkeypatch.setattr(Attention, "project", record)
    template, group = PromptTemplate(["rose", "ox-eye daisy"], 16, model), torch.zeros(2, dtype=torch.long)
    TextEncoder(model.text)(*template(torch.randn(1, 16, 64), group), group)
    # One prefix of [SOS] and the context; rose . [EOS] and ox - eye daisy . [EOS] packed; in the last of three layers
    # what the two features at [EOS] need.
    prefix = [(1, 17, "qkv"), (1, 17, "qkv"), (1, 17, "kv")]
    assert computed == prefix + [(3 + 6, "qkv"), (3 + 6, "qkv"), (3 + 6, "kv"), (2, "q")]


@pytest.mark.parametrize("cpu", [True, False])
def test_quick_gelu_matches_the_clip_package(cpu, monkeypatch):
    from clip.model import QuickGELU as Reference

    monkeypatch.setattr(layers, "on_cpu", lambda value: cpu)
    x = torch.randn(50, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(QuickGELU.apply(x), Reference()(x))
    (ours,) = torch.autograd.grad(QuickGELU.apply(x).sin().sum(), x)
    (expected,) = torch.autograd.grad(Reference()(x).sin().sum(), x)
    torch.testing.assert_close(ours, expected)
