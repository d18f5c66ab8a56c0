"""What every registered method must do, over several tasks and over one."""

import pytest
import second_device
import torch
from lives import lives
from methods import CLASSES, FITTED, LEARNING, METHODS, batch_of, build

VARIANTS = {
    "SoftCPT": [("VARIANT", variant) for variant in ("NATA", "NATS", "CATA", "CATS", "CSTA", "CSTS")]
    + [
        ("VARIANT", "NATA", "META_NET", "lowrank", "META_RANK", 4),
        ("VARIANT", "CATA", "META_NET", "linmean"),
        ("VARIANT", "CSTA", "META_NET", "lincls"),
        ("VARIANT", "CSTA", "META_NET", "lowrank", "CLASS_SAMPLE_RATE", 0.3),
        ("TASK_FEATURES", "learned"),
        ("TASK_FEATURES", "learned", "VARIANT", "CATA"),
        ("CLASS_TOKEN_POSITION", "middle", "TASK_CTX_INIT", "a photo of a"),
        ("CLASS_TOKEN_POSITION", "front", "CLASS_SAMPLE_RATE", 0.1),
        ("SCHEDULE", "released"),
        ("KNOWLEDGE_WEIGHT", 2.0, "CLASS_SAMPLE_RATE", 0.5),
        ("BLEND", True),
        ("BLEND", True, "VARIANT", "CATS", "KNOWLEDGE_WEIGHT", 2.0),
    ],
    "CoOp": [
        (),
        ("TSC", True),
        ("CSC", True, "CLASS_TOKEN_POSITION", "middle"),
        ("TSC", True, "CTX_INIT", "a photo of a", "CLASS_TOKEN_POSITION", "front"),
    ],
    "CoCoOp": [(), ("CTX_INIT", "", "N_CTX", 2)],
    "KgCoOp": [(), ("TSC", True, "TEACHER_TEMPLATE", "a toy {}.", "CTX_INIT", "")],
    "ProGrad": [(), ("CSC", True, "CTX_INIT", "", "T", 2.0)],
    "PLOT": [(), ("N", 1, "CLASS_TOKEN_POSITION", "middle", "N_CTX", 4)],
    "ProtoNet": [(), ("FINE_TUNED", True)],
    "MaPLe": [(), ("DEPTH", 1, "CTX_INIT", "", "N_CTX", 4)],
    "TaskRes": [(), ("ALPHA", 1.0, "TEMPLATE", "a toy {}.")],
    "TipAdapter": [(), ("VIEWS", 1, "TEMPLATE", "a toy {}."), ("SEARCH", False)],
    "TipAdapterF": [(), ("SEARCH", False, "ALPHA", 3.0)],
    "LPPlusPlus": [(), ("SCHEDULE", "released", "TEMPLATE", "a toy {}.")],
    "ProLIP": [(), ("LAMBDA", 0.0), ("POWER", 2.0, "TEMPLATE", "a toy {}.")],
    "CLIPLoRA": [(), ("TOWERS", "text", "RANK", 1, "DROPOUT", 0.0), ("TOWERS", "image", "TEMPLATE", "a toy {}.")],
    "PromptSRC": [
        (),
        ("PROMPT_DEPTH_TEXT", 1, "PROMPT_DEPTH_VISION", 0),
        ("CTX_INIT", "", "N_CTX_TEXT", 3, "N_CTX_VISION", 2),
    ],
}


def name_of(value):
    return value if isinstance(value, str) else "-".join(map(str, value))


def cases(names, slow=lambda name, options: False):
    grid = [
        pytest.param(name, options, marks=pytest.mark.slow if slow(name, options) else ())
        for name in names
        for options in VARIANTS.get(name, [()])
    ]
    return pytest.mark.parametrize("name, options", grid, ids=name_of)


def cases_and_data(names):
    """Each case over all tasks, and each method over one; other options over one task are slow tests."""
    grid = [
        pytest.param(name, options, data, marks=pytest.mark.slow if data == "ToySingle" and i else ())
        for name in names
        for i, options in enumerate(VARIANTS.get(name, [()]))
        for data in ("ToyTasks", "ToySingle")
    ]
    return pytest.mark.parametrize("name, options, dataset", grid, ids=name_of)


data = pytest.mark.parametrize("dataset", ["ToyTasks", "ToySingle"])


def counted_steps(trainer):
    """A list to which each step of the trainer's optimiser adds an entry."""
    steps = []
    trainer.optim.register_step_post_hook(lambda *_: steps.append(1))
    return steps


