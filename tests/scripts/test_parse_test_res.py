"""CoOp's parser of logs: its output on logs of this project and of upstream, against numbers worked out by hand."""

import pytest

import parse_test_res

UPSTREAM = """epoch [200/200] batch [1/1] loss 0.1 acc 100.0
=> result
* total: 10
* accuracy: 11.0%
{end}
=> result
* total: 8,041
* correct: 5,951
* accuracy: {value}%
* error: {error}%
* macro_f1: 70.5%
"""


def write(folder, value, end="Finish training", name="log.txt"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(UPSTREAM.format(value=value, error=100 - value, end=end))


def test_summary_is_mean_and_deviation_over_seeds(tmp_path, capsys):
    for seed, (value, end) in enumerate([(70.0, "Finish training"), (74.0, "Finished training")], 1):
        write(tmp_path / f"seed{seed}", value, end)
    (tmp_path / "report.md").write_text("")
    (tmp_path / ".hidden").mkdir()
    assert parse_test_res.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"Parsing files in {tmp_path}",
        f"file: {tmp_path}/seed1/log.txt. accuracy: 70.00%. ",
        f"file: {tmp_path}/seed2/log.txt. accuracy: 74.00%. ",
        "===",
        f"Summary of directory: {tmp_path}",
        "* accuracy: 72.00% +- 2.00%",
        "===",
    ]
    assert parse_test_res.main([str(tmp_path), "--ci95", "--keyword", "error"]) == 0
    assert "* error: 28.00% +- 2.77%" in capsys.readouterr().out  # 1.96 * 2 / sqrt(2)


def test_several_experiments_end_with_their_average(tmp_path, capsys):
    for name, value in (("a", 60.0), ("b", 70.0)):
        write(tmp_path / name / "seed1", value)
    assert parse_test_res.main([str(tmp_path), "--multi-exp"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["Average performance", "* accuracy: 65.00%"]


def test_message_says_what_to_change(tmp_path, capsys):
    write(tmp_path / "a" / "seed1", 60.0)
    for arguments, end in (
        ([str(tmp_path)], "it holds folders of runs: name one of them, or add --multi-exp\n"),
        ([str(tmp_path / "a"), "--keyword", "f1"], "--keyword is usually one of accuracy, error, macro_f1\n"),
    ):
        assert parse_test_res.main(arguments) == 1
        assert capsys.readouterr().err.endswith(end)


def test_evaluation_logs_need_a_flag_and_resumed_runs_count(tmp_path, capsys):
    (tmp_path / "e" / "seed1").mkdir(parents=True)
    (tmp_path / "e" / "seed1" / "log.txt").write_text("=> result\n* accuracy: 50.00%\n")
    assert parse_test_res.main([str(tmp_path / "e")]) == 1
    error = capsys.readouterr().err
    assert "Nothing found" in error and error.endswith(
        "they are logs of evaluations, or of methods that are not trained: add --test-log\n"
    )
    for place in ("e", "e/seed1"):
        assert parse_test_res.main([str(tmp_path / place), "--test-log"]) == 0
        assert "* accuracy: 50.00% +- 0.00%" in capsys.readouterr().out
    assert parse_test_res.main([str(tmp_path), "--test-log", "--multi-exp", "--ci95"]) == 0
    assert capsys.readouterr().out.endswith("Average performance\n* accuracy: 50.00%\n")
    (tmp_path / "r" / "seed1").mkdir(parents=True)
    (tmp_path / "r" / "seed1" / "log.txt").write_text("epoch [1/50]\n")
    write(tmp_path / "r" / "seed1", 66.0, name="log.txt-2030-01-02-03-04-05")
    assert parse_test_res.main([str(tmp_path / "r")]) == 0
    assert "* accuracy: 66.00% +- 0.00%" in capsys.readouterr().out


def test_unfinished_run_is_named_and_merged_run_read(tmp_path, capsys):
    (tmp_path / "seed1").mkdir()
    (tmp_path / "seed1" / "log.txt").write_text("epoch [1/50] batch [1/1] acc 90.0\n* accuracy: 99.00%\n")
    (tmp_path / "seed2").mkdir()
    (tmp_path / "seed2" / "results.json").write_text('{"metric": 61.5}')
    assert parse_test_res.main([str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert "* accuracy: 61.50% +- 0.00%" in captured.out and f"{tmp_path}/seed1: skipped, no accuracy" in captured.err
    assert parse_test_res.main([str(tmp_path / "nowhere")]) == 1


@pytest.mark.parametrize("text, value", [("* accuracy: 1e1%", 10.0), ("task 1/2 (x): 83.00% accuracy, n = 3", None)])
def test_only_result_lines_count(text, value):
    assert parse_test_res.last_value(f"Finish training\n{text}", "accuracy") == value
