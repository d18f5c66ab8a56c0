"""Sweeps: what a yaml means, and which runs it plans."""

import pandas as pd
import pytest
from dassl.engine import TRAINER_REGISTRY

import train
from scripts.lib.sweep_arguments import parse_args
from softcpt.sweeps import Method, on_benchmark, plan, read_sweep
from softcpt.sweeps.jobs import without_config
from softcpt.sweeps.methods import leaving_out, on_backbone, read_defaults

ROOT = train.PROJECT_ROOT
TABLE1 = ROOT / "configs/sweeps/table1.yaml"
SWEEPS = sorted((ROOT / "configs/sweeps").glob("*.yaml"))


# -- the yaml --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
@pytest.mark.parametrize("benchmark", ["demo", "general10"])
def test_sweep_runs_have_valid_configs_and_their_own_folders(path, benchmark, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = "tiny.yaml" if benchmark == "demo" else "rn50.yaml"  # MaPLe and PromptSRC, which need a ViT, have none
    methods = [m for m in read_sweep(path) if (ROOT / "configs/trainers" / m.trainer / config).is_file()]
    jobs = plan(read_sweep(path), benchmark, [1, 16], [1, 2])
    for job in jobs[:: 4 if len(jobs) < 20 else 7]:
        cfg = train.setup_cfg(train.parse_args(job.arguments("data", "out")))
        assert cfg.OUTPUT_DIR == str(job.folder("out")) and cfg.DATASET.NUM_SHOTS == job.shots
    assert len({job.folder("out") for job in jobs}) == len(jobs)
    assert len(jobs) == sum(4 if method.shots else 1 for method in methods), "one run per shots and seed, or one in all"


def test_method_without_the_config_is_left_out():
    methods = read_sweep(TABLE1)
    vits = ["tiny_vit", "vit_b16", "vit_b32"]
    expected = {"MaPLe": vits, "PromptSRC": [*vits[:2], "vit_b16_ep50", *vits[2:]]}
    assert without_config(methods, "tiny") == expected
    assert without_config(methods, "vit_b16") == {}
    assert {job.method.label for job in plan(methods, "rs8", [4], [1], "vit_b16")} == {m.label for m in methods}
    with pytest.raises(ValueError, match="no method of the sweep has a config 'rn51'; one of rn101, rn50"):
        without_config(methods, "rn51")
    with pytest.raises(ValueError, match="^a: no trainer CoOb; one of .*CoOp"):
        without_config([Method("a", "CoOb")], "tiny")


def test_papers_table_is_complete_and_in_order():
    labels = [method.label for method in read_sweep(TABLE1)]
    paper = pd.read_csv(ROOT / "configs/sweeps/paper_table.csv")
    for _, rows in paper.groupby("benchmark"):
        assert list(rows["method"]) == labels[: len(rows)]
    methods = {method.label: method for method in read_sweep(TABLE1)}
    assert methods["CoOp-CS"].separate and not methods["CoOp-CS joint"].separate
    assert methods["CoOp-CS"].settings == methods["CoOp-CS joint"].settings == {"TRAINER.COOP.CSC": True}
    assert methods["SoftCPT-NATA 8 task tokens"].opts == {"TRAINER.SOFTCPT.TASK_N_CTX": 8}
    plot = {job.benchmark: job for name in ("general10", "rs8") for job in plan(read_sweep(TABLE1), name, [1], [1])
            if job.method.label == "PLOT"}  # fmt: skip
    assert {name: job.method.settings["TRAINER.PLOT.N"] for name, job in plot.items()} == {"general10": 2, "rs8": 4}


def test_long_runs_come_first():
    methods = [Method("a", "CoOp", separate=True), Method("b", "CoOp"), Method("c", "ZeroshotCLIP", shots=False)]
    order = [(job.shots, job.method.label, job.seed) for job in plan(methods, "demo", [1, 16, -1], [1, 2])]
    assert order[:5] == [(-1, "b", 1), (-1, "b", 2), (-1, "a", 1), (-1, "a", 2), (16, "b", 1)]
    assert order[-1] == (0, "c", 1)


@pytest.mark.parametrize(
    "content, message",
    [
        ("methods: [", "not a YAML file"),
        ("- a", "expected keys with their values, found list"),
        ("methods: []", "expected the key 'methods' with a list"),
        ("methods: [{label: a, trainer: CoOp, variants: b}]", r"methods\[0\]: unknown key 'variants'.*mean variant\?"),
        ("methods: [{label: a, trainer: CoOp, separate: 1}]", "separate must be a bool, found 1"),
        ("methods: [{label: a}]", r"methods\[0\]: missing trainer"),
        ("methods: [{label: a, trainer: CoOp, benchmarks: {rs8: {sots: 1}}}]", "on rs8: unknown key 'sots'"),
        ("methods: [{label: a, trainer: CoOp}, {label: a, trainer: PLOT}]", "two methods have the same label: a"),
        ("methods: [{label: a, trainer: CoOp}, {label: b, trainer: CoOp}]", "two methods have the same runs"),
        ("methods: [{label: a, trainer: CoOp, new: class}]", "new is 'class', use one of classes, tasks"),
        ("methods: [{label: a, trainer: CoOp, steps: 50}]", "steps must be a bool, found 50"),
        ("methods: [{label: a, trainer: CoOp, without: air}]", "unknown key 'without'"),
        (
            "methods: [{label: a, trainer: CoOp, leave_out: true, separate: true}]",
            "leave_out and separate do not go together",
        ),
        (
            "methods: [{label: a, trainer: CoOp, leave_out: true, opts: {DATASET.TASKS: base}}]",
            "leave_out and DATASET.TASKS do not go together",
        ),
        ("methods: [{label: a, trainer: CoOp}]\nshot: [1]", "unknown key 'shot'.*did you mean shots"),
        (
            "methods: [{label: a, trainer: CoOp, new: tasks}, {label: b, trainer: CoOp, separate: true, new: tasks}]",
            "two methods have the same runs on halves of the tasks",
        ),
    ],
)
def test_invalid_sweep_is_an_error(tmp_path, content, message):
    (tmp_path / "s.yaml").write_text(content)
    with pytest.raises(ValueError, match=f"(?s)s.yaml.*{message}"):
        read_sweep(tmp_path / "s.yaml")
    with pytest.raises(FileNotFoundError, match="t.yaml; in .*: s$"):
        read_sweep(tmp_path / "t.yaml")


def test_row_that_names_another_sweep_stands_for_its_methods(tmp_path):
    (tmp_path / "a.yaml").write_text("methods: [{label: a, trainer: CoOp}]\nshots: [2]")
    (tmp_path / "b.yaml").write_text("methods: [a.yaml, {label: b, trainer: PLOT}]")
    assert [method.label for method in read_sweep(tmp_path / "b.yaml")] == ["a", "b"]
    assert read_defaults(tmp_path / "b.yaml") == {}
    (tmp_path / "c.yaml").write_text("_BASE_: a.yaml\nmethods: [none.yaml]")
    assert read_defaults(tmp_path / "c.yaml") == {"shots": [2]}
    with pytest.raises(FileNotFoundError, match="none.yaml; in .*: a, b, c"):
        read_sweep(tmp_path / "c.yaml")


def test_left_out_task_makes_its_own_method_and_folder():
    methods = [Method("joint", "SoftCPT", variant="NATA"), Method("soft", "SoftCPT", variant="NATA", leave_out=True)]
    found = leaving_out(methods, ["sea animals", "air", "cars"])
    without = ("sea animals", "air", "cars")
    assert [method.label for method in found] == ["joint", *(f"soft without {name}" for name in without)]
    kept = [None, "air,cars", "sea animals,cars", "sea animals,air"]
    assert [method.settings.get("DATASET.TASKS") for method in found] == kept
    jobs = plan(found, "demo", [4], [1])
    folders = ["NATA", "NATA_without-sea-animals", "NATA_without-air", "NATA_without-cars"]
    assert [job.folder("out").parts[-2] for job in jobs] == folders
    assert "air,cars" in jobs[1].arguments("data", "out")
    with pytest.raises(ValueError, match="soft: leave_out needs two tasks or more, found 1"):
        leaving_out(methods, ["air"])


def test_sweep_defaults_are_read(tmp_path):
    path, methods = tmp_path / "s.yaml", "methods: [{label: a, trainer: CoOp}]\n"
    path.write_text(methods + "benchmarks: [demo, rs8]\nshots: [1, 2]\n")
    assert read_defaults(path) == {"benchmarks": ["demo", "rs8"], "shots": [1, 2]}
    path.write_text(methods)
    assert read_defaults(path) == {}
    for wrong, found in (("shots: 4", "4"), ("shots: []", r"\[\]"), ("seeds: [true]", r"\[True\]")):
        path.write_text(methods + wrong)
        with pytest.raises(ValueError, match=f"s.yaml: {wrong.split(':')[0]} must be a list of int, found {found}"):
            read_defaults(path)


@pytest.mark.parametrize(
    "key, value, legal",
    [("shots", 0, "-1 (all images) or at least 1"), ("shots", -7, "-1 (all images) or at least 1")]
    + [("seeds", -1, "at least 0"), ("seeds", 2**32, "at least 0 and at most 4,294,967,295")],
)
def test_impossible_shots_and_seeds_are_refused(tmp_path, capsys, key, value, legal):
    path = tmp_path / "s.yaml"
    path.write_text(f"methods: [{{label: a, trainer: CoOp}}]\nbenchmarks: [demo]\n{key}: [1, {value}]\n")
    with pytest.raises(ValueError) as error:
        read_defaults(path)
    assert str(error.value).startswith(f"{path}: {key}: {value} is not {legal}")
    with pytest.raises(SystemExit):
        parse_args([str(TABLE1), "--benchmark", "demo", f"--{key}", "4", str(value)])
    assert f"--{key}: {value} is not {legal}" in capsys.readouterr().err
    assert parse_args([str(TABLE1), "--benchmark", "demo", "--shots", "-1", "4"]).shots == [-1, 4]


# -- equal steps, and halves -------------------------------------------------------------------------------------------


def test_steps_are_given_to_every_run_that_makes_steps():
    methods = [
        Method("joint", "CoOp"),
        Method("alone", "CoOp", variant="shared", separate=True),
        Method("fixed", "CoOp", variant="shared", opts={"OPTIM.MAX_STEPS": 5}),
        Method("fitted", "ProtoNet", steps=False),
        Method("zero", "ZeroshotCLIP", shots=False),
    ]
    jobs = plan(methods, "demo", [1, 4], [1], steps={1: 50, 4: 350})
    folders = {(job.method.label, job.shots): str(job.folder("out")).split("/", 3)[-1] for job in jobs}
    assert folders == {
        ("joint", 1): "tiny_1shots/OPTIM.MAX_STEPS-50/seed1",
        ("joint", 4): "tiny_4shots/OPTIM.MAX_STEPS-350/seed1",
        ("alone", 1): "tiny_1shots/separate-shared_OPTIM.MAX_STEPS-50/seed1",
        ("alone", 4): "tiny_4shots/separate-shared_OPTIM.MAX_STEPS-350/seed1",
        ("fixed", 1): "tiny_1shots/shared_OPTIM.MAX_STEPS-5/seed1",
        ("fixed", 4): "tiny_4shots/shared_OPTIM.MAX_STEPS-5/seed1",
        ("fitted", 1): "tiny_1shots/default/seed1",
        ("fitted", 4): "tiny_4shots/default/seed1",
        ("zero", 0): "tiny_0shots/default/seed1",
    }
    pairs = {job.method.label: job.arguments("data", "out", "air", "air")[-2:] for job in jobs if job.shots == 4}
    assert pairs["alone"] == pairs["joint"] == ["OPTIM.MAX_STEPS", "350"], (
        "the run of a task has as many as a joint one"
    )


def test_other_backbone_is_set_and_named_in_the_folder():
    own = {"opts": {"OPTIM.LR": 0.1}}
    methods = [Method("a", "CoOp", opts={"OPTIM.LR": 0.2}, benchmarks={"demo": own}), Method("b", "TaskRes")]
    methods = on_backbone(on_benchmark(methods, "demo"), "open_clip:ViT-B-16/openai")
    first, second = plan(methods, "demo", [4], [1])
    assert "/OPTIM.LR-0.1_MODEL.BACKBONE.NAME-open-clip-ViT-B-16-openai~8b7cde97/seed1" in str(first.folder("out"))
    for job in (first, second):
        arguments = job.arguments("data", "out")
        assert arguments[arguments.index("MODEL.BACKBONE.NAME") + 1] == "open_clip:ViT-B-16/openai"
    assert on_backbone(methods, "") == methods


def test_sweeps_say_which_methods_make_no_steps():
    for path in SWEEPS:
        for method in read_sweep(path):
            learns = TRAINER_REGISTRY.get(method.trainer).learns_by_gradient
            assert learns == (method.steps and method.shots), f"{path.stem}: {method.label}"


def test_new_half_comes_after_the_base_half():
    methods = [
        Method("a", "CoOp", separate=True, new="tasks"),
        Method("b", "TaskRes"),
        Method("c", "SoftCPT", new="classes"),
    ]
    jobs = plan(methods, "demo", [1], [1], halves="classes")
    order = [("c", "base-classes"), ("a", "base-classes"), ("c", "new-classes"), ("a", "new-classes")]
    assert [(job.method.label, job.half) for job in jobs] == order
    assert jobs[3].method.separate and jobs[3].trained == jobs[1] and jobs[1].trained == jobs[1]
    base, new = plan(methods, "demo", [1], [1], halves="tasks")
    assert not base.method.separate and (base.half, new.half) == ("base-tasks", "new-tasks")
