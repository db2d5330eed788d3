"""headrace demo: compile a small trained network and recognise handwritten digits with it."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

SHOWN = 6  # images side by side
SHADES = " .:-=+*#%@"


@click.command()
@click.option("--keep", type=click.Path(path_type=Path, dir_okay=False), help="Keep the compiled model in this file.")
@click.option("--target", default="host", show_default=True, help="What to generate code for.")
def command(keep: Path | None, target: str) -> None:
    """Compile a network that reads digits, run it on images it never saw, and say how well it did."""
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        run_demo(keep or Path(folder) / "digits.hrm", target)


def run_demo(artefact: Path, target: str) -> None:
    """Everything the command shows, in order."""
    from headrace.compiler.demo_data import held_back, model_path, preprocess
    from headrace.compiler.driver import compile
    from headrace.runtime.python import load

    report = compile(model_path(), output=artefact, target=target)
    click.echo(f"compiled {model_path().name} for {', '.join(report.targets)}: {report.artefact_bytes:,} bytes")
    for stage, seconds in report.stages:
        click.echo(f"  {stage:<12} {seconds * 1e3:8.1f} ms")

    started = time.perf_counter()
    session = load(artefact)
    loaded = time.perf_counter()
    images, labels = held_back()
    scores = session.run({"image": preprocess(images)})["probabilities"]
    done = time.perf_counter()
    click.echo(f"  {'load':<12} {(loaded - started) * 1e3:8.1f} ms")
    click.echo(f"  {'run':<12} {(done - loaded) * 1e3:8.1f} ms for {len(images)} images")

    recognised = scores.argmax(axis=1)
    click.echo()
    for line in drawn(images[:SHOWN]):
        click.echo(line)
    click.echo("   ".join(f"{'read as ' + str(d):<16}" for d in recognised[:SHOWN]).rstrip())
    click.echo()
    click.echo(f"accuracy on held-back images: {100 * np.mean(recognised == labels):.1f} %")


def drawn(images: np.ndarray[Any, Any]) -> list[str]:
    """Images of pixels from 0 to 16 side by side, two characters a pixel."""
    rows = []
    for row in range(images.shape[1]):
        cells = ["".join(SHADES[int(p) * (len(SHADES) - 1) // 16] * 2 for p in image[row]) for image in images]
        rows.append("   ".join(cells).rstrip())
    return rows