@cases_and_data(LEARNING)
def test_only_prompts_get_gradients(toy_root, tmp_path, name, options, dataset):
    trainer = build(toy_root, tmp_path, name, *options, dataset=dataset)
    for module in trainer.learned.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.ones_(module.bias)  # the two ReLUs of a tiny meta network may be dead
    for parameter in trainer.learned.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)  # a factor of zero would hide the gradient of the other
    image, label, _ = trainer.parse_batch_train(batch_of(trainer))
    trainer.compute_loss(image, label)[0].backward()
    for key, parameter in trainer.learned.named_parameters():
        assert parameter.dtype == torch.float32 and parameter.is_contiguous(), key
        assert parameter.grad.isfinite().all() and parameter.grad.any() and parameter.grad.is_contiguous(), key
    assert not any(p.requires_grad or p.grad is not None for p in trainer.clip.parameters())
    optimised = [p for group in trainer.optim.param_groups for p in group["params"]]
    assert {id(p) for p in optimised} == {id(p) for p in trainer.learned.parameters()}
    assert trainer.n_params == sum(p.numel() for p in optimised)


@cases(LEARNING)
def test_batch_makes_one_optimiser_step(toy_root, tmp_path, name, options):
    trainer = build(toy_root, tmp_path, name, *options)
    steps = counted_steps(trainer)
    trainer.forward_backward(batch_of(trainer))
    assert trainer.get_model_names() == ["prompt_learner"]
    released = dict(zip(options[::2], options[1::2])).get("SCHEDULE") == "released"
    assert len(steps) == (3 if released else 1)


@pytest.mark.parametrize("precision, expected", [("amp", 1), ("fp16", 3)])
def test_released_schedule_steps_like_the_release_with_a_scaler(toy_root, tmp_path, precision, expected):
    """In the release, fp16 has no scaler and steps three times; the scaler of amp remembers that it has stepped."""
    trainer = build(toy_root, tmp_path, "SoftCPT", "SCHEDULE", "released")
    trainer.cfg.defrost()
    trainer.options.PREC = precision
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    steps = counted_steps(trainer)
    trainer.forward_backward(batch_of(trainer))
    assert len(steps) == expected
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=1e38)  # the gradients overflow: no step at all
    trainer.forward_backward(batch_of(trainer))
    assert len(steps) == expected and trainer.scaler.get_scale() < 1e38


@cases_and_data(LEARNING)
def test_saved_model_loads_with_the_same_logits(toy_root, tmp_path, name, options, dataset):
    trainer = build(toy_root, tmp_path, name, *options, dataset=dataset)
    batch = batch_of(trainer)
    trainer.forward_backward(batch)
    trainer.save_model(0, str(tmp_path))
    expected = trainer.model_inference(batch["img"])
    fresh = build(toy_root, tmp_path / "other", name, *options, dataset=dataset)
    assert not torch.equal(fresh.model_inference(batch["img"]), expected)
    fresh.load_model(str(tmp_path))
    assert torch.equal(fresh.model_inference(batch["img"]), expected)


@cases_and_data(FITTED)
def test_fitted_method_loads_with_the_same_results(toy_root, tmp_path, name, options, dataset):
    trainer = build(toy_root, tmp_path / "run", name, *options, dataset=dataset)
    trainer.train()
    assert trainer.train_seconds > 0 and trainer.test_seconds > 0 and trainer.max_epoch == 0
    assert trainer.optim is None and not any(p.grad is not None for p in trainer.clip.parameters())
    assert trainer.n_params == sum(p.numel() for p in trainer.learned.parameters())
    image = next(iter(trainer.train_loader_x))["img"]
    expected = trainer.model_inference(image)
    assert expected.isfinite().all()

    fresh = build(toy_root, tmp_path / "other", name, *options, dataset=dataset)
    assert not torch.equal(fresh.model_inference(image), expected)
    fresh.load_model(str(tmp_path / "run"))
    assert torch.equal(fresh.model_inference(image), expected)
    fresh.test()
    assert fresh.evaluator.task_results == trainer.evaluator.task_results


@pytest.mark.parametrize("name", METHODS)
@data
def test_test_loop_matches_model_inference(toy_root, tmp_path, name, dataset):
    """Computing class features once, and reading image features from the cache, changes no prediction."""
    trainer = build(toy_root, tmp_path / "run", name, dataset=dataset, opts=("FEATURES.TEST_CACHE", False))
    plain = trainer.test()
    cached = build(toy_root, tmp_path / "run", name, dataset=dataset)
    cached.learned.load_state_dict(trainer.learned.state_dict())
    assert cached.test() == cached.test() == plain
    files = len(list((tmp_path / "features").glob("*.safetensors")))
    assert files == (0 if trainer.tunes_images else 1 + trainer.uses_shots)  # the test images, the validation shots


