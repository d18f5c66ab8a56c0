"""The evaluator against naive loops."""

import logging
import re
from collections import namedtuple

import pytest
import torch
from dassl.evaluation import build_evaluator

from trainers.engine.config import default_cfg

FakeTask = namedtuple("FakeTask", "name classnames metric")
TASKS = (
    FakeTask("shape", ("square", "circle", "star"), "accuracy"),
    FakeTask("number of objects", ("one", "two", "three", "four"), "mean_per_class"),
    FakeTask("day", ("day", "night"), "accuracy"),
)
OFFSETS = (0, 3, 7, 9)


def evaluator(tasks=TASKS, lab2cname=None, **keys):
    cfg = default_cfg()
    cfg.VERBOSE = False
    cfg.merge_from_list([part for key, value in keys.items() for part in (key.replace("__", "."), value)])
    return build_evaluator(cfg, lab2cname=lab2cname, tasks=tasks)


def batch(n=60, seed=0, dtype=torch.float32):
    """Logits with ties and labels without class 1 ('circle') and class 5 ('three')."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(0, 4, (n, 9), generator=generator).to(dtype)
    label = torch.tensor([0, 2, 3, 4, 6, 7, 8])[torch.randint(0, 7, (n,), generator=generator)]
    return logits, label


def by_loops(logits, label, tasks=TASKS):
    """Values, F1 scores and numbers of samples per task, computed one sample at a time from the definitions."""
    values, scores, numbers = [], [], []
    for t, task in enumerate(tasks):
        truth, predictions = [], []
        for row, y in zip(logits.tolist(), label.tolist(), strict=True):
            if OFFSETS[t] <= y < OFFSETS[t + 1]:
                own = row[OFFSETS[t] : OFFSETS[t + 1]]
                predictions.append(own.index(max(own)))
                truth.append(y - OFFSETS[t])
        pairs = list(zip(truth, predictions, strict=True))
        recalls, f1 = [], []
        for c in sorted(set(truth)):
            hits = sum(y == p == c for y, p in pairs)
            recalls.append(hits / truth.count(c))
            f1.append(2 * hits / (truth.count(c) + predictions.count(c)))
        accuracy = sum(y == p for y, p in pairs) / len(pairs)
        values.append(100 * (accuracy if task.metric == "accuracy" else sum(recalls) / len(recalls)))
        scores.append(100 * sum(f1) / len(f1))
        numbers.append(len(pairs))
    return values, scores, numbers


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("seed", [0, 1])
def test_results_match_naive_loops(dtype, seed):
    logits, label = batch(seed=seed, dtype=dtype)
    values, scores, numbers = by_loops(logits, label)
    judge = evaluator()
    judge.process(logits, label)
    results = judge.evaluate()
    assert list(results) == ["accuracy", "error_rate", "macro_f1"]
    assert results["accuracy"] == pytest.approx(sum(values) / 3)
    assert results["error_rate"] == pytest.approx(100 - sum(values) / 3)
    assert results["macro_f1"] == pytest.approx(sum(scores) / 3)
    assert [result["value"] for result in judge.task_results] == pytest.approx(values)
    assert [result["n"] for result in judge.task_results] == numbers
    assert [(result["name"], result["metric"]) for result in judge.task_results] == [(t.name, t.metric) for t in TASKS]


def test_batches_add_up_and_reset_clears_them():
    logits, label = batch()
    whole, streamed = evaluator(), evaluator()
    whole.process(logits, label)
    streamed.process(*batch(seed=5))
    streamed.reset()
    for start in range(0, 60, 7):
        streamed.process(logits[start : start + 7], label[start : start + 7])
    assert streamed.evaluate() == whole.evaluate()
    assert streamed.task_results == whole.task_results


def test_ties_go_to_the_lowest_class():
    judge = evaluator()
    judge.process(torch.zeros(2, 9), torch.tensor([7, 8]))
    judge.evaluate()
    assert judge.confusion[2].tolist() == [[1, 0], [1, 0]]


def test_absent_classes_are_logged(caplog):
    judge = evaluator()
    judge.process(*batch())
    with caplog.at_level(logging.WARNING):
        judge.evaluate()
    assert "task shape: no test sample of 1 class: circle" in caplog.text
    assert "task number of objects: no test sample of 1 class: three" in caplog.text


def test_task_without_samples_is_left_out_of_the_mean(capsys):
    judge = evaluator()
    judge.process(torch.eye(9)[:3], torch.tensor([0, 1, 1]))
    judge.process(torch.eye(9)[7:], torch.tensor([7, 7]))
    assert judge.evaluate()["accuracy"] == pytest.approx((100 * 2 / 3 + 50) / 2)
    assert judge.task_results[1] == {"name": "number of objects", "metric": "mean_per_class", "value": None, "n": 0}
    assert "task 2/3 (number of objects): no samples, left out of the mean" in capsys.readouterr().out


def test_result_block_suits_log_parsers(capsys):
    judge = evaluator()
    for _ in range(411):
        judge.process(torch.eye(9)[:3], torch.tensor([0, 1, 1]))
    judge.process(torch.eye(9)[3:4], torch.tensor([3]))
    judge.evaluate()
    lines = capsys.readouterr().out.splitlines()
    block = "=> result|* total: 1,234|* correct: 823|* accuracy: 83.33%|* error: 16.67%|* macro_f1: 91.67%"
    headline = "the headline; of all images together 66.69% are right (823 of 1,234)"
    assert lines[3:] == [*block.split("|"), f"83.33% is the mean over 2 tasks, {headline}"]
    matches = [line for line in lines if re.search(r"\* accuracy: ([\.\deE+-]+)%", line)]
    assert matches == ["* accuracy: 83.33%"]


def test_headline_is_explained_unless_it_is_plain_accuracy(capsys):
    for metric, count in (("accuracy", 0), ("mean_per_class", 1)):
        judge = evaluator(tasks=[FakeTask("day", ("day", "night"), metric)])
        judge.process(torch.eye(2)[[0, 0, 1, 0]], torch.tensor([0, 0, 0, 1]))
        judge.evaluate()
        assert capsys.readouterr().out.count("the headline") == count


def test_weak_tasks_are_named():
    logits, label = batch(seed=1)
    judge = evaluator()
    judge.process(logits, label)
    judge.evaluate()
    values, _, _ = by_loops(logits, label)
    constant = []
    for t, task in enumerate(TASKS):
        own = [y for y in label.tolist() if OFFSETS[t] <= y < OFFSETS[t + 1]]
        always = []
        for answer in set(own):
            recalls = [100 * (y == answer) for y in set(own)]
            right = 100 * own.count(answer) / len(own)
            always.append(right if task.metric == "accuracy" else sum(recalls) / len(recalls))
        constant.append(max(always))
    weak = [task.name for task, value, least in zip(TASKS, values, constant) if value < least - 1e-9]
    warnings = judge.weak_tasks([values[0] + 1, values[1], None])
    assert weak and warnings[0].startswith(f"{len(weak)} of 3 tasks below what always answering one class gives: ")
    assert all(name in warnings[0] for name in weak)
    assert warnings[1:] == [
        f"1 of 3 tasks below zero-shot, the hand-made prompts: shape ({values[0]:.2f}% against {values[0] + 1:.2f}%)"
    ]
    assert judge.task_values() == pytest.approx(values) and len(judge.weak_tasks()) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_logits_are_an_error(value):
    logits, label = batch()
    logits[label == 4, 3] = value
    with pytest.raises(FloatingPointError, match=rf"{int((label == 4).sum())} of 60 samples .*number of objects"):
        evaluator().process(logits, label)


def test_wrong_shapes_and_labels_are_refused():
    with pytest.raises(ValueError, match=r"logits of shape \(2, 8\) for 2 labels and 9 classes"):
        evaluator().process(torch.zeros(2, 8), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="labels from 0 to 9 for 9 classes"):
        evaluator().process(torch.zeros(2, 9), torch.tensor([0, 9]))
    with pytest.raises(ValueError, match="metric is 'recall'"):
        evaluator(tasks=[FakeTask("x", ("a", "b"), "recall")])
    with pytest.raises(ValueError, match="no test samples"):
        evaluator().evaluate()


@pytest.mark.parametrize("lab2cname", [None, dict(enumerate("abcdefghi"))])
def test_without_tasks_all_classes_are_one_task(lab2cname):
    judge = evaluator(tasks=None, lab2cname=lab2cname)
    judge.process(torch.eye(9), torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 0]))
    judge.process(torch.zeros(0, 9), torch.zeros(0, dtype=torch.long))
    assert judge.evaluate()["accuracy"] == pytest.approx(100 * 8 / 9)
    judge.reset()
    judge.process(torch.eye(9)[:1], torch.tensor([0]))
    assert judge.evaluate()["accuracy"] == 100


def test_per_class_recall_and_confusion_tables(tmp_path, capsys):
    judge = evaluator(TEST__PER_CLASS_RESULT=True, TEST__COMPUTE_CMAT=True, OUTPUT_DIR=str(tmp_path))
    judge.process(torch.eye(9)[[0, 1, 7]], torch.tensor([0, 0, 8]))
    results = judge.evaluate()
    assert results["perclass_accuracy"] == pytest.approx((50 + 0) / 2)
    assert "* class: 0 (square)\ttotal: 2\tcorrect: 1\tacc: 50.0%" in capsys.readouterr().out
    names = [f"cmat_{name}.csv" for name in ("day", "number_of_objects", "shape")]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (tmp_path / names[0]).read_text() == "true \\ predicted,day,night\nday,0,0\nnight,1,0\n"
