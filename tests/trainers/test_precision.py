"""What `amp` is on a device, and that the runs, evaluations and exports of a run keep its type elsewhere."""

import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import export
import pytest
import torch
import toy
from dassl.engine import TrainerX
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import train
from softcpt.backbones.precision import PRECISIONS, Precision, agree
from softcpt.inference import load_classifier
from softcpt.inference.exports import digest_of
from trainers.finished.load import load_run

PREC = "TRAINER.COOP.PREC"
GPU = torch.device("cuda")


@pytest.fixture
def gpu(monkeypatch):
    """A function that makes PyTorch say whether a GPU has bf16."""
    return lambda native: monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation
    )


@pytest.mark.filterwarnings("ignore:torch.cuda.amp.GradScaler")  # without a GPU
def test_amp_is_bf16_where_it_is_native(gpu):
    assert Precision("amp", torch.device("cpu")).name == "amp-bf16"
    for native, name, half in ((True, "amp-bf16", torch.bfloat16), (False, "amp-fp16", torch.float16)):
        gpu(native)
        precision = Precision("amp", GPU)
        assert (precision.name, precision.half, precision.stored) == (name, half, half)
        assert (precision.scaler is None) == native
        fixed = Precision(name, torch.device("cpu"), exact=True)
        assert (fixed.name, fixed.half, fixed.stored, fixed.scaler) == (name, half, None, None)
    assert Precision("fp32", GPU).half is Precision("fp32", GPU).stored is None


@pytest.mark.filterwarnings("ignore:torch.cuda.amp.GradScaler")
def test_features_that_older_versions_cached_are_those_of_their_type(gpu):
    gpu(True)
    names = {
        (kind, name): Precision(name, torch.device(kind)).earlier_name
        for kind in ("cpu", "cuda")
        for name in PRECISIONS
    }
    as_then = {("cpu", "amp"), ("cpu", "amp-bf16"), ("cuda", "amp-fp16")}
    assert {pair for pair, name in names.items() if name == "amp"} == as_then
    assert names["cuda", "amp"] == "amp-bf16" and names["cuda", "fp32"] == "fp32"


def test_precisions_agree_unless_both_name_a_type():
    assert agree("amp", "amp-fp16") and agree("amp-bf16", "amp") and agree("fp16", "fp16")
    assert not (
        agree("amp-bf16", "amp-fp16") or agree("amp", "fp16") or agree("amp-fp16", "fp16") or agree("fp32", "amp")
    )


def words(root, out, *opts):
    return toy.arguments(root, out, "CoOp", PREC, "amp", "DATASET.NUM_SHOTS", 2, "TRAIN.CHECKPOINT_FREQ", 1, *opts)


def rename(folder, name):
    """Let the run in a folder be one in another precision."""
    path = folder / "config.yaml"
    assert path.read_text().count("PREC: amp-bf16") == 1
    path.write_text(path.read_text().replace("PREC: amp-bf16", f"PREC: {name}"))


