"""Libraries' tokenizers: the rows that the models read, equal to the library's own or refused."""

import json
import shutil

import huggingface_hub
import miniatures
import open_clip
import pytest
import small_tokenizers
import torch
import transformers
from odd_names import NAMES

from softcpt.backbones import load_clip, open_clip_models, transformers_tokenizers
from softcpt.backbones.tokenizers import clip_tokenizer, of_library

LENGTH = 64
# (sos, eos, pad) of each kind.
AROUND = {
    **dict.fromkeys(("gemma", "siglip2", "prefixed", "merged", "mt5"), ([], [1], 0)),
    "siglip": ([], [1], 1),
    **dict.fromkeys(("xlmr", "roberta"), ([0], [2], 1)),
    "bert": ([2], [3], 0),
}


@pytest.fixture
def folders(tmp_path_factory):
    return tmp_path_factory.getbasetemp() / "tokenizers"


def rows_of(tokenizer, texts):
    return tokenizer(texts, padding="max_length", max_length=LENGTH, return_tensors="pt").input_ids


@pytest.mark.parametrize("kind", small_tokenizers.KINDS)
def test_rows_and_their_masks_equal_the_librarys(kind, folders):
    folder = str(small_tokenizers.save(kind, folders))
    ours, own = (
        transformers_tokenizers.load_tokenizer(folder, LENGTH),
        transformers.AutoTokenizer.from_pretrained(folder),
    )
    assert (ours.sos, ours.eos, ours.pad) == AROUND[kind] and not ours.by_word
    texts = [name for name in NAMES if len(own(name).input_ids) <= LENGTH]
    assert len(texts) > 180 and torch.equal(ours(texts, LENGTH), rows_of(own, texts))
    lengths = [len([*ours.sos, *ours.encode(text), *ours.eos]) for text in texts]
    marked = own(texts, padding="max_length", max_length=LENGTH, return_tensors="pt").attention_mask
    assert marked.sum(1).tolist() == lengths


@pytest.mark.parametrize("clean", ["whitespace", "lower", "canonicalize"])
@pytest.mark.parametrize("kind", ["gemma", "bert", "roberta", "xlmr", "siglip"])
def test_rows_equal_open_clips(kind, clean, folders):
    ours, own = wrapped(small_tokenizers.save(kind, folders), clean=clean)
    texts = [name for name in NAMES if len(own.tokenizer(own.clean_fn(name)).input_ids) <= LENGTH]
    assert (ours.sos, ours.eos, ours.pad) == AROUND[kind]
    assert len(texts) > 180 and torch.equal(ours(texts, LENGTH), own(texts))


def wrapped(folder, **options):
    """Our tokenizer and open_clip's own, of a folder."""
    own = open_clip.tokenizer.HFTokenizer(str(folder), LENGTH, **options)
    return of_library(own.tokenizer, own.clean_fn, lambda text: own([text])[0].tolist(), "X"), own


def test_separator_that_becomes_padding_keeps_its_place(folders):
    ours, own = wrapped(small_tokenizers.save("bert", folders), strip_sep_token=True)  # as CLIPA's
    assert (ours.sos, ours.eos, ours.pad) == ([2], [0], 0)
    texts = ["rose", "the dog and the cat"]
    assert torch.equal(ours(texts, LENGTH), own(texts)) and not (own(texts) == 3).any()


def test_limits_in_a_tokenizers_files_are_the_librarys(tmp_path):
    """Neither its own truncation nor its own length shortens a text: the context's length does, with an error."""
    own = small_tokenizers.make("bert", model_max_length=5)
    own.backend_tokenizer.enable_truncation(4)
    own.save_pretrained(tmp_path)
    ours, own = (
        transformers_tokenizers.load_tokenizer(str(tmp_path), 16),
        transformers.AutoTokenizer.from_pretrained(tmp_path),
    )
    text = "the cat and the dog and the rose"
    assert len(ours.encode(text)) == 8
    assert ours([text], 16).tolist() == own([text], padding="max_length", max_length=16).input_ids
    with pytest.raises(ValueError, match="'the cat .*' has 18 tokens, more than the 16 of this CLIP"):
        ours([f"{text} {text}"], 16)


def left(kind):
    return small_tokenizers.make(kind, padding_side="left")


def without_padding():
    tokenizer = small_tokenizers.make("roberta")
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)


