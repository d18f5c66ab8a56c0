"""Every family of CLIPs against its own library: a randomly initialised miniature, saved by the library itself."""

import miniatures
import pytest
import torch
from methods import relative
from odd_names import NAMES

from softcpt.backbones import load_clip
from softcpt.prompts.encoder import PlainTextEncoder, text_encoder
from softcpt.prompts.learned import PromptTemplate

WORDS = "a photo of a"
CLASSES = ["rose", "ox-eye daisy", "707-320", "hard_leaved_pocket_orchid", "a dog"]


@pytest.fixture(scope="module", params=miniatures.FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def pair(family, miniature):
    """(the library's miniature, ours)."""
    return miniature(family), load_clip(miniature(family).name)


def word_context(clip):
    """(1, M, D): the embeddings of WORDS, as a context that requires gradients."""
    ids = torch.tensor(clip.tokenizer.encode(WORDS))
    return clip.text.token_embedding(ids).unsqueeze(0).clone().requires_grad_(True)


def through_prompts(clip, context, position="end", chunk=2048):
    template = PromptTemplate(CLASSES, context.shape[1], clip, position)
    group = torch.zeros(len(CLASSES), dtype=torch.long)
    return text_encoder(clip.text, chunk)(*template(context, group), group)


def test_image_features_match_the_library(pair):
    miniature, clip = pair
    image = torch.randn(4, 3, *clip.preprocessing.size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert relative(clip.encode_image(image), miniature.encode_image(image)) < 1e-5


@pytest.mark.parametrize("chunk", [2048, 2])
def test_prompt_text_features_match_the_library(pair, chunk):
    miniature, clip = pair
    sentences = [f"{WORDS} {name.replace('_', ' ')}." for name in CLASSES]
    with torch.no_grad():
        expected = miniature.encode_text(miniature.tokenize(sentences))
        assert relative(through_prompts(clip, word_context(clip), chunk=chunk), expected) < 1e-5
        assert relative(clip.encode_text(sentences), expected) < 1e-5
    assert len(set(map(tuple, expected.round(decimals=3).tolist()))) == len(CLASSES)  # all sentences differ


def test_prompt_gradients_match_the_library(pair):
    miniature, clip = pair
    context = word_context(clip)
    n_sos, n_context = len(clip.tokenizer.sos), context.shape[1]
    ours = through_prompts(clip, context, chunk=2)
    weight = torch.linspace(-1, 1, ours.numel()).view_as(ours)
    (found,) = torch.autograd.grad((ours * weight).sum(), context)

    def put_context(module, inputs, output):
        return torch.cat(
            [output[:, :n_sos], context.expand(len(output), -1, -1), output[:, n_sos + n_context :]], dim=1
        )

    hook = miniature.embedding.register_forward_hook(put_context)
    try:
        plain = miniature.encode_text(miniature.tokenize([f"{WORDS} {n.replace('_', ' ')}." for n in CLASSES]))
        (expected,) = torch.autograd.grad((plain * weight).sum(), context)
    finally:
        hook.remove()
    assert expected.abs().max() > 1e-4 and relative(found, expected) < 1e-5


@pytest.mark.parametrize("position", ["middle", "front"])
def test_class_name_position_is_respected(pair, position):
    _, clip = pair
    tokenizer, context, rows, ends = clip.tokenizer, word_context(clip), [], []
    words = tokenizer.encode(WORDS)
    before = {"middle": len(words) // 2, "front": 0}[position]
    for name in CLASSES:
        name = name.replace("_", " ")
        own, stop = tokenizer.encode(name), tokenizer.encode(f"{name}.")[len(tokenizer.encode(name)) :]
        row = [*tokenizer.sos, *words[:before], *own, *words[before:], *stop, *tokenizer.eos]
        rows.append(row + [tokenizer.pad] * (clip.text.context_length - len(row)))
        ends.append(len(row))
    with torch.no_grad():
        expected = clip.text.encode(clip.text.token_embedding(torch.tensor(rows)), torch.tensor(ends))
        assert relative(through_prompts(clip, context, position), expected) < 1e-5


def test_tokens_match_the_library(pair):
    miniature, clip = pair
    assert len(set(NAMES)) == 200
    length = clip.text.context_length
    different = []
    for name in NAMES:
        ours = [*clip.tokenizer.sos, *clip.tokenizer.encode(name), *clip.tokenizer.eos]
        ours = (ours + [clip.tokenizer.pad] * (length - len(ours)))[:length]
        if miniature.tokenize([name])[0].tolist() != ours:
            different.append(name)
    assert not different


def test_too_long_name_is_an_error(pair):
    _, clip = pair
    message = rf"the prompt of 'x 1 x 1.* tokens .* more than CLIP's {clip.text.context_length}"
    with pytest.raises(ValueError, match=message):
        PromptTemplate(["x 1 " * 60], 4, clip)


def test_tower_without_shared_prefixes_uses_the_plain_encoder(pair, family, caplog):
    _, clip = pair
    with caplog.at_level("INFO"):
        encoder = text_encoder(clip.text, 2048)
    kind, siglip = miniatures.text_tower(family), "siglip" in family
    assert isinstance(encoder, PlainTextEncoder) == (kind != "causal") == ("share no prefix" in caplog.text)
    assert ("full mask" in caplog.text) == (kind == "full mask")
    assert (clip.logit_bias is not None) == siglip
    shortest = "shortest:32" if family.startswith("transformers") else "shortest"
    assert clip.preprocessing.resize == ("squash" if siglip else shortest)


def test_families_do_not_share_cached_features(miniature):
    clips = [load_clip(miniature(family).name) for family in miniatures.FAMILIES]
    assert len({clip.image_digest for clip in clips}) == len(clips)


def test_activation_is_part_of_the_cache_key(miniature):
    name = miniature("openai-vit").name.rsplit("@", 1)[0]
    quick, plain = (load_clip(f"{name}@{spelling}") for spelling in ("quickgelu", "gelu"))
    image = torch.randn(1, 3, 32, 32)
    assert not torch.allclose(quick.encode_image(image), plain.encode_image(image), rtol=1e-2)
    assert quick.image_digest != plain.image_digest
