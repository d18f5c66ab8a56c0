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
from softcpt.backbones.layers import Attention, QuickGELU, Tuning
from softcpt.prompts import encoder as text_encoder
from softcpt.prompts.encoder import TextEncoder
from softcpt.prompts.learned import Context, PromptTemplate

NAMES = ["rose", "hard_leaved_pocket_orchid", "ox-eye daisy", "707-320", "a", " ".join(["aircraft"] * 40)]


@pytest.fixture(scope="module")
def model():
    return load_clip(f"{toy.GOLDEN}/tiny_vit.npz@quickgelu")


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("chunk, cpu_slice", [(256, 128), (2, 128), (256, 4), (4, 3)])
@pytest.mark.parametrize("groups", [[0] * 6, [0, 1, 0, 2, 2, 1], [0, 1, 2, 3, 4, 5]])
def test_features_and_gradients_match_the_plain_path(model, position, chunk, cpu_slice, groups, monkeypatch):
    monkeypatch.setattr(text_encoder, "CPU_SLICE", cpu_slice)
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


def test_quick_gelu_matches_the_clip_package():
    from clip.model import QuickGELU as Reference

    x = torch.randn(50, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(QuickGELU.apply(x), Reference()(x))
    (ours,) = torch.autograd.grad(QuickGELU.apply(x).sin().sum(), x)
    (expected,) = torch.autograd.grad(Reference()(x).sin().sum(), x)
    torch.testing.assert_close(ours, expected)


def on_a_gpu(monkeypatch):
    """The operations that a GPU would be given."""
    monkeypatch.setattr(layers, "on_accelerator", lambda x: True)


@pytest.mark.parametrize("position, prompts", [("end", 0), ("end", 2), ("middle", 0), ("front", 0)])
@pytest.mark.parametrize("groups", [[0] * 6, [0, 1, 0, 2, 2, 1], [2, 1, 0, 0, 0, 0]])
def test_prompts_encoded_together_are_those_encoded_apart(model, position, groups, prompts, monkeypatch):
    torch.manual_seed(0)
    group = torch.tensor(groups)
    context, deep = torch.randn(3, 5, 64, requires_grad=True), torch.randn(prompts, 2, 64, requires_grad=True)
    template = PromptTemplate(NAMES, 5, model, position)
    encode = lambda: TextEncoder(model.text)(*template(context, group), group, Tuning(prompts=list(deep)))  # noqa: E731
    expected = encode()
    on_a_gpu(monkeypatch)
    monkeypatch.setattr(TextEncoder, "encode_prefix", None)
    ours = encode()
    assert relative(ours, expected) < 1e-5

    weight = torch.randn_like(expected)
    gradients = [torch.autograd.grad((x * weight).sum(), [context, deep], allow_unused=True) for x in (ours, expected)]
    for value, wanted in zip(*gradients):
        assert (value is None) == (wanted is None)
        assert wanted is None or not wanted.numel() or relative(value, wanted) < 1e-5


def test_many_prompts_are_encoded_apart(model, monkeypatch):
    on_a_gpu(monkeypatch)
    monkeypatch.setattr(text_encoder, "TOGETHER", 100)
    monkeypatch.setattr(TextEncoder, "encode_together", None)
    template, group = PromptTemplate(NAMES, 5, model), torch.zeros(6, dtype=torch.long)
    assert TextEncoder(model.text)(*template(torch.randn(1, 5, 64), group), group).shape == (6, model.text.embed_dim)


@second_device.NEEDS
@pytest.mark.parametrize("together", [2**14, 0])
def test_places_are_made_on_the_host_and_kept(model, together, monkeypatch):
    """With the lengths on the CPU no value is read, and a second step with the same classes copies nothing."""
    monkeypatch.setattr(text_encoder, "TOGETHER", together)
    there = copy.deepcopy(model.text).to(second_device.DEVICE)
    group = torch.zeros(6, dtype=torch.long)
    prefix, suffix, lengths = PromptTemplate(NAMES, 5, model)(torch.randn(1, 5, 64), group)
    at = [x.to(second_device.DEVICE).requires_grad_() for x in (prefix, suffix)]
    expected = TextEncoder(model.text)(prefix, suffix, lengths, group)
    group = group.to(second_device.DEVICE)
    for copies in (True, False):
        with host_waits.recorded() as waits:
            ours = TextEncoder(there)(*at, lengths, group)
            ours.sum().backward()
        assert {wait.kind for wait in waits} <= ({"copy"} if copies else set()), waits
    assert relative(ours.detach().cpu(), expected.detach()) < 1e-5


@pytest.mark.parametrize("half", [False, True])
def test_frozen_mlp_is_the_mlp(model, half, monkeypatch):
    mlp, x = model.text.blocks[0].mlp, torch.randn(3, 5, 64, requires_grad=True)
    results = []
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            y = mlp(x)
        results.append((y, *torch.autograd.grad(y.float().sin().sum(), x)))
        on_a_gpu(monkeypatch)
    for ours, expected in zip(*results):
        assert ours.dtype == expected.dtype and relative(ours.float(), expected.float()) < (2e-2 if half else 1e-5)
    mlp = copy.deepcopy(mlp).requires_grad_()
    mlp(x).sum().backward()  # trained weights have gradients
    assert all(parameter.grad is not None for parameter in mlp.parameters())


def test_few_kernels_are_launched(model, monkeypatch):
    """28 in a layer, forward and backward, and 25 before and behind the layers; they were 250 in all."""
    template, group = PromptTemplate(NAMES, 5, model), torch.tensor([0, 1, 0, 2, 2, 1])
    context = torch.randn(3, 5, 64, requires_grad=True)
    on_a_gpu(monkeypatch)
    TextEncoder(model.text)(*template(context, group), group)  # fills what is kept
    with Launches() as launches:
        TextEncoder(model.text)(*template(context, group), group).sum().backward()
    assert launches.counts.total() <= 3 * 28 + 25
