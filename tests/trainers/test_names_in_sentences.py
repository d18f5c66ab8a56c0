"""Learned prompts of a CLIP of SigLIP 2's kind, whose tokenizer has no space before the first word."""

import json
import shutil

import miniatures
import open_clip
import pytest
import small_tokenizers
import torch
import transformers
from methods import CLASSNAMES, build, relative

from softcpt.backbones import load_clip
from softcpt.prompts.encoder import text_encoder
from softcpt.prompts.learned import Context, PromptTemplate
from softcpt.prompts.zero_shot import encode_sentences

WORDS = "a photo of a"
CLASSES = ["rose", "ox-eye daisy", "707-320", "Hard_leaved_pocket orchid", "St. Bernard"]
SENTENCES = {"end": "a photo of a {}.", "middle": "a photo {} of a.", "front": "{} a photo of a."}


@pytest.fixture(scope="module", params=["open_clip", "transformers, gemma", "transformers, siglip2"])
def pair(request, tmp_path_factory):
    """(ours, the library's features of sentences)."""
    library, _, kind = request.param.partition(", ")
    base = tmp_path_factory.getbasetemp()
    folder = shutil.copytree(
        small_tokenizers.save(kind or "gemma", base / "tokenizers"), tmp_path_factory.mktemp("siglip2") / "model"
    )
    torch.manual_seed(0)
    with torch.no_grad():
        encode = (_open_clip if library == "open_clip" else _transformers)(folder)
        return load_clip(str(folder)), encode


def _open_clip(folder):
    miniatures.register_tiny_timm_models()
    text = {**miniatures.SIGLIP_TEXT, "vocab_size": 600}
    cfg = {"embed_dim": 64, "vision_cfg": miniatures.SIGLIP_TIMM, "text_cfg": text, "custom_text": True}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": cfg, "preprocess_cfg": {}}))
    model = miniatures.enlarge(open_clip.create_model(f"local-dir:{folder}", load_weights=False))
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    return lambda sentences: model.encode_text(tokenizer(sentences))


def _transformers(folder):
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96}
    vision = {**sizes, "image_size": 32, "patch_size": 16}
    config = transformers.SiglipConfig(text_config={**sizes, "vocab_size": 600}, vision_config=vision)
    model = miniatures.enlarge(transformers.SiglipModel(config))
    model.save_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    def encode(sentences):
        ids = tokenizer(sentences, padding="max_length", max_length=64, return_tensors="pt").input_ids
        features = model.get_text_features(input_ids=ids)
        return getattr(features, "pooler_output", features)

    return encode


@torch.no_grad()
@pytest.mark.parametrize("position", SENTENCES)
def test_prompts_of_words_have_the_features_of_their_sentences(pair, position):
    clip, encode = pair
    context = Context(1, clip, words=WORDS, position=position)
    template = PromptTemplate(CLASSES, context.n_context, clip, position, words=WORDS)
    group = torch.zeros(len(CLASSES), dtype=torch.long)
    ours = text_encoder(clip.text, 2048)(*template(context(), group), group)
    sentences = [SENTENCES[position].format(name.replace("_", " ")) for name in CLASSES]
    expected = encode(sentences)
    assert relative(ours, expected) < 1e-5 and relative(clip.encode_text(sentences), expected) < 1e-5
    assert len(set(map(tuple, expected.round(decimals=3).tolist()))) == len(CLASSES)


@torch.no_grad()
def test_hand_made_sentences_have_the_librarys_features(pair):
    clip, encode = pair
    sentences = ["itap of a rose.", "a photo of the large St. Bernard.", "rose"]
    ours = encode_sentences(PromptTemplate(sentences, 0, clip, stop=""), text_encoder(clip.text, 2048))
    assert relative(ours, encode(sentences)) < 1e-5


# Methods with words: their templates, and the words of each.
OPTIONS = {
    "CoOp": ("CTX_INIT", WORDS, "CLASS_TOKEN_POSITION", "front"),
    "KgCoOp": (),
    "ProGrad": (),
    "CoCoOp": (),
    "PLOT": ("CTX_INIT", WORDS, "CLASS_TOKEN_POSITION", "middle"),
    "MaPLe": (),
    "PromptSRC": ("CTX_INIT", "a photo of the kind of a", "N_CTX_TEXT", 4),
    "SoftCPT": ("VARIANT", "CATA", "TASK_CTX_INIT", "the kind", "CLASS_CTX_INIT", WORDS),
}


@pytest.fixture(scope="module")
def causal(tmp_path_factory):
    """A causal CLIP with such a tokenizer, which all methods run on."""
    base = tmp_path_factory.getbasetemp()
    folder = shutil.copytree(
        small_tokenizers.save("gemma", base / "tokenizers"), tmp_path_factory.mktemp("c") / "model"
    )
    text = {**miniatures.TEXT, "vocab_size": 600, "hf_tokenizer_name": "here", "pool_type": "eos", "eos_id": 1}
    cfg = {"embed_dim": 64, "vision_cfg": miniatures.VISION, "text_cfg": text, "custom_text": True}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": cfg, "preprocess_cfg": {}}))
    with torch.no_grad():
        model = miniatures.enlarge(open_clip.create_model(f"local-dir:{folder}", load_weights=False))
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return folder, open_clip.get_tokenizer(f"local-dir:{folder}")


@torch.no_grad()
@pytest.mark.parametrize("method", OPTIONS)
def test_every_method_has_the_tokens_of_sentences(method, causal, toy_root, tmp_path):
    folder, tokenize = causal
    trainer = build(toy_root, tmp_path, method, *OPTIONS[method], opts=("MODEL.BACKBONE.NAME", str(folder)))
    weight, prompts = trainer.clip.text.token_embedding.weight, trainer.learned

    def check(template, context, names, pattern):
        group = torch.zeros(len(names), dtype=torch.long)
        prefix, suffix, lengths = template(context.reshape(-1, *context.shape[-2:])[:1], group)
        for r, name in enumerate(names):
            ids = tokenize([pattern.format(name)])[0]
            ids = ids[: (ids == 1).int().argmax() + 1]
            found = torch.cat([prefix[0], suffix[r, : lengths[r]]])
            n_zeros = len(found) - len(ids)  # of ProGrad
            assert torch.equal(found[n_zeros:], weight[ids]) and not found[:n_zeros].any()

    if method == "SoftCPT":
        tasks = [task.name for task in trainer.tasks]
        check(prompts.task_template, prompts.task_context(), tasks, "the kind {}.")
        check(prompts.class_template, prompts.class_context(), CLASSNAMES, SENTENCES["end"])
        return
    pattern = {"CoOp": SENTENCES["front"], "PLOT": SENTENCES["middle"], "PromptSRC": "a photo of the kind of a {}."}
    check(trainer.template, prompts.ctx, CLASSNAMES, pattern.get(method, SENTENCES["end"]))