FOREIGN = {
    "padding on the left": lambda: left("gemma"),
    "padding on the left, [SOS]": lambda: left("bert"),
    "two tokens behind": lambda: small_tokenizers.template(small_tokenizers.make("roberta"), "<s> $A </s> </s>"),
    "two tokens before": lambda: small_tokenizers.template(small_tokenizers.make("bert"), "[CLS] [CLS] $A [SEP]"),
    "no padding token": without_padding,
}


@pytest.mark.parametrize("length", [4, 8, LENGTH])
@pytest.mark.parametrize("kind", FOREIGN)
def test_rows_of_another_form_are_refused(kind, length):
    tokenizer = FOREIGN[kind]()

    def row(text):
        return tokenizer(text, padding="max_length", truncation=True, max_length=length).input_ids

    with pytest.raises(ValueError, match=r"which is not \[SOS\] dog \[EOS\] \[PAD\]|padding token"):
        of_library(tokenizer, str, row, "X")


def test_rows_that_only_look_alike_for_one_word_are_refused(folders):
    tokenizer = transformers.AutoTokenizer.from_pretrained(small_tokenizers.save("roberta", folders))
    spaced = lambda text: text if text == "dog" else f" {text}"  # noqa: E731
    row = lambda text: rows_of(tokenizer, [spaced(text)])[0].tolist()  # noqa: E731
    with pytest.raises(ValueError, match=r"the tokenizer X makes \[0, .* of 'a photo of a dog.', not \[0, "):
        of_library(tokenizer, str, row, "X")


@pytest.mark.parametrize("pad, eos", [("<pad>", []), ("</s>", [2])])
def test_tokenizer_without_eos(pad, eos):
    """If it pads with [EOS], a model that reads the first one reads the same as with [EOS]."""
    tokenizer = small_tokenizers.template(small_tokenizers.make("roberta", pad_token=pad), "<s> $A")
    ours = of_library(tokenizer, str, lambda text: rows_of(tokenizer, [text])[0].tolist(), "X")
    assert (ours.sos, ours.eos, ours.pad) == ([0], eos, tokenizer.pad_token_id)
    assert torch.equal(ours(["rose"], LENGTH), rows_of(tokenizer, ["rose"]))


@pytest.mark.parametrize(
    "kind, name", [("bert", "a [SEP] b"), ("gemma", "<eos>"), ("xlmr", "x <pad>"), ("siglip", "</s>")]
)
def test_marks_inside_a_text_are_refused(kind, name, folders):
    ours = transformers_tokenizers.load_tokenizer(str(small_tokenizers.save(kind, folders)), LENGTH)
    with pytest.raises(ValueError, match=r"has the token \S+ inside, which marks the ends of a text"):
        ours([name], LENGTH)


def test_tokens_beyond_the_embedding_are_refused():
    tokenizer = clip_tokenizer(False)
    assert tokenizer.within(49408).encode("a rose") == tokenizer.encode("a rose")
    with pytest.raises(ValueError, match="puts the token 49406 around texts, and the CLIP takes those below 300"):
        tokenizer.within(300)


# -- whole models ------------------------------------------------------------------------------------------------------


@pytest.fixture
def bert_clip(tmp_path, folders):
    """A function of text_cfg's options: a folder of open_clip's with BERT's tokenizer, and the library's own model."""

    def make(**options):
        folder = shutil.copytree(small_tokenizers.save("bert", folders), tmp_path / "model")
        text = {**miniatures.TEXT, "vocab_size": 250, "hf_tokenizer_name": "here", **options}
        cfg = {"embed_dim": 64, "vision_cfg": miniatures.VISION, "text_cfg": text, "custom_text": True}
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": cfg, "preprocess_cfg": {}}))
        with torch.no_grad():
            model = miniatures.enlarge(open_clip.create_model(f"local-dir:{folder}", load_weights=False))
        torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
        return folder, model

    return make


