"""Text towers of transformers in folders of open_clip: where configs come from, what is refused, shared copies."""

import json
import socket

import huggingface_hub
import pytest
import torch
import transformers_texts
from methods import relative

from softcpt.backbones import load, load_clip
from softcpt.backbones.transformers_text_configs import KEYS


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))


@pytest.mark.parametrize("family", ["open_clip-bert", "open_clip-xlm-roberta", "open_clip-mt5"])
def test_shared_copy_holds_the_tower(family, miniature, tmp_path, monkeypatch, no_network):
    monkeypatch.setattr(load, "SHARED_FROM", 0)
    name, sentences = miniature(family).name, ["a dog.", "a banded rose"]
    expected = load_clip(name).encode_text(sentences)
    for half in (None, torch.bfloat16):
        first = load_clip(name, half, tmp_path)
        monkeypatch.setattr(load, "_read", lambda *args: pytest.fail("the file of weights was read again"))
        again = load_clip(name, half, tmp_path)
        monkeypatch.undo()
        monkeypatch.setattr(load, "SHARED_FROM", 0)
        with torch.autocast("cpu", torch.bfloat16, enabled=half is not None):
            assert torch.equal(first.encode_text(sentences), again.encode_text(sentences))
            assert relative(again.encode_text(sentences).float(), expected) < (1e-6 if half is None else 0.05)
        assert again.text.token_embedding.weight.dtype == torch.float32
        linear = next(module for module in again.text.modules() if isinstance(module, torch.nn.Linear))
        assert linear.weight.dtype == (half or torch.float32)


def without_config(copied, monkeypatch, kind="bert"):
    """(a folder without config.json, its content)."""
    folder = copied(f"open_clip-{kind}")
    content = (folder / "config.json").read_text()
    (folder / "config.json").unlink()
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    return folder, content


def test_missing_config_is_one_line_with_the_command(copied, monkeypatch, no_network):
    folder, _ = without_config(copied, monkeypatch)
    with pytest.raises(
        FileNotFoundError, match=r"MODEL.BACKBONE.NAME.*data.py weights NAME.*hf download mini/bert "
    ) as error:
        load_clip(str(folder))
    assert "\n" not in str(error.value)


def test_config_is_read_from_the_cache_of_the_hub(copied, monkeypatch, tmp_path, no_network):
    folder, content = without_config(copied, monkeypatch)
    (tmp_path / "cached.json").write_text(content)
    monkeypatch.setattr(
        huggingface_hub,
        "try_to_load_from_cache",
        lambda repo, file: str(tmp_path / "cached.json") if (repo, file) == ("mini/bert", "config.json") else None,
    )
    assert load_clip(str(folder)).config.text.options["hidden_size"] == 64


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model_type": "gpt2"}, "config.json is of a 'gpt2', not one of bert, roberta"),
        ({"model_type": []}, r"config.json is of a \[\]"),
        ({"is_decoder": True}, "is_decoder is True, not False"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key', not 'absolute'"),
        ({"hidden_size": 10**9}, "hidden_size is 1000000000, which is not legal"),
        ({"num_hidden_layers": 1001}, "num_hidden_layers is 1001, which is not legal"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps is nan"),
        ({"hidden_act": "../x"}, "hidden_act is '../x'"),
        ({"num_attention_heads": 5}, "open_clip cannot build"),
        ({"num_hidden_layers": 3}, "does not hold the weights of .*Missing key"),
        ({"max_position_embeddings": 40}, "context_length is 48, but its text tower has 40 positions"),
    ],
)
def test_config_that_does_not_fit_is_refused(changes, message, copied, no_network):
    folder = copied("open_clip-bert")
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ValueError, match=f"MODEL.BACKBONE.NAME: .*{message}"):
        load_clip(str(folder))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"hf_pooler_type": "max_pooler"}, "hf_pooler_type is 'max_pooler', not one of"),
        ({"hf_proj_type": ""}, "hf_proj_type is '', not one of"),
        ({"hf_pooler_type": "cls_pooler"}, "does not hold the weights of .*Missing key"),
        ({"context_length": None}, "context_length is None, not a number of tokens"),
        ({"context_length": [1, 2]}, r"context_length is \[1, 2\], not a number of tokens"),
        ({"hf_model_name": 5}, "hf_model_name 5 is no name of a repository"),
        ({"context_length": 500}, "context_length is 500, but its text tower has 80 positions"),
    ],
)
def test_options_that_open_clip_cannot_use_are_refused(changes, message, copied):
    folder = copied("open_clip-bert")
    path = folder / "open_clip_config.json"
    content = json.loads(path.read_text())
    content["model_cfg"]["text_cfg"].update(changes)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"MODEL.BACKBONE.NAME: .*{message}"):
        load_clip(str(folder))


def test_tower_of_another_vocabulary_than_the_tokenizer_is_refused(copied):
    """Without its name, open_clip takes CLIP's tokenizer."""
    folder = copied("open_clip-bert")
    path = folder / "open_clip_config.json"
    content = json.loads(path.read_text())
    del content["model_cfg"]["text_cfg"]["hf_tokenizer_name"]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="puts the token 49406 around texts, and the CLIP takes those below"):
        load_clip(str(folder))


def test_no_code_beside_a_text_tower_runs(copied, no_network):
    folder = copied("open_clip-bert")
    (folder / "evil.py").write_text(f"open({str(folder / 'run')!r}, 'w')\nfrom transformers import BertModel as Evil\n")
    path = folder / "config.json"
    code = {"auto_map": {"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"}, "trust_remote_code": True}
    path.write_text(json.dumps({**json.loads(path.read_text()), **code}))
    assert load_clip(str(folder)) and not (folder / "run").exists()


def test_tower_needs_transformers(miniature, without_package):
    name = miniature("open_clip-bert").name
    without_package("transformers")
    with pytest.raises(ValueError, match="text tower of transformers .*pip install -r requirements-transformers.txt"):
        load_clip(name)


def test_every_kind_that_the_tests_make_is_known():
    assert set(KEYS) == set(transformers_texts.CONFIGS)
