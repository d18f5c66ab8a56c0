"""Figures of results: colours, order, and what is drawn."""

from matplotlib.colors import to_hex
from records import RUNS, record, section_of

from softcpt.reports.base_to_new import base_to_new, base_to_new_summary
from softcpt.reports.plots import MOST_SECTIONS, accuracy_figure, halves_figure, tasks_figure
from softcpt.reports.styles import GREY, color_of, colors, highlights
from softcpt.reports.tables import AVERAGE, results_frame, summarise

MANY = [
    *RUNS,
    record("ProLIP", "", 1, 1, (60.0, 61.0)),
    record("ProLIP", "", 16, 1, (50.0, 51.0)),
    *(record("PLOT", f"v{i}", shots, 1, (20.0 + i, 30.0)) for i in range(5) for shots in (1, 16)),
    record("SoftCPT", "NATS", 1, 1, (90.0, 90.0)),
    record("SoftCPT", "NATS", 16, 1, (90.0, 90.0)),
    record("KgCoOp", "", 1, 1, (99.0, 99.0)),
]


def test_only_softcpt_and_its_best_rival_are_coloured():
    section = section_of(MANY)
    stressed = highlights(section)
    # KgCoOp is better, but only ran with one shot; SoftCPT's own variants are not rivals.
    assert (stressed.hero, stressed.rival) == ("SoftCPT NATA", "ProLIP")
    assert stressed.why == "Best rival, by the mean over the 2 numbers of shots: ProLIP (55.5)."
    shown = colors(section, stressed)
    assert {name for name, color in shown.items() if color != GREY} == {"SoftCPT NATA", "ProLIP", "ZeroshotCLIP"}
    without = highlights(section_of([run for run in MANY if run["trainer"] != "SoftCPT"]))
    assert (without.hero, without.rival) == ("ProLIP", "PLOT v4")
    assert highlights(section_of(RUNS[:1])).why == ""


def test_method_has_one_colour_in_all_figures():
    for runs in (MANY, RUNS):
        section = section_of(runs)
        shown = colors(section, highlights(section))
        coloured = {name: color for name, color in shown.items() if color != GREY and name != "ZeroshotCLIP"}
        assert coloured == {name: color_of(name) for name in coloured} and "SoftCPT NATA" in coloured
        summary = summarise(results_frame(runs))
        for figure in (accuracy_figure(summary), tasks_figure(summary)):
            drawn = {to_hex(color).upper() for axes in figure.axes for color in drawn_colors(axes)}
            assert set(coloured.values()) <= drawn
    assert color_of("SoftCPT NATA") == color_of("softcpt-nata")


def drawn_colors(axes):
    lines = [line.get_color() for line in axes.lines]
    return lines + [color for collection in axes.collections for color in collection.get_edgecolor()]


def test_main_figure_ranks_methods_at_each_number_of_shots():
    figure = accuracy_figure(summarise(results_frame(RUNS)))
    assert [axes.get_title() for axes in figure.axes] == ["1 shot", "16 shots"]
    names = [[label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes]
    assert names == [["ZeroshotCLIP", "SoftCPT NATA", "CoOp"], ["ZeroshotCLIP", "SoftCPT NATA"]], "from bottom to top"
    assert [text.get_text() for text in figure.axes[0].texts] == ["40.0", "47.5", "48.0"]


def test_one_number_of_shots_is_drawn_as_bars():
    summary = summarise(results_frame([run for run in RUNS if run["shots"] < 2]))
    (axes,) = accuracy_figure(summary).axes
    assert [bar.get_width() for bar in axes.patches] == [40, 47.5, 48]
    assert axes.get_xlim()[0] == 0
    figure = tasks_figure(summary)
    assert [axes.get_title() for axes in figure.axes] == [AVERAGE, "shape", "number of objects"]
    assert all(axes.get_xlim() == (0, 100) and len(axes.patches) == 3 for axes in figure.axes)


def test_curves_are_labelled_and_hold_the_means():
    figure = tasks_figure(summarise(results_frame(MANY)))
    assert [axes.get_title() for axes in figure.axes] == [AVERAGE, "shape", "number of objects"]
    large = figure.axes[0]
    assert {text.get_text() for text in large.texts} == {"SoftCPT NATA", "ProLIP", "ZeroshotCLIP"}
    assert [large.get_xscale(), large.get_xticks().tolist()] == ["log", [1, 16]]
    handles, labels = large.get_legend_handles_labels()
    assert list(handles[labels.index("SoftCPT NATA")].lines[0].get_ydata()) == [47.5, 61.0]
    assert not figure.axes[1].texts


def test_only_the_first_sections_are_drawn():
    runs = [{**record(), "dataset": f"d{i}"} for i in range(MOST_SECTIONS + 2)]
    assert len(accuracy_figure(summarise(results_frame(runs))).axes) == MOST_SECTIONS


def test_halves_figure_ranks_base_new_and_h():
    halves = {"base": 60.0, "new": 40.0}
    runs = [record(split=f"test-{half}-classes", values=(value,), n=(10,)) for half, value in halves.items()]
    figure = halves_figure(base_to_new_summary(base_to_new(runs)), "classes")
    assert [axes.get_title() for axes in figure.axes] == ["base classes", "new classes", "harmonic mean H"]
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["60.0", "40.0", "48.0"]


def test_long_names_of_tasks_and_intervals_are_said_in_few_words():
    runs = [record(seed=seed) for seed in (1, 2)]
    for run in runs:
        run["tasks"][0]["name"] = "recognition of mushrooms " * 6
    figure = tasks_figure(summarise(results_frame(runs)))
    title = figure.axes[1].get_title()
    assert title.count("\n") == 2 and "…" in title
    assert figure.axes[0].get_xlabel().endswith("(%), ± s.d. over seeds"), "what the intervals are"
    alone = tasks_figure(summarise(results_frame(runs[:1])))
    assert alone.axes[0].get_xlabel().endswith("(%)")
