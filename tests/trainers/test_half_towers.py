"""`amp` stores the frozen towers in half, and computes to the bit what autocast makes of towers in fp32."""

import miniatures
import pytest
import torch
from methods import CLASSES, METHODS, batch_of, build

from softcpt.backbones import load_clip
from softcpt.backbones.precision import Precision

OPTS = ("DATASET.NUM_SHOTS", 1, "INPUT.TRANSFORMS", ("normalize",), "TEST.NO_TEST", True)


@pytest.fixture
def in_fp32(monkeypatch):
    """A function after which the towers stay in fp32, as before `amp` stored them in half."""
    init = Precision.__init__

    def exact(self, *args):
        init(self, *args)
        self.stored = None

    return lambda: monkeypatch.setattr(Precision, "__init__", exact)


def numbers_of(trainer):
    """The loss of a step with its gradients, or what is fitted, and the logits, of a method away from its start."""
    torch.manual_seed(1)
    image, label, _ = trainer.parse_batch_train(batch_of(trainer))
    found = {}
    if trainer.learns_by_gradient:
        for parameter in trainer.learned.parameters():
            parameter.data += 0.01 * torch.randn_like(parameter)
        trainer.set_model_mode("train")
        with trainer.autocast():
            found["loss"], _ = trainer.compute_loss(image, label)
        found["loss"].backward()
        found |= {f"gradient of {name}": p.grad for name, p in trainer.learned.named_parameters()}
    elif trainer.uses_shots:
        trainer.fit()
        found |= {name: value.clone() for name, value in trainer.learned.state_dict().items()}
    trainer.set_model_mode("eval")
    return {**found, "logits": trainer.model_inference(image), "tower": trainer.clip.image_digest}


@pytest.mark.parametrize("method", METHODS)
def test_amp_is_to_the_bit_what_it_is_with_towers_in_fp32(toy_root, tmp_path, method, in_fp32):
    trainers = [build(toy_root, tmp_path / "half", method, "PREC", "amp", opts=OPTS)]
    in_fp32()
    trainers.append(build(toy_root, tmp_path / "fp32", method, "PREC", "amp", opts=OPTS))
    types = [trainer.clip.text.projection.dtype for trainer in trainers]
    reads = CLASSES[method].reads_weights
    assert types == [torch.float32 if reads else torch.bfloat16, torch.float32]
    assert trainers[0].caching[2] == trainers[1].caching[2]  # the key of cached features
    half, fp32 = map(numbers_of, trainers)
    assert half.keys() == fp32.keys() and half.pop("tower") == fp32.pop("tower")
    assert [name for name in half if not torch.equal(half[name], fp32[name])] == []


FIRST = ("openai-vit", "openai-resnet", "open_clip-siglip", "open_clip-bert")


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=() if name in FIRST else pytest.mark.slow) for name in miniatures.FAMILIES],
)
def test_towers_of_a_family_are_to_the_bit_what_autocast_makes_of_fp32(family, tmp_path_factory):
    name = miniatures.make(family, tmp_path_factory.getbasetemp() / "miniatures").name
    clips = load_clip(name), load_clip(name, torch.bfloat16)
    image = torch.randn(2, 3, *clips[0].preprocessing.size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features = [(clip.encode_image(image), clip.encode_text(["a dog.", "bark"])) for clip in clips]
    assert [torch.equal(a, b) for a, b in zip(*features)] == [True, True]
    assert {value.dtype for value in clips[1].state_dict().values()} >= {torch.bfloat16, torch.float32}
