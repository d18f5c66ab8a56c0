"""Every method on every family of CLIPs: it trains, tests, saves and loads, or says why it cannot."""

import miniatures
import pytest
import torch
import toy
from methods import CLASSES, METHODS, batch_of, build

import train
from scripts import predict

DOCS = train.PROJECT_ROOT / "docs/backbones.md"

CLIPS = ("openai-vit", "open_clip-vit", "open_clip-quickgelu", "transformers-clip", "transformers-metaclip2")
OWN_VIT = (*CLIPS, "open_clip-custom-text", "open_clip-last-token", "transformers-siglip", "open_clip-coca")
TIMM_VIT = ("open_clip-eva", "open_clip-pe", "open_clip-siglip")
VIT = (*OWN_VIT, *TIMM_VIT)
PATCHES = (*CLIPS, *miniatures.FOREIGN)
LOCAL = (*PATCHES, "openai-resnet", "open_clip-resnet", "open_clip-eva")
SIGLIP = ("open_clip-siglip", "transformers-siglip")
PROJECTED = tuple(family for family in miniatures.FAMILIES if family not in SIGLIP)
DEEP = "deep prompts are tokens in a tower's layers"
# {method: (the families that it runs on, what it says of the others)}; a method that is not named runs on all.
LIMITS = {
    "MaPLe": (VIT, f"MaPLe's (image prompts are tokens of a ViT|{DEEP})"),
    "PromptSRC": (VIT, f"PromptSRC's (image prompts are tokens of a ViT|{DEEP})"),
    "CLIPLoRA": (VIT, "CLIP-LoRA updates the layers of a (ViT|transformer)"),
    "PLOT": (LOCAL, "PLOT matches prompts to"),
    "ProLIP": (PROJECTED, "ProLIP trains the projection of the image tower"),
}


# In the suite: every method on a SigLIP, and on all families one method of each kind: of text prompts, of prompts for
# both towers, of local features and of the projection. The other pairs are slow tests.
FIRST_FAMILY = "open_clip-siglip"
FIRST_METHODS = ("SoftCPT", "MaPLe", "PLOT", "ProLIP")


def pairs(first, rows, columns):
    """All pairs of a row and a column; those for which `first` is false are slow tests."""
    return [
        pytest.param(row, column, marks=[] if first(row, column) else pytest.mark.slow)
        for row in rows
        for column in columns
    ]


@pytest.fixture
def backbone(tmp_path_factory):
    """A function of a family: the name of its miniature."""
    return lambda family: miniatures.make(family, tmp_path_factory.getbasetemp() / "miniatures").name


@pytest.mark.parametrize(
    "family, method",
    pairs(lambda family, method: family == FIRST_FAMILY or method in FIRST_METHODS, miniatures.FAMILIES, METHODS),
)
def test_method_works_on_a_family_or_says_why_not(toy_root, tmp_path, family, method, backbone):
    opts = ("MODEL.BACKBONE.NAME", backbone(family), "OPTIM.MAX_EPOCH", 1, "DATASET.NUM_SHOTS", 2)
    families, reason = LIMITS.get(method, (miniatures.FAMILIES, ""))
    if family not in families:
        with pytest.raises(ValueError, match=f"MODEL.BACKBONE.NAME: {reason}.*: it"):
            build(toy_root, tmp_path / "run", method, opts=opts)
        return
    trainer = build(toy_root, tmp_path / "run", method, opts=opts)
    batch = batch_of(trainer)
    if CLASSES[method].learns_by_gradient:
        assert torch.tensor(trainer.forward_backward(batch)["loss"]).isfinite()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in trainer.learned.parameters())
        assert all(p.is_contiguous() and p.grad.is_contiguous() for p in trainer.learned.parameters())  # for nccl
        assert not any(p.requires_grad or p.grad is not None for p in trainer.clip.parameters())
        trainer.save_model(0, str(tmp_path / "run"))
    else:
        trainer.train()
    expected = trainer.model_inference(batch["img"])
    assert expected.isfinite().all()
    fresh = build(toy_root, tmp_path / "other", method, opts=opts)
    if fresh.learned.state_dict():
        fresh.load_model(str(tmp_path / "run"))
    assert torch.equal(fresh.model_inference(batch["img"]), expected)
    assert 0 <= fresh.test() <= 100


