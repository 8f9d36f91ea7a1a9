"""`fraudstream replay`: verdicts for a file, by the pipeline that the worker runs."""

from __future__ import annotations

import time
from pathlib import Path

import click

from fraudstream.cli.output import columns_option, json_option, progress, say, write_json
from fraudstream.settings import load_settings


@click.command()
@click.option("--input", "source", type=click.Path(path_type=Path), required=True, help="A .parquet or .csv file.")
@click.option("--model", type=click.Path(path_type=Path), help="A model directory; by default MODEL_DIR's.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="A .parquet, .csv or .jsonl file."
)
@click.option("--features", is_flag=True, help="Write the features as well.")
@click.option("--rows", type=click.IntRange(min=1), help="Only the earliest so many.")
@columns_option
@json_option
def replay(
    source: Path,
    model: Path | None,
    out: Path,
    features: bool,
    rows: int | None,
    columns: dict[str, str],
    json_file: Path | None,
) -> None:
    """Judges a file of transactions offline, in the order of their time, on all cores."""
    from fraudstream.detector import load_detector
    from fraudstream.training.history import read_history
    from fraudstream.training.judge import judge
    from fraudstream.training.verdict_files import VerdictFile

    detector = load_detector(load_settings(**({"model_dir": model} if model else {})))
    history = read_history(source, columns, rows=rows)
    flagged, refused = 0, len(history)
    started_s = time.perf_counter()
    with VerdictFile(out, with_features=features) as file, progress("replay", len(history)) as advance:
        for done, judged in judge(detector, history):
            file.add(judged)
            flagged += int(judged.verdicts.flagged.sum())
            refused -= len(judged)
            advance(done)
    rate = round(len(history) / (time.perf_counter() - started_s), 1)
    say(f"{out}: {len(history) - refused:,} verdicts, {flagged:,} flagged, {refused:,} refused; {rate:,.0f} rows/s")
    write_json(
        json_file,
        {
            "rows": len(history),
            "rows_per_second": rate,
            "flagged": flagged,
            "refused": refused,
            "model_version": detector.model_version,
        },
    )
