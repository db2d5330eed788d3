"""headrace bench: how fast a `.hrm` file runs, where the time goes, and how another engine does on the same model."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import click

from headrace.compiler.cli._options import device_options, shape_options


@click.command()
@click.argument("artefact", type=click.Path(path_type=Path))
@click.option("--against", nargs=2, metavar="ENGINE MODEL.onnx", help="Compare with `onnxruntime` on this model.")
@click.option("--kernels", is_flag=True, help="Time each kernel, and compare with what this machine can do.")
@click.option("--trace", type=click.Path(path_type=Path), help="Write one run as a trace for Perfetto.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads to use.")
@device_options
@click.option("--rounds", type=click.IntRange(min=2), default=11, show_default=True, help="Rounds of each engine.")
@click.option("--input", "inputs", multiple=True, metavar="NAME=FILE.npy", help="An input, instead of a random one.")
@shape_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    artefact: Path,
    against: tuple[str, str] | None,
    kernels: bool,
    trace: Path | None,
    threads: int,
    device: str | None,
    drivers: tuple[Path, ...],
    rounds: int,
    inputs: tuple[str, ...],
    shapes: dict[str, list[int | str]],
    as_json: bool,
) -> None:
    """Measure ARTEFACT: time of a run, of loading, and memory."""
    from headrace.compiler.cli._arrays import read_named
    from headrace.compiler.files import write_text
    from headrace.compiler.measure.engines import PEERS, headrace, largest_error
    from headrace.compiler.measure.inputs import inputs_for
    from headrace.compiler.measure.loading import load_times, memory_use
    from headrace.compiler.measure.profile import profile
    from headrace.compiler.measure.roofline import measure
    from headrace.compiler.measure.rounds import interleaved
    from headrace.compiler.reports import bench as report
    from headrace.compiler.reports.trace import trace as trace_of
    from headrace.ir.errors import OptionError, nearest
    from headrace.runtime.python import load

    if against is not None and against[0] not in PEERS:
        raise OptionError(f"--against {against[0]!r}{nearest(against[0], PEERS)}; expected {', '.join(PEERS)}")
    opened = partial(load, artefact, threads=threads, device=device, drivers=drivers)
    session = opened()
    arrays = inputs_for(session.inputs, shapes, read_named(inputs))
    engines = [headrace(session, arrays)]
    if against is not None:
        engines.append(PEERS[against[0]](Path(against[1]), arrays, threads))
    times = interleaved(engines, rounds)
    error = largest_error(engines[0].outputs(), engines[1].outputs()) if against is not None else None

    recording = opened(record=True)
    outputs = engines[0].outputs()
    memory = memory_use(recording, arrays, outputs)
    profiled = profile(recording, lambda: recording.run(arrays, outputs=outputs)) if kernels or trace else None
    if trace is not None and profiled is not None:
        write_text(trace, json.dumps(trace_of(profiled.last, artefact.name)) + "\n")
    bench = report.Bench(
        artefact,
        session.target,
        threads,
        {name: array.shape for name, array in arrays.items()},
        [(engine.name, engine.version, found) for engine, found in zip(engines, times, strict=True)],
        error,
        load_times(opened),
        memory,
        profiled if kernels else None,
        measure(session.target, threads) if kernels else None,
    )
    if as_json:
        click.echo(json.dumps(report.as_dict(bench), indent=1))
    else:
        for line in report.lines(bench):
            click.echo(line)
