"""The drawn benchmark, its captions and the tiny CLIP's checkpoint."""

import argparse
import json
import random

import numpy as np
import pytest
import torch
from clip.simple_tokenizer import SimpleTokenizer
from dassl.data.datasets import DATASET_REGISTRY
from PIL import Image

import datasets.demo as demo
from scripts.demo import render, scenes, surfaces, world
from scripts.demo.pretraining import captions, distil, pretrain, sampling, towers
from scripts.demo.pretraining.towers import Words, load

SIZES = {"train": 2, "val": 1, "test": 1}
CHECKPOINT, VIT = (render.Path(render.__file__).with_name(f"tiny_{name}.npz") for name in ("clip", "vit"))
CLASSES = [DATASET_REGISTRY.get(spec.dataset) for spec in demo.Demo.specs]


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "demo"
    render.render(out, seed=0, sizes=SIZES, workers=1)
    return out


def all_files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_task_has_a_data_set_and_split_file(benchmark):
    assert [cls.dataset_dir for cls in CLASSES] == [f"demo/{task}" for task in render.TASKS]
    for cls in CLASSES:
        assert (benchmark.parent / cls.dataset_dir / f"split_zhou_{cls.__name__}.json").is_file()


def test_splits_are_disjoint_and_complete(benchmark):
    for task, classes in render.TASKS.items():
        assert 5 <= len(classes) <= 12
        split = json.loads(render.split_file(benchmark, task).read_text())
        listed = [path for items in split.values() for path, _, _ in items]
        assert len(set(listed)) == len(listed) == sum(SIZES.values()) * len(classes)
        for part, size in SIZES.items():
            found = [(label, name) for _, label, name in split[part]]
            assert sorted(found) == sorted((i, name) for i, name in enumerate(classes) for _ in range(size))
        pictures = [benchmark / task / "images" / path for path in listed]
        assert len({path.read_bytes() for path in pictures}) == len(pictures)
        for path in pictures:
            with Image.open(path) as image:
                assert image.size == (64, 64) and image.mode == "RGB"


def test_seed_determines_the_files(benchmark, tmp_path):
    render.draw_class(tmp_path / "a", "sign", "red disc", 0, SIZES)
    render.draw_class(tmp_path / "b", "sign", "red disc", 1, SIZES)
    folder = benchmark / "sign" / "images" / "red disc"
    first, other = (all_files(tmp_path / name / "sign" / "images" / "red disc") for name in "ab")
    assert first == all_files(folder) and set(first.values()).isdisjoint(other.values())


def test_complete_benchmark_is_kept_and_damaged_task_redrawn(benchmark):
    before = all_files(benchmark)
    assert render.render(benchmark, seed=0, sizes=SIZES, workers=1) == []
    next((benchmark / "count" / "images").rglob("*.png")).unlink()
    render.split_file(benchmark, "sign").write_text("{")
    assert render.render(benchmark, seed=0, sizes=SIZES, workers=1) == ["count", "sign"]
    assert all_files(benchmark) == before


def test_handwriting_splits_share_no_scan():
    for scans in render.scanned_digits(0):
        assert len({scan.tobytes() for scan in scans}) == len(scans) >= sum(render.SPLITS.values())


@pytest.mark.parametrize("task", render.TASKS)
def test_class_fixes_only_its_attributes(task):
    rng = np.random.default_rng(0)
    fixed = list(render.TASKS[task].values())[1]
    drawn = [render.random_scene(task, fixed, rng) for _ in range(60)]
    assert all(getattr(scene, key) == value for scene in drawn for key, value in fixed.items())
    free = {"shape", "colour", "background"} - fixed.keys()
    assert all(len({getattr(scene, key) for scene in drawn}) > 3 for key in free)


def test_objects_of_a_scene_do_not_overlap():
    rng = np.random.default_rng(0)
    for count, (_, high) in scenes.RADIUS.items():
        places = np.array(scenes._places(count, high, rng))
        assert len(places) == count and places.min() > 0 and places.max() < world.SIZE
        gaps = [np.hypot(*(a - b)) for i, a in enumerate(places) for b in places[:i]]
        assert min(gaps, default=np.inf) > 1.3 * high


def test_unknown_shapes_and_textures_are_errors():
    with pytest.raises(KeyError, match="unknown shape 'blob'.*circle"):
        world.contours("blob")
    with pytest.raises(KeyError, match="unknown texture 'furry'.*striped"):
        surfaces.pattern("furry", np.random.default_rng(0), 6)


