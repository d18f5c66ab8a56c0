"""TorchScript archives are read as data: their tensors are PyTorch's, and no code of theirs runs."""

import pickle
import pickletools
import zipfile

import plain
import pytest
import torch
from clip import clip
from fuzz.hostile import CASES, SEED, damaged, limited
from hypothesis import HealthCheck, given, seed, settings
from torch import nn

from softcpt.backbones import load_clip, openai
from softcpt.backbones.torchscript import Archive, is_archive
from softcpt.backbones.weights import read_state_dict, sha256_of


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.arange(6.0).view(2, 3).T)  # strides that are not those of a new tensor
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("empty", torch.zeros(0, 2).half())
        self.words, self.note = ["a", "b"], torch.ones(2)  # neither parameter nor buffer

    def forward(self, x):
        return torch.sigmoid(x) * self.weight.sum() + self.note.sum()


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers, self.again = nn.Sequential(Inner(), nn.Linear(2, 2).double()), nn.Identity()
        self.tied = self.layers[0].weight
        self.register_buffer("kept", torch.tensor([1, 2], dtype=torch.uint8))

    def forward(self, x):
        return self.layers[0](x)


@pytest.fixture
def archive(tmp_path):
    torch.jit.save(torch.jit.script(Outer()), tmp_path / "x.pt")
    return tmp_path / "x.pt"


def rewritten(path, change):
    """The archive with other contents of its entries, and right checksums."""
    with zipfile.ZipFile(path) as file:
        entries = {info.filename: file.read(info) for info in file.infolist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries.items():
            file.writestr(name, change(name.split("/", 1)[1], content))
    return path


def test_tensors_are_those_that_pytorch_reads(archive):
    found, expected = read_state_dict(archive), torch.jit.load(archive).state_dict()
    assert found.keys() == expected.keys() and "layers.0.note" not in found
    for name, value in expected.items():
        assert found[name].dtype == value.dtype and torch.equal(found[name], value), name
    assert "sigmoid" in Archive(archive).code_of("layers.0") and "sigmoid" not in Archive(archive).code_of("again")


def test_traced_clip_is_read_as_pytorch_reads_it(tmp_path):
    example = torch.zeros(1, 3, 32, 32), clip.tokenize("a")
    torch.jit.save(torch.jit.trace(plain.reference(), example, check_trace=False), tmp_path / "clip.pt")
    found, expected = read_state_dict(tmp_path / "clip.pt"), torch.jit.load(tmp_path / "clip.pt").state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_published_file_is_loaded_by_pytorch_and_any_other_as_data(tmp_path, monkeypatch):
    example = torch.zeros(1, 3, 32, 32), clip.tokenize("a")
    path = tmp_path / "clip.pt"
    torch.jit.save(torch.jit.trace(plain.reference(), example, check_trace=False), path)
    own, loaded = torch.jit.load, []
    monkeypatch.setattr(torch.jit, "load", lambda *args, **options: loaded.append(args) or own(*args, **options))
    read = load_clip(str(path))
    assert not loaded
    monkeypatch.setitem(openai.PUBLISHED, sha256_of(path), "ViT-B/32")
    published = load_clip(str(path))
    assert loaded == [(str(path),)] and published.config == read.config
    assert all(torch.equal(value, published.state_dict()[name]) for name, value in read.state_dict().items())


class Running(nn.Module):
    """Its code runs when PyTorch loads it."""

    def __init__(self):
        super().__init__()
        self.weight, self.training = nn.Parameter(torch.ones(2)), False

    @torch.jit.export
    def __getstate__(self):
        return (self.weight, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        self.weight, self.training = state[0], state[1]
        print("code of the file runs")

    def forward(self, x):
        return self.weight + x


def test_archive_runs_no_code(tmp_path, capfd):
    torch.jit.save(torch.jit.script(Running()), tmp_path / "x.pt")
    torch.jit.load(tmp_path / "x.pt")
    assert "code of the file runs" in capfd.readouterr().out  # so the archive is a harmful one
    for read in (read_state_dict, lambda path: load_clip(str(path))):
        with pytest.raises(ValueError, match="no plain module: it would have to run code to load"):
            read(tmp_path / "x.pt")
    assert "code of the file runs" not in capfd.readouterr().out


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickle_calls_nothing(archive, protocol):
    class Program:
        def __reduce__(self):
            return print, ("run",)

    rewritten(archive, lambda name, old: pickle.dumps(Program(), protocol) if name == "data.pkl" else old)
    with pytest.raises(ValueError, match="it calls .*print|its pickle has the operation"):
        read_state_dict(archive)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("data.pkl", b"", "pickle"),
        ("data.pkl", b"\x80\x02.", "pickle is damaged"),
        ("data.pkl", b"\x80\x02]q\x00h\x00a.", "list in it is no plain module"),
        ("data/0", b"abc", "does not hold the"),
        ("constants.pkl", b"", ""),  # not read
    ],
)
def test_damaged_archive_is_one_error(archive, name, content, message):
    rewritten(archive, lambda own, old: content if own == name else old)
    assert is_archive(archive)
    if not message:
        assert read_state_dict(archive)
        return
    with pytest.raises(ValueError, match=message):
        read_state_dict(archive)


def test_modules_that_contain_themselves_end(archive):
    def loop(name, content):
        if name != "data.pkl":
            return content
        kind = next(value for op, value, _ in pickletools.genops(content) if op.name == "GLOBAL").replace(" ", "\n")
        # A module with the attributes a and b, which are itself.
        return b"\x80\x02c" + kind.encode() + b"\n)\x81q\x00}(X\x01\0\0\0ah\x00X\x01\0\0\0bh\x00ub."

    rewritten(archive, loop)
    with pytest.raises(ValueError, match="in each other"):
        read_state_dict(archive)


@pytest.mark.parametrize("cases", [200, pytest.param(CASES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("ending", ["data.pkl", ".py"])
def test_hostile_entry_is_read_or_one_error(ending, cases, archive, tmp_path):
    """With right checksums. What is read are tensors that the file holds."""
    with zipfile.ZipFile(archive) as file:
        name = next(name for name in file.namelist() if name.endswith(ending))
        valid, name = file.read(name), name.split("/", 1)[1]
    size, read = archive.stat().st_size, []

    @seed(SEED)
    @settings(max_examples=cases, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(damaged(valid))
    def case(content):
        path = rewritten(archive, lambda own, old: content if own == name else old)
        try:
            with limited():
                found = read_state_dict(path)
        except ValueError:
            return
        assert all(isinstance(value, torch.Tensor) and value.nbytes <= size for value in found.values())
        read.append(len(found))

    case()
    assert 0 < len(read) < cases