@pytest.mark.parametrize(
    "method, key, value",
    [("MaPLe", "DEPTH", 1), ("PromptSRC", "PROMPT_DEPTH_TEXT", 1), ("CLIPLoRA", "TOWERS", "image")],
)
def test_method_that_leaves_the_text_tower_alone_runs_on_a_foreign_one(
    toy_root, tmp_path, method, key, value, backbone
):
    opts = ("MODEL.BACKBONE.NAME", backbone("open_clip-bert"), "OPTIM.MAX_EPOCH", 1, "DATASET.NUM_SHOTS", 2)
    trainer = build(toy_root, tmp_path / "run", method, key, value, opts=opts)
    assert torch.tensor(trainer.forward_backward(batch_of(trainer))["loss"]).isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trainer.learned.parameters())
    assert not trainer.clip.training


def test_documented_limits_match_the_tests():
    rows = [line.strip("|").split("|") for line in DOCS.read_text().splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in row] for row in rows]
    header = next(row for row in rows if row[:2] == ["family", "in the tests"])
    documented = {row[1].strip("`"): dict(zip(header, row)) for row in rows if row[1].strip("`") in miniatures.FAMILIES}
    columns = {method.replace("-", ""): title for title in header[3:] for method in title.split(", ")}
    assert set(columns) == set(LIMITS) and set(documented) == set(miniatures.FAMILIES)
    for family, row in documented.items():
        assert row["text tower"] == miniatures.text_tower(family)
        for method, (families, _) in LIMITS.items():
            assert row[columns[method]] == ("yes" if family in families else "no"), (method, family)


@pytest.mark.parametrize(
    "family, precision",
    pairs(
        lambda family, precision: family == FIRST_FAMILY or precision == "fp16",
        miniatures.FAMILIES,
        ("amp", "bf16", "fp16"),
    ),
)
def test_half_precision_stays_near_fp32(toy_root, tmp_path, family, precision, backbone):
    opts = ("MODEL.BACKBONE.NAME", backbone(family), "FEATURES.TEST_CACHE", False)
    exact, half = (build(toy_root, tmp_path, "CoOp", "PREC", prec, opts=opts) for prec in ("fp32", precision))
    image = batch_of(exact)["img"]
    with torch.no_grad():
        for function in ("image_features", "text_features"):
            arguments = [image] if function == "image_features" else []
            a = getattr(exact, function)(*arguments)
            with half.autocast():
                b = getattr(half, function)(*arguments).float()
            assert torch.nn.functional.cosine_similarity(a, b, dim=-1).min() > 0.98


@pytest.mark.parametrize("family", ["open_clip-siglip", "transformers-clip"])
def test_run_records_the_models_preprocessing_and_predicts_with_it(toy_root, tmp_path, family, backbone, capsys):
    opts = ("MODEL.BACKBONE.NAME", backbone(family), "OPTIM.MAX_EPOCH", 1)
    arguments = toy.arguments(toy_root, tmp_path / "run", "CoOp", *opts)
    assert train.main(arguments) == 0
    cfg = train.setup_cfg(train.parse_args(["--config-file", str(tmp_path / "run" / "config.yaml")]))
    squash = family == "open_clip-siglip"
    assert cfg.INPUT.SIZE == (32, 32) and cfg.INPUT.RESIZE == ("squash" if squash else "shortest:32")
    assert (cfg.INPUT.PIXEL_MEAN == [0.5, 0.5, 0.5]) == squash
    capsys.readouterr()
    picture = next((toy_root / "toy" / "flower" / "images").glob("test-0-*.png"))
    assert predict.main([str(tmp_path / "run"), str(picture), "--task", "flower recognition"]) == 0
    assert "rose" in capsys.readouterr().out
    assert train.main(arguments) == 0  # called again: the record is of the same config
