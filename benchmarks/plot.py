"""Pictures for the reports: CPU of an event in each case, and a worker's figures over a soak."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.cases import FULL_PATH
from benchmarks.catalogue import BY_NAME
from benchmarks.own_cases import OWN_CASES
from benchmarks.soak_report import FIGURES, JUDGED_FROM, Soak
from benchmarks.summary import Figures

OWN_COLOUR, OTHER_COLOUR = "#2563eb", "#94a3b8"
WIDTH_IN, ROW_IN, REST_IN, SOAK_ROW_IN, DPI = 12.0, 0.32, 1.0, 1.8, 110


def draw(figures: Mapping[str, Figures], file: Path) -> None:
    """Writes the picture; its kind is the file's ending."""
    mpl.use("agg")
    names = sorted(figures, key=lambda name: figures[name].cpu_us_per_event.median, reverse=True)
    own = {FULL_PATH, *(case.name for case in OWN_CASES)}
    medians = [figures[name].cpu_us_per_event.median for name in names]
    below = [figures[name].cpu_us_per_event.median - figures[name].cpu_us_per_event.min for name in names]
    above = [figures[name].cpu_us_per_event.max - figures[name].cpu_us_per_event.median for name in names]
    figure = Figure(figsize=(WIDTH_IN, REST_IN + ROW_IN * len(names)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(
        [BY_NAME[name].title.strip("*").replace("`", "") for name in names],
        medians,
        xerr=[below, above],
        color=[OWN_COLOUR if name in own else OTHER_COLOUR for name in names],
        ecolor="#475569",
    )
    axes.bar_label(bars, [f"{median:,.1f}" for median in medians], padding=4)
    axes.set_xscale("log")
    axes.margins(x=0.15, y=0.01)
    axes.set_xlabel("CPU µs per event, logarithmic: median, least to greatest")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=DPI)


def draw_soak(soak: Soak, file: Path) -> None:
    """Each figure over the minutes, with the line through its last two thirds."""
    mpl.use("agg")
    figure = Figure(figsize=(WIDTH_IN, SOAK_ROW_IN * len(FIGURES)), layout="constrained")
    minutes = [reading.at_s / 60 for reading in soak.readings]
    judged = minutes[round(len(minutes) * JUDGED_FROM) :]
    for axes, (name, (title, unit, _)) in zip(figure.subplots(len(FIGURES), sharex=True), FIGURES.items(), strict=True):
        axes.plot(minutes, [getattr(reading, name) / unit for reading in soak.readings], color=OWN_COLOUR)
        line = soak.line(name)
        axes.plot(judged, [line.at(at / 60) / unit for at in judged], color="#475569", linestyle="--")
        axes.set_title(title, loc="left", fontsize="medium")
        axes.margins(x=0)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[-1].set_xlabel("minutes; dashed: the line through the last two thirds")
    figure.savefig(file, dpi=DPI)
