"""A name's tokens are those that it has in the sentence of its prompt, whatever tokenizer the CLIP has."""

from types import SimpleNamespace

import open_clip
import plain
import pytest
import small_tokenizers
import torch
import transformers
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from odd_names import NAMES
from torch import nn

from softcpt.backbones import transformers_tokenizers
from softcpt.backbones.tokenizers import clip_tokenizer, of_library
from softcpt.prompts.deep import context_of_words
from softcpt.prompts.learned import Context, PromptTemplate, check_words
from trainers.coop import CoOp

WORDS = "a photo of a"
LENGTH = 512
# transformers' tokenizers as they are, and with the cleaning that open_clip puts before them.
CLEANED = {"gemma": "canonicalize", "siglip": "canonicalize", "bert": "lower", "roberta": "whitespace"}
KINDS = [*small_tokenizers.KINDS, *(f"{kind}, {clean}" for kind, clean in CLEANED.items()), "clip", "clip-transformers"]
POSITIONS = ("end", "middle", "front")
names = st.one_of(
    st.sampled_from(NAMES),
    st.text(st.sampled_from("aBc9 0.,:;!?-'’_()/&+é寿🙂ßΣİ"), min_size=1, max_size=8),
    st.text(min_size=1, max_size=6),
    st.lists(st.sampled_from(["rose", "Dog", "12", "etc.", "C++", "ox-eye", "of", "(a)", "▁", "##s"]), min_size=1).map(
        " ".join
    ),
).filter(lambda name: name.replace("_", " ").strip())


class Reader:
    """A tokenizer of ours, and the library's own."""

    def __init__(self, kind, folder):
        kind, _, clean = kind.partition(", ")
        self.clean = str
        if kind.startswith("clip"):
            self.ours = clip_tokenizer(kind == "clip-transformers")
            self.library = lambda text: [*self.ours.sos, *self.ours.encode(text), *self.ours.eos]
            return
        path = small_tokenizers.save(kind, folder)
        own = transformers.AutoTokenizer.from_pretrained(path)
        self.ours = transformers_tokenizers.load_tokenizer(str(path), LENGTH)
        self.library = lambda text: own(text).input_ids
        if clean:
            wrapped = open_clip.tokenizer.HFTokenizer(str(path), LENGTH, clean=clean)
            whole = lambda text: wrapped([text])[0].tolist()  # noqa: E731
            self.ours = of_library(wrapped.tokenizer, wrapped.clean_fn, whole, kind)
            self.clean, self.library = wrapped.clean_fn, lambda text: own(wrapped.clean_fn(text)).input_ids


@pytest.fixture(scope="module", params=KINDS)
def reader(request, tmp_path_factory):
    return Reader(request.param, tmp_path_factory.getbasetemp() / "tokenizers")


def model_of(tokenizer, rows=50_000):
    """What a template needs of a CLIP; the embedding of a token is its id."""
    embedding = nn.Embedding(rows, 1, _weight=torch.arange(float(rows)).unsqueeze(1))
    text = SimpleNamespace(context_length=LENGTH, token_embedding=embedding, padded=False, pooling="eos", width=1)
    return SimpleNamespace(tokenizer=tokenizer, text=text)


def prompt(tokenizer, name, words, position, n_context=None):
    """The ids of a prompt that starts with words, as its template puts them together."""
    model = model_of(tokenizer)
    pad = n_context is not None
    context = Context(n_context or 1, model, words=words, pad=pad, position=position)
    template = PromptTemplate([name], context.n_context, model, position, words=words)
    return put_together(template, context())


def put_together(template, context):
    prefix, suffix, lengths = template(context, torch.zeros(1, dtype=torch.long))
    return torch.cat([prefix[0], suffix[0, : lengths[0]]]).squeeze(1).round().long().tolist()