@pytest.fixture
def half_done(toy_root, tmp_path, monkeypatch):
    """A run that was interrupted after the first of two epochs."""

    def cut_off(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, toy.as_a_process(), pytest.raises(KeyboardInterrupt):
        run_epoch = TrainerX.run_epoch
        patch.setattr(TrainerX, "run_epoch", lambda self: cut_off(self) if self.epoch else run_epoch(self))
        train.main(words(toy_root, tmp_path / "half"))
    return tmp_path / "half"


def record_of(folder):
    return json.loads((folder / "results.json").read_text())


def test_run_in_another_type_is_resumed_only_in_it(toy_root, tmp_path, half_done, capsys):
    rename(half_done, "amp-fp16")  # as on a GPU without bf16
    before = {path: path.read_bytes() for path in half_done.rglob("*") if path.is_file()}
    capsys.readouterr()
    for call in (words(toy_root, half_done), ["--resume", str(half_done), *words(toy_root, tmp_path / "other")]):
        assert train.main(call) == 2
        assert capsys.readouterr().err == (
            f"error: {half_done} holds a run in amp-fp16, and on this device {PREC} amp is amp-bf16: "
            f"add {PREC} amp-fp16 to go on with it, or choose another --output-dir\n"
        )
    assert before == {path: path.read_bytes() for path in half_done.rglob("*") if path.is_file()}
    assert not (tmp_path / "other").exists()
    toy.finish(words(toy_root, half_done, PREC, "amp-fp16"))
    assert record_of(half_done)["precision"] == "amp-fp16"
    assert train.main(words(toy_root, half_done)) == 0 and "done before" in capsys.readouterr().out
    assert train.main(words(toy_root, half_done, PREC, "amp-bf16")) == 2


@pytest.mark.parametrize("saved", ["amp", "amp-bf16"])
def test_run_of_an_older_version_is_resumed_as_before(toy_root, half_done, saved):
    rename(half_done, saved)
    toy.finish(words(toy_root, half_done))
    assert record_of(half_done)["precision"] == "amp-bf16"


def test_older_run_goes_on_in_fp16_on_any_gpu(toy_root, half_done, gpu, monkeypatch):
    from trainers.engine.earlier_precision import to_go_on

    gpu(True)
    monkeypatch.setattr(Precision, "default_device", staticmethod(lambda gpu=True: GPU if gpu else torch.device("cpu")))
    cfg = train.setup_cfg(train.parse_args(words(toy_root, half_done)))
    assert to_go_on(cfg) == "amp-bf16"
    rename(half_done, "amp")
    assert to_go_on(cfg) == "amp-fp16"


@pytest.fixture(scope="module")
def fp16_run(finished_run):
    return finished_run("CoOp", PREC, "amp-fp16")


def test_evaluation_has_the_type_of_its_run(toy_root, tmp_path, fp16_run, capsys):
    assert record_of(fp16_run)["precision"] == "amp-fp16"
    for i, given in enumerate(((), (PREC, "amp"), (PREC, "amp-fp16"))):
        call = [
            "--root",
            str(toy_root),
            "--eval-only",
            "--model-dir",
            str(fp16_run),
            "--output-dir",
            str(tmp_path / str(i)),
        ]
        toy.finish([*call, *given])
        found = record_of(tmp_path / str(i))
        assert found["precision"] == "amp-fp16" and found["tasks"] == record_of(fp16_run)["tasks"]
    assert train.main([*call, PREC, "amp-bf16"]) == 2
    assert f"{PREC} ('amp-fp16' there, 'amp-bf16' here)" in capsys.readouterr().err


def test_run_and_export_predict_in_the_type_of_the_run(fp16_run, tmp_path):
    trainer = load_run(fp16_run)
    assert trainer.precision.half == trainer.clip.text.projection.dtype == torch.float16
    assert load_run(fp16_run, settings={PREC: "amp"}).precision.half == torch.bfloat16
    path = tmp_path / "model.safetensors"
    assert export.main([str(fp16_run), str(path)]) == 0
    classifier = load_classifier(path, toy.CLIP, "cpu")
    assert classifier.precision.half == classifier.tower.visual.conv1.weight.dtype == torch.float16
    image = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), trainer.autocast():
        assert torch.equal(classifier.features(image), trainer.image_features(image).float())


def test_older_export_has_one_type_per_kind_of_device(fp16_run, tmp_path):
    path = tmp_path / "model.safetensors"
    assert export.main([str(fp16_run), str(path)]) == 0
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["classifier"])
    assert (facts["precision"], facts.pop("half")) == ("amp", "fp16") and facts.pop("digest")
    tensors = load_file(path)
    save_file(tensors, path, {"classifier": json.dumps({**facts, "digest": digest_of(facts, tensors)})})
    assert load_classifier(path, toy.CLIP, "cpu").precision.name == "amp-bf16"
    facts["half"] = "fp8"
    save_file(tensors, path, {"classifier": json.dumps({**facts, "digest": digest_of(facts, tensors)})})
    with pytest.raises(ValueError, match="precision is 'amp-fp8', use one of fp32, amp,"):
        load_classifier(path, toy.CLIP, "cpu")


def convolutions_in_tf32():
    return torch.backends.cudnn.allow_tf32


def test_fp32_is_fp32_in_convolutions_and_only_within():
    assert convolutions_in_tf32()  # PyTorch's default
    with Precision("fp32", GPU).autocast():
        assert not convolutions_in_tf32()
        with Precision("fp32", GPU).autocast():
            pass
        assert not convolutions_in_tf32()
    with contextlib.suppress(KeyError), Precision("fp32", GPU).autocast():
        raise KeyError
    assert convolutions_in_tf32()
    with Precision("bf16", torch.device("cpu")).autocast():
        assert convolutions_in_tf32()


def test_switch_of_tf32_is_put_back_by_the_last_thread():
    entered, leave = threading.Event(), threading.Event()

    def other():
        with Precision("fp32", GPU).autocast():
            entered.set()
            leave.wait(20)

    with ThreadPoolExecutor(1) as pool:
        with Precision("fp32", GPU).autocast():
            done = pool.submit(other)
            assert entered.wait(20)
        assert not convolutions_in_tf32()
        leave.set()
        done.result()
    assert convolutions_in_tf32()


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="newer switches of PyTorch")
def test_choice_by_pytorchs_newer_switches_stays():
    before = torch.backends.cudnn.conv.fp32_precision
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    try:
        with Precision("fp32", GPU).autocast():
            assert torch.backends.cudnn.conv.fp32_precision == "ieee"
        assert torch.backends.cudnn.conv.fp32_precision == "ieee"
    finally:
        torch.backends.cudnn.conv.fp32_precision = before