@pytest.mark.parametrize("name", [name for name in METHODS if not CLASSES[name].conditional])
def test_class_features_are_computed_once_per_evaluation(toy_root, tmp_path, name, monkeypatch):
    trainer = build(toy_root, tmp_path / "run", name, opts=("DATALOADER.TEST.BATCH_SIZE", 4))
    calls, text_features = [], trainer.text_features
    monkeypatch.setattr(trainer, "text_features", lambda *args: calls.append(1) or text_features(*args))
    trainer.test()
    assert len(calls) == 1


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("precision", ["amp", "bf16", "fp16"])
def test_every_precision_trains_without_nan(toy_root, tmp_path, name, precision):
    opts = ("OPTIM.MAX_EPOCH", 1, "DATASET.NUM_SHOTS", 2)
    trainer = build(toy_root, tmp_path / "run", name, "PREC", precision, opts=opts)
    trainer.train()
    assert 0 <= trainer.evaluator.task_results[0]["value"] <= 100
    assert all(p.isfinite().all() and p.dtype == torch.float32 for p in trainer.learned.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("precision", ["fp32", "amp", "bf16", "fp16"])
def test_200_steps_stay_finite(toy_root, tmp_path, name, precision):
    trainer = build(toy_root, tmp_path, name, "PREC", precision)
    trainer.epoch, trainer.batch_idx, trainer.num_batches = 0, 0, 10**9
    for _ in range(200 // len(trainer.train_loader_x)):
        for batch in trainer.train_loader_x:
            assert torch.tensor(trainer.forward_backward(batch)["loss"]).isfinite()
    assert all(p.isfinite().all() for p in trainer.learned.parameters())


@pytest.mark.parametrize("name", METHODS)
def test_logits_of_present_tasks_match_those_of_all(toy_root, tmp_path, name):
    trainer = build(toy_root, tmp_path, name)
    with torch.no_grad():
        loader = getattr(
            trainer.test_loader, "loader", trainer.test_loader
        )  # the loader of images below the feature cache
        x = trainer.image_features(next(iter(loader))["img"])
        rows = torch.tensor([0, 1, 2, 5, 6, 7, 8, 9])
        torch.testing.assert_close(
            trainer.class_logits(x, trainer.class_features(rows), rows),
            trainer.class_logits(x, trainer.class_features())[:, rows],
        )


@pytest.mark.parametrize("name", LEARNING)
def test_cached_views_give_the_same_losses(toy_root, tmp_path, name):
    opts = ("INPUT.TRANSFORMS", ("center_crop", "normalize"), "DATASET.NUM_SHOTS", 2, "TEST.NO_TEST", True)
    views = (*opts, "FEATURES.TRAIN_VIEWS", 2)
    trainers = [build(toy_root, tmp_path / "0", name, opts=opts)]
    if trainers[0].tunes_images:
        with pytest.raises(ValueError, match=f"FEATURES.TRAIN_VIEWS: 2, but {name} changes the image tower"):
            build(toy_root, tmp_path, name, opts=views)
        return
    trainers.append(build(toy_root, tmp_path / "2", name, opts=views))
    losses = [[], []]
    for trainer, found in zip(trainers, losses):
        forward_backward = trainer.forward_backward
        trainer.forward_backward = lambda batch, f=forward_backward, r=found: r.append(f(batch)) or r[-1]
        torch.manual_seed(1)
        trainer.train()
    losses = [[step["loss"] for step in steps] for steps in losses]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("name", LEARNING)
def test_checkpoint_of_another_shape_or_method_is_an_error(toy_root, tmp_path, name):
    trainer = build(toy_root, tmp_path, name)
    trainer.save_model(0, str(tmp_path))
    shape = ("N_CTX", 3, "CTX_INIT", "") if "CTX_INIT" in CLASSES[name].defaults else ("N_CTX", 3)
    if "N_CTX" in CLASSES[name].defaults:
        with pytest.raises(ValueError, match="has shape .* expects"):
            build(toy_root, tmp_path, name, *shape).load_model(str(tmp_path))
    other = "CoOp" if name == "SoftCPT" else "SoftCPT"
    with pytest.raises(ValueError, match=f"no checkpoint of this {other}"):
        build(toy_root, tmp_path, other).load_model(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="model.pth.tar-7.*there: model.pth.tar-1"):
        trainer.load_model(str(tmp_path), epoch=7)


# -- on a second device, which refuses what a GPU refuses --------------------------------------------------------------


@second_device.NEEDS
@cases(METHODS, slow=lambda name, options: name != "SoftCPT" or len(options) > 2)
def test_variant_trains_on_another_device(toy_root, tmp_path, name, options):
    opts = ("OPTIM.MAX_EPOCH", 1, "DATASET.NUM_SHOTS", 2)
    with second_device.used():
        trainer = build(toy_root, tmp_path / "run", name, *options, opts=opts)
        trainer.train()
    assert 0 <= trainer.evaluator.task_results[0]["value"] <= 100
    assert all(tensor.device == second_device.DEVICE for tensor in trainer.learned.state_dict().values())


@second_device.NEEDS
@pytest.mark.parametrize("name", METHODS)
def test_lives_on_another_device(toy_root, tmp_path, name, capsys):
    with second_device.used() as device:
        lives(toy_root, tmp_path, name, device, capsys)