def test_every_class_is_a_caption_word():
    tables = {"shape": captions.SHAPE, "colour": captions.COLOUR, "texture": captions.TEXTURE}
    tables |= {"background": captions.BACKGROUND, "count": captions.COUNT, "digit": captions.DIGIT}
    for task in set(render.TASKS) - {"sign"}:
        for name, fixed in render.TASKS[task].items():
            ((attribute, value),) = fixed.items()
            assert name in tables[attribute][value].split("|")


def test_captions_hide_attributes_and_fit_the_context():
    rng, numbers = random.Random(0), np.random.default_rng(0)
    words, colours = Words(), {w for entry in captions.COLOUR.values() for w in entry.split("|")}
    for _ in range(2000):
        scene = sampling.random_scene(numbers)
        text = captions.caption(scene, rng, frozenset({"colour", "background"}), long=rng.random() < 0.5)
        assert colours.isdisjoint(text.rstrip(".").split()), text
        assert words.encode([text]).shape[1] <= 77


def test_short_text_encoder_matches_clip():
    words = Words()
    model, _ = load(CHECKPOINT)
    small = pretrain.CLIP(vocab_size=len(words.ids), **pretrain.ARCHITECTURE)
    state = model.state_dict() | {"token_embedding.weight": model.token_embedding.weight[words.ids]}
    small.load_state_dict(state)
    rows = words.encode(["a red star.", "the number of objects is three ; texture: striped"])
    ids = torch.zeros(2, 77, dtype=torch.long)
    ids[:, : rows.shape[1]] = torch.tensor(words.ids)[rows] * (rows > 0)
    with torch.no_grad():
        assert torch.allclose(towers.encode_text(small, rows), model.encode_text(ids), atol=1e-4)


def test_second_clip_differs_only_in_its_image_tower():
    (first, rows), (second, same_rows) = load(CHECKPOINT), load(VIT)
    text = {key: value for key, value in first.state_dict().items() if not key.startswith("visual.")}
    other = second.state_dict()
    assert rows == same_rows and all(torch.equal(value, other[key]) for key, value in text.items())
    assert hasattr(second.visual, "transformer") and not hasattr(first.visual, "transformer")


def test_short_image_encoder_matches_clip():
    model, _ = load(VIT)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(towers.encode_image(model.visual, images), model.visual(images), atol=1e-4)


def test_checkpoint_has_every_word_of_the_prompts():
    kept = set(np.load(CHECKPOINT)["token_ids"].tolist())
    tokenizer = SimpleTokenizer()
    texts = ["a photo of a .", "X X X X", "task", "recognition", "a drawing of a", captions.EXTRA]
    for cls in CLASSES:
        names = list(render.TASKS[cls.dataset_dir.split("/")[1]])
        texts += [cls.task_name + ".", *names, *(f"{name}." for name in names)]
        texts += [cls.template.format(name) for name in names]
    missing = {tokenizer.decode([i]) for text in texts for i in tokenizer.encode(text) if i not in kept}
    assert not missing


@pytest.mark.parametrize("path, script", [(CHECKPOINT, "pretrain"), (VIT, "distil")], ids=["clip", "vit"])
def test_checkpoint_says_how_it_was_made(path, script):
    meta = json.loads(str(np.load(path)["meta"]))
    assert meta["command"].startswith(f"python scripts/demo/{script}.py") and {"seed", "steps"} <= meta.keys()


@pytest.mark.parametrize("steps", [1, 2, 4, 50])
def test_pretraining_of_any_length_has_a_schedule(steps):
    optimiser, schedule = pretrain.make_optimiser([torch.nn.Linear(2, 2)], steps)
    rates = []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert all(0 < rate <= pretrain.RATE for rate in rates)


@pytest.mark.parametrize("script", [pretrain, distil], ids=["clip", "vit"])
def test_pretraining_writes_a_checkpoint(script, tmp_path, monkeypatch):
    pictures = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    shown = [scenes.Scene("objects"), scenes.Scene("digit")] * 4
    monkeypatch.setattr(sampling, "draw_world", lambda seed, count: (shown, pictures))
    for module in (pretrain, distil):
        monkeypatch.setattr(module, "BATCH", 8)
    script.train(argparse.Namespace(out=tmp_path / "clip.npz", steps=2, seed=0))
    meta = json.loads(str(np.load(tmp_path / "clip.npz")["meta"]))
    assert meta["steps"] == 2 and np.isfinite(meta["losses"]).all()
    assert load(tmp_path / "clip.npz")[1] == load(CHECKPOINT)[1]