def sentence(name, position, words=WORDS):
    name, words = name.replace("_", " ").strip(), words.split(" ")
    before = {"end": len(words), "middle": len(words) // 2, "front": 0}[position]
    return " ".join([*words[:before], name, *words[before:]]) + "."


def kept(reader, name, position):
    """Whether the library's cleaning keeps a name, and leaves the words beside it as they are: ftfy reads "ßÄ " as one
    letter."""
    words, left = WORDS.split(" "), reader.clean(sentence(name, position)).rstrip(".").split(" ")
    n = {"end": 4, "middle": 2, "front": 0}[position]
    return reader.clean(name) and left[:n] == words[:n] and left[len(left) - 4 + n :] == words[n:]


def as_in_coop(ours, name, position):
    """Whether CLIP's own tokenizer joins the stop to a name that other words follow in the prompt, or reads letters or
    signs by what is beside the name."""
    name = name.replace("_", " ").strip()
    joined = ours.encode(f"{name}.") != ours.encode(name) + ours.encode(".")
    return position != "end" and ours.by_word and (joined or not name.isascii() or not name.isprintable())


@pytest.mark.parametrize("position", POSITIONS)
@settings(max_examples=20, deadline=None, derandomize=True)
@given(name=names)
def test_tokens_of_a_prompt_are_those_of_its_sentence(reader, position, name):
    assume(kept(reader, name, position) and not as_in_coop(reader.ours, name, position))
    assert prompt(reader.ours, name, WORDS, position) == reader.library(sentence(name, position))


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("cleaned_as_transformers", [False, True])
def test_tokens_of_clips_own_tokenizer_are_those_of_coop(cleaned_as_transformers, position):
    ours = clip_tokenizer(cleaned_as_transformers)
    embedding = nn.Embedding(49408, 1, _weight=torch.arange(49408.0).unsqueeze(1))
    context = Context(1, model_of(ours), words=WORDS, position=position)
    for name in NAMES:
        template = PromptTemplate([name], 4, model_of(ours), position, words=WORDS)
        name = name.replace("_", " ").strip()
        stopped, n = ours.encode(f"{name}."), len(ours.encode(name))
        words, before = ours.encode(WORDS), {"end": 4, "middle": 2, "front": 0}[position]
        row = [*words[:before], *stopped[:n], *words[before:], *stopped[n:]]
        assert put_together(template, context()) == [*ours.sos, *row, *ours.eos]
        if not cleaned_as_transformers:
            expected, end = plain.prompt(SimpleNamespace(token_embedding=embedding), name, context()[0], position)
            assert put_together(template, context()) == expected[: end + 1].squeeze(1).long().tolist()


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("name", ["rose", "Ox-eye daisy", "707-320", "etc.", "dog"])
def test_name_beside_a_context_without_words_is_as_beside_a_word(reader, position, name):
    model, ids = model_of(reader.ours), torch.full((1, 4, 1), 9.0)
    template = PromptTemplate([name], 4, model, position)
    before, after = {"end": ("a ", ""), "middle": ("a ", " a"), "front": ("", " a")}[position]
    if as_in_coop(reader.ours, name, position):
        return
    expected, at = reader.library(f"{before}{name}{after}."), len(reader.ours.sos)
    n_stop = len(reader.library("rose a.")) - len(reader.library("rose a"))
    if after:
        end = len(expected) - len(reader.ours.eos) - n_stop
        expected[end - 1 : end] = [9] * (2 if before else 4)
    if before:
        expected[at : at + 1] = [9] * (2 if after else 4)
    assert put_together(template, ids) == expected


@pytest.mark.parametrize("name", ["rose", "St. Bernard", "", "etc."])
def test_hand_made_sentence_is_tokenised_as_a_whole(reader, name):
    text = f"itap of a {name} (in the garden)."
    template = PromptTemplate([text], 0, model_of(reader.ours), stop="")
    assert put_together(template, torch.zeros(1, 0, 1)) == reader.library(text)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_first_words_are_learned_and_the_others_fixed(reader, count):
    context, template = context_of_words(WORDS, count, ["Ox-eye daisy"], model_of(reader.ours), "KEY")
    assert context.n_context == count
    assert put_together(template, context()) == reader.library("a photo of a Ox-eye daisy.")


@pytest.mark.parametrize("position", POSITIONS)
def test_words_behind_zeros_are_as_in_the_sentence(reader, position):
    zeros = 9
    n_context = zeros + len(reader.ours.encode(WORDS))
    before = {"end": n_context, "middle": n_context // 2, "front": 0}[position]
    expected = reader.library("a photo of a rose." if position == "end" else "rose a photo of a.")
    if position == "middle":  # the first zeros stand for some word
        expected = reader.library("a rose a photo of a.")
        del expected[len(reader.ours.sos)]
    at = len(reader.ours.sos)
    expected[at:at] = [0] * min(before, zeros)
    behind = expected.index(reader.ours.split(["a", f" {WORDS}"])[1][0], at + before) if before < zeros else None
    if behind is not None:
        expected[behind:behind] = [0] * (zeros - before)
    assert prompt(reader.ours, "rose", WORDS, position, n_context) == expected


@pytest.mark.parametrize("position, n, other", [("end", 2, 1), ("middle", 2, 1), ("front", 1, 2)])
def test_words_are_counted_as_they_stand(position, n, other, tmp_path_factory):
    folder = small_tokenizers.save("gemma", tmp_path_factory.getbasetemp() / "tokenizers")
    model = model_of(
        transformers_tokenizers.load_tokenizer(str(folder), LENGTH)
    )  # "type" is t ype, behind a space ▁type
    options = {"N_CTX": n, "CTX_INIT": "type", "CLASS_TOKEN_POSITION": position}
    check_words(CoOp, options, model)
    with pytest.raises(ValueError, match=f"TRAINER.COOP.N_CTX: {other}, but the context is the {n} tokens"):
        check_words(CoOp, {**options, "N_CTX": other}, model)


def test_token_that_joins_the_stop_to_the_words_is_an_error(tmp_path_factory):
    folder = small_tokenizers.save("merged", tmp_path_factory.getbasetemp() / "tokenizers")
    model = model_of(transformers_tokenizers.load_tokenizer(str(folder), LENGTH))
    PromptTemplate(["rose"], 4, model, words=WORDS)
    with pytest.raises(ValueError, match="'a a photo of a rose.' reaches across the end of 'a a photo of a rose'"):
        PromptTemplate(["dog"], 5, model, "front", words="a photo of a rose")


def test_token_that_joins_a_name_to_the_words_is_an_error(tmp_path_factory):
    folder = small_tokenizers.save("crossing", tmp_path_factory.getbasetemp() / "tokenizers")
    model = model_of(transformers_tokenizers.load_tokenizer(str(folder), LENGTH))
    with pytest.raises(ValueError, match="'rose' has no tokens of its own in the prompt 'a photo of a rose.'"):
        PromptTemplate(["rose"], 4, model, words=WORDS)


def test_name_of_nothing_at_the_front_is_an_error(tmp_path_factory):
    reader = Reader("gemma, canonicalize", tmp_path_factory.getbasetemp() / "tokenizers")
    assert prompt(reader.ours, "?!", WORDS, "end") == reader.library(WORDS)
    with pytest.raises(ValueError, match="'\\?!' has no tokens of its own in the prompt '\\?! a photo of a.'"):
        prompt(reader.ours, "?!", WORDS, "front")
