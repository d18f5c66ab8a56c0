"""A sweep from its arguments to its report: plan the runs, start those that are left, merge tasks, write the report."""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import Any

from tqdm import tqdm

from scripts.lib.queries import backbones_of, benchmark_tasks, missing, other_runs
from scripts.lib.train_run import BUSY, TrainRun
from softcpt.executors import LocalExecutor, SlurmExecutor
from softcpt.executors.slurm import job_states
from softcpt.files import describe, holder
from softcpt.sweeps.calls import Step, is_merged, merge_folder, select, state_of, steps_of
from softcpt.sweeps.failures import failure_of, note_failure
from softcpt.sweeps.jobs import default_config, plan, running_order, selected_tasks, without_config
from softcpt.sweeps.methods import Method, by_recipe, for_halves, leaving_out, on_backbone, on_benchmark, read_sweep


class Sweep:
    """The runs of one call of scripts/sweep.py.

    Args:
        args: from `parse_args`.
        elsewhere: calls a function in another process, so that this one need not import PyTorch.
    """

    def __init__(self, args: argparse.Namespace, elsewhere: Callable[..., Any]) -> None:
        self.args, self.elsewhere = args, elsewhere
        self.left_out: dict[str, str] = {}  # {label: why} of methods without runs, for the report
        # The tasks of a benchmark are read only if runs of single tasks need them.
        self.tasks_of: Callable[[str], list[str]] = cache(lambda name: elsewhere(benchmark_tasks, name, args.data))
        self.methods: dict[str, list[Method]] = {name: self._methods_on(name) for name in args.benchmarks}
        settings = (args.shots, args.seeds, args.config, args.steps, args.halves)
        jobs = [job for name, methods in self.methods.items() for job in plan(methods, name, *settings, args.data)]
        self.others: dict[str, str] = {}  # {run folder: what differs}: finished runs of other data or configs
        common = (args.data, args.out, self.tasks_of, self.others, "task" in args.only)
        self.steps = select(
            [step for job in sorted(jobs, key=running_order) for step in steps_of(job, *common)], args.only
        )
        if finished := [step for step in self.steps if step.finished]:
            self.others.update(elsewhere(other_runs, finished))

    # -- planning ----------------------------------------------------------------------------------------------------

    def _methods_on(self, benchmark: str) -> list[Method]:
        methods = on_benchmark(read_sweep(self.args.sweep), benchmark)
        methods = by_recipe(on_backbone(methods, self.args.backbone), self.args.recipe)
        config = self.args.config or default_config(benchmark)
        for label, configs in without_config(methods, config).items():
            self._leave_out(label, f"it has no config {config}, but {', '.join(configs)}")
        if any(method.leave_out for method in methods):
            methods = leaving_out(methods, self.tasks_of(benchmark))
        able = [method.label for method in for_halves(methods, self.args.halves)]
        for method in methods:
            if method.label not in able:
                self._leave_out(method.label, f"it cannot be tested on new {self.args.halves}")
        return methods

    def _leave_out(self, label: str, why: str) -> None:
        self.left_out[label] = why
        print(f"{label} is left out: {why}", file=sys.stderr)

    # -- running -----------------------------------------------------------------------------------------------------

    @cached_property
    def queue(self) -> dict[str, str]:
        """SLURM's unfinished jobs, {id: state}; {} without asking if no run was submitted."""
        return (job_states() or {}) if any(step.job_id() for step in self.steps if not step.done) else {}

    def to_do(self) -> list[Step]:
        """The steps to run, failed ones last; with --retry only these. Prints the steps that other processes run."""
        todo, failed = [], []
        for step in self.steps:
            if step.finished:
                continue
            state, detail = state_of(step, self.queue)
            elsewhere = state == "running" and step.job_id() not in self.queue
            if elsewhere or (state == "queued" and self.args.on != "slurm"):
                print(f"{step} is left to {detail}", file=sys.stderr)
            elif state == "failed":
                failed.append(step)
            else:
                todo.append(step)
        return failed if self.args.retry else todo + failed

    def missing(self, steps: Sequence[Step]) -> list[str]:
        """What the steps need and is not on this machine, a line for each data set and CLIP."""
        benchmarks = list(dict.fromkeys(step.job.benchmark for step in steps))
        return self.elsewhere(missing, benchmarks, self.args.data, backbones_of(step.job for step in steps))

    def refused(self) -> list[str]:
        """A line for each step whose folder holds the results of another run."""
        return [f"{step}: {step.other}" for step in self.steps if step.other]

    def run(self, steps: Sequence[Step], executor: LocalExecutor | SlurmExecutor) -> list[str]:
        """Run the steps that train, then those that evaluate on a new half. Returns a line per failure."""
        failed = self._run_together([step for step in steps if not step.loads], executor)
        loading = [step for step in steps if step.loads]
        failed += [f"{step}: it was not trained" for step in loading if not step.is_trained]
        failed += self._run_together([step for step in loading if step.is_trained], executor)
        executor.shutdown()
        return failed

    def _run_together(self, steps: Sequence[Step], executor: LocalExecutor | SlurmExecutor) -> list[str]:
        failed, futures = [], {}
        bar = tqdm(total=len(steps), unit="run", disable=not steps, dynamic_ncols=True)
        try:
            futures = self._submit(steps, executor)
            for future in executor.as_completed(futures):
                step = futures[future]
                what, lines = self._conclude(step, future)
                if what:
                    failed.append(f"{step}: {what}" + (f": {lines[-1]}" if lines else ""))
                    tqdm.write("\n    ".join([f"failed: {step}: {what}", *lines]), file=sys.stderr)
                bar.set_postfix_str(str(step), refresh=False)
                bar.update()
        except BaseException:
            executor.terminate_workers()
            if isinstance(executor, SlurmExecutor):
                jobs = sorted({future.job_id.split("_")[0] for future in futures if not future.done()})
                print(f"\nSLURM's jobs continue; to end them: scancel {' '.join(jobs)}", file=sys.stderr)
            else:
                for future, step in futures.items():
                    if not future.done() or future.cancelled() or future.exception():
                        step.clear()
            raise
        finally:
            bar.close()
        return failed

    def _submit(self, steps: Sequence[Step], executor: LocalExecutor | SlurmExecutor) -> dict[Any, Step]:
        """Submit the steps, except for those that are already in SLURM's queue. Returns {Future: step}."""
        queued = [step for step in steps if isinstance(executor, SlurmExecutor) and step.job_id() in self.queue]
        new = [step for step in steps if step not in queued]
        futures = dict(zip(executor.submit_all([TrainRun(step.arguments, step.folder) for step in new]), new))
        if isinstance(executor, SlurmExecutor):
            futures |= {executor.attach(step.job_id()): step for step in queued}
            for job, step in futures.items():
                step.note_job(job.job_id)
        return futures

    def _conclude(self, step: Step, future: Any) -> tuple[str, list[str]]:
        """Why a step failed and the last lines of its output; ("", []) if it succeeded."""
        try:
            status = future.result()
        except Exception as error:  # ProcessEndedError, CancelledError, or submitit's with the job's output
            note_failure(step.folder, str(error).replace("\nhas not produced", " has not produced"))
        else:
            if status == BUSY:
                owner = holder(step.folder)
                return f"left to {describe(owner)}" if owner else "left to a process that has ended since", []
            if status == 0 and not step.done:
                note_failure(step.folder, "it left no results")
        step.clear()
        if not step.done:
            return failure_of(step.folder)
        try:
            self.merge(step)
        except (ValueError, OSError) as error:
            return str(error), []
        return "", []

    # -- merging and the report --------------------------------------------------------------------------------------

    def merge(self, step: Step) -> None:
        """Write the record of a run that is trained once per task, when its last task is done."""
        folder = step.job.folder(self.args.out)
        if step.task and not is_merged(folder):
            tasks = self.tasks_of(step.job.benchmark)
            if all(part.done for part in step.parts(tasks)):
                merge_folder(folder, tasks, selected_tasks(step.job.benchmark))

    def merge_all(self) -> None:
        """Merge the runs whose last task was done when the sweep was stopped."""
        for step in self.steps:
            if step.task and step.done:
                self.merge(step)

    def report(self) -> None:
        """Write and print the report of this sweep's runs."""
        from softcpt import reports  # here, because the processes of runs need no pandas

        args = self.args
        folders = {step.job.folder(args.out) for step in self.steps if not step.other}
        methods = [method for own in self.methods.values() for method in own]
        if len(args.benchmarks) > 1:  # the report itself looks up what differs on each benchmark
            rows = by_recipe(on_backbone(read_sweep(args.sweep), args.backbone), args.recipe)
            methods = [row for row in rows if not row.leave_out] + [method for method in methods if method.leave_out]
        methods = list({method.label: method for method in methods}.values())
        common = {"steps": args.steps, "folders": folders, "reasons": {} if args.only else self.left_out}
        if args.halves:
            files = reports.HALVES_FILES
            text = reports.write_halves_report(args.runs, args.to, methods, args.halves, **common)
        else:
            files = reports.REPORT_FILES
            text = reports.write_report(args.runs, args.to, methods, args.paper, **common)
        print(f"{text}\nWritten to {args.to}: {', '.join(files)}")
