"""Text towers beside CLIP's own: of transformers, CoCa's, and those that mask the padding."""

import json
from functools import partial

import miniatures
import open_clip
import pytest
import torch
from methods import relative

from softcpt.backbones import load_clip
from softcpt.backbones.config import ClipConfig
from softcpt.prompts.encoder import PlainTextEncoder, text_encoder
from softcpt.prompts.learned import PromptTemplate

WORDS = "a photo of a"
CLASSES = ["rose", "a banded dog", "x!y", "cat, " * 3]
CUSTOM = {"vision_cfg": miniatures.VISION, "custom_text": True}
COCA_TEXT = {**miniatures.TEXT, "context_length": 40, "embed_cls": True}


def foreign(kind, pooler="mean_pooler", projection="mlp", **changes):
    text = {"hf_model_name": f"mini/{kind}", "hf_tokenizer_name": f"mini/{kind}", "context_length": 60}
    text.update(hf_pooler_type=pooler, hf_proj_type=projection)
    return {"vision_cfg": miniatures.VISION, "text_cfg": text, **changes}


def masking(**changes):
    """A tower of open_clip; `use_pad_mask` and `correct_cls_mask` can be set in its code, but in no config of 3.3."""
    return {**CUSTOM, "text_cfg": {**COCA_TEXT, **changes}}


PADDING = {"embed_cls": False, "no_causal_mask": True, "use_pad_mask": True}
KINDS = {
    "roberta": foreign("roberta", projection=None),
    "bert, its own pooler": foreign("bert", "cls_pooler", "linear"),
    "m2m100": foreign("m2m_100", "cls_pooler", "linear"),
    "mt5, its kind's pooler": foreign("mt5", None),
    "coca of roberta": foreign("roberta", multimodal_cfg=miniatures.COCA, vision_cfg=miniatures.COCA_VISION),
    "class token, corrected mask": masking(correct_cls_mask=True),
    "class token, full mask": masking(no_causal_mask=True),
    "class token, full corrected mask": masking(no_causal_mask=True, correct_cls_mask=True),
    "masked padding, eos": masking(**PADDING, pool_type="eos", eos_id=49407),
    "masked padding, first": masking(**PADDING, pool_type="first"),
    "masked padding, last": masking(**PADDING, pool_type="last"),
    "causal, so the padding is seen": masking(embed_cls=False, use_pad_mask=True),
}


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    """(the library's miniature, ours)."""
    cfg = {"embed_dim": 64, **KINDS[request.param]}
    text = dict(cfg["text_cfg"])
    in_code = {key: text.pop(key) for key in ("use_pad_mask", "correct_cls_mask") if key in text}
    text["output_tokens"] = "multimodal_cfg" in cfg
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(open_clip.model, "TextTransformer", partial(open_clip.model.TextTransformer, **in_code))
        made = miniatures.of_open_clip({**cfg, "text_cfg": text}, tmp_path_factory.mktemp("tower"))
        return made, load_clip(made.name)


def word_context(clip):
    ids = torch.tensor(clip.tokenizer.encode(WORDS))
    return clip.text.token_embedding(ids).unsqueeze(0).clone().requires_grad_(True)


def through_prompts(clip, names, context, chunk=2048):
    template, group = PromptTemplate(names, context.shape[1], clip), torch.zeros(len(names), dtype=torch.long)
    return text_encoder(clip.text, chunk)(*template(context, group), group)


@pytest.mark.parametrize("chunk", [2048, 2])
def test_prompts_and_sentences_match_the_library(pair, chunk):
    miniature, clip = pair
    sentences = [f"{WORDS} {name.strip()}." for name in CLASSES]
    with torch.no_grad():
        expected = miniature.encode_text(miniature.tokenize(sentences))
        assert relative(through_prompts(clip, CLASSES, word_context(clip), chunk), expected) < 1e-5
        assert relative(clip.encode_text(sentences), expected) < 1e-5
    assert len(set(map(tuple, expected.round(decimals=3).tolist()))) == len(CLASSES)


def test_prompts_that_fill_the_context_match_the_library(pair):
    """Behind them there is no padding, of which the first token counts in a CoCa."""
    miniature, clip = pair
    length, name = clip.text.context_length, "rose"
    while len(clip.tokenizer.encode(f"{WORDS} {name} rose.")) + 2 <= length:
        name += " rose"
    ids = miniature.tokenize([f"{WORDS} {name}.", f"{WORDS} rose."])
    # Of the vocabularies beside CLIP's "rose" is several tokens.
    assert (ids[0] == clip.tokenizer.pad).sum() < (1 if clip.config.text.kind == "own" else 4)
    with torch.no_grad():
        ours = through_prompts(clip, [name, "rose"], word_context(clip))
        assert relative(ours, miniature.encode_text(ids)) < 1e-5


def test_gradients_are_those_of_the_library(pair):
    miniature, clip = pair
    context, names = word_context(clip), ["rose", "a banded dog"]
    ours = through_prompts(clip, names, context, chunk=2)
    weight = torch.linspace(-1, 1, ours.numel()).view_as(ours)
    (found,) = torch.autograd.grad((ours * weight).sum(), context)
    n_sos, factor = len(clip.tokenizer.sos), getattr(clip.text, "factor", 1.0)

    def put_context(module, inputs, output):
        learned = factor * context.expand(len(output), -1, -1)
        return torch.cat([output[:, :n_sos], learned, output[:, n_sos + learned.shape[1] :]], dim=1)

    hook = miniature.embedding.register_forward_hook(put_context)
    try:
        plain = miniature.encode_text(miniature.tokenize([f"{WORDS} {name}." for name in names]))
        (expected,) = torch.autograd.grad((plain * weight).sum(), context)
    finally:
        hook.remove()
    assert expected.abs().max() > 1e-4 and relative(found, expected) < 2e-5


def test_config_of_a_tower_survives_json(pair):
    _, clip = pair
    assert ClipConfig.from_dict(json.loads(json.dumps(clip.config.to_dict()))) == clip.config


@pytest.mark.parametrize("chunk", [2048, 8 * 2048])
def test_prompts_at_a_time_follow_the_chunk(pair, chunk, monkeypatch):
    """Of whole prompts, as many as have the tokens of `chunk` suffixes of 4 tokens."""
    _, clip = pair
    encoder, sizes = text_encoder(clip.text, chunk), []
    template, group = PromptTemplate(["rose"] * 1000, 1, clip), torch.zeros(1000, dtype=torch.long)
    prefix, suffix, lengths = template(torch.zeros(1, 1, clip.text.width), group)
    count = lambda memory, suffix, *_: sizes.append(len(suffix)) or suffix[:, 0]  # noqa: E731
    monkeypatch.setattr(encoder, "encode_suffix", count)
    encoder(prefix, suffix, lengths, group)
    if isinstance(encoder, PlainTextEncoder):
        padding = suffix.shape[1] if clip.text.tail is None else int(lengths.max()) + clip.text.tail
        assert sizes[0] == min(1000, chunk * 4 // (prefix.shape[1] + padding)) and sum(sizes) == 1000
    else:
        assert sizes == [1000]