@pytest.mark.parametrize("options", [{"pool_type": "eos", "eos_id": 3}, {"pool_type": "last"}])
def test_berts_tokenizer_in_a_text_tower_of_open_clip(options, bert_clip):
    folder, model = bert_clip(**options)
    rows = open_clip.get_tokenizer(f"local-dir:{folder}")(["a photo of a rose.", "the cat"])
    with torch.no_grad():
        ours = load_clip(str(folder)).encode_text(["a photo of a rose.", "the cat"])
        torch.testing.assert_close(ours, model.encode_text(rows), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"pool_type": "eos", "eos_id": 2}, r"ends a text with \[3\], and the model reads its feature at the token 2"),
        ({"pool_type": "eos"}, r"ends a text with \[3\], and the model reads its feature at the token 2"),
        ({}, r"ends a text with \[3\], and the model reads its feature at the token 199"),
        ({"pool_type": "last", "vocab_size": 150}, "the CLIP takes those below 150"),
        ({"pool_type": "last", "vocab_size": 3}, "puts the token 3 around texts, and the CLIP takes those below 3"),
        ({"pool_type": "first"}, "reads its text features at the first token, .* equal for all texts"),
    ],
)
def test_text_that_the_model_reads_elsewhere_is_refused(options, message, bert_clip):
    folder, _ = bert_clip(**options)
    with pytest.raises(ValueError, match=f"MODEL.BACKBONE.NAME: .*{message}"):
        load_clip(str(folder)).tokenizer(["the cat and a C++ photo"], 77)


def test_full_mask_may_be_read_at_the_first_token(bert_clip):
    folder, model = bert_clip(pool_type="first", no_causal_mask=True)
    rows = open_clip.get_tokenizer(f"local-dir:{folder}")(["a rose", "the cat"])
    with torch.no_grad():
        ours = load_clip(str(folder)).encode_text(["a rose", "the cat"])
        torch.testing.assert_close(ours, model.encode_text(rows), rtol=1e-4, atol=1e-5)


# -- huggingface_hub's cache -------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A function of a repository and a folder: its files, in a cache of huggingface_hub of the test's own."""
    root = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for module in (huggingface_hub.constants, huggingface_hub.file_download):
        monkeypatch.setattr(module, "HF_HUB_CACHE", str(root), raising=False)

    def put(repo, folder):
        place = root / f"models--{repo.replace('/', '--')}"
        (place / "refs").mkdir(parents=True)
        (place / "refs" / "main").write_text("0" * 40)
        return shutil.copytree(folder, place / "snapshots" / ("0" * 40))

    put.root = root
    return put


def set_text(folder, **options):
    """Change options of the text tower in a folder's config."""
    path = folder / "open_clip_config.json"
    content = json.loads(path.read_text())
    content["model_cfg"]["text_cfg"].update(options)
    path.write_text(json.dumps(content))


def test_model_of_the_hub_has_the_tokenizer_that_its_config_names(copied, cache, folders):
    folder = copied("open_clip-siglip")
    set_text(folder, vocab_size=500, hf_tokenizer_name="other/words")
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    (folder / "open_clip_model.safetensors").unlink()
    cache("someone/mini", folder)
    with pytest.raises(FileNotFoundError, match="tokenizer of .* is not on this machine.*hf download other/words"):
        load_clip("hf-hub:someone/mini")
    (cache("other/words", small_tokenizers.save("gemma", folders)) / "config.json").write_text("{}")
    own = open_clip.get_tokenizer("hf-hub:someone/mini", cache_dir=str(cache.root))
    texts = ["a photo of a Rose!", "the cat"]
    for name in ("hf-hub:someone/mini", "open_clip:hf-hub:someone/mini"):
        assert torch.equal(load_clip(name).tokenizer(texts, 64), own(texts))
    beside = load_clip(str(folder)).tokenizer(texts, 64)
    assert torch.equal(beside, open_clip.get_tokenizer(f"local-dir:{folder}")(texts)) and not torch.equal(
        beside, own(texts)
    )


@pytest.mark.parametrize("name", ["../words", "/words", "a/b/c"])
def test_tokenizer_is_no_path(name, copied, cache):
    folder = copied("open_clip-siglip")
    set_text(folder, hf_tokenizer_name=name)
    cache("someone/mini", folder)
    with pytest.raises(FileNotFoundError, match="Repo id must"):
        load_clip("hf-hub:someone/mini")


def test_model_of_the_hub_without_a_named_tokenizer_has_clips(copied, cache):
    cache("someone/mini", copied("open_clip-vit"))
    own = open_clip.get_tokenizer("hf-hub:someone/mini", cache_dir=str(cache.root))
    assert open_clip_models.load_tokenizer(
        f"local-dir:{cache.root}/models--someone--mini/snapshots/{'0' * 40}", 77, True
    )
    assert torch.equal(load_clip("hf-hub:someone/mini").tokenizer(NAMES[:50], 77), own(NAMES[:50]))
