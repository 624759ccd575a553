"""The sample programs: pictures that decode, frames that repeat, a simulation that survives being interrupted."""

import io
import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openjd.model import (
    DocumentType,
    StepParameterSpaceIterator,
    SymbolTable,
    create_job,
    decode_job_template,
    document_string_to_object,
    preprocess_job_parameters,
)

from adapters.samples import contract, gravity, nbody, png, render, trace
from adapters.samples.scene import scene_at
from adapters.samples.trace import Frame

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = Path(render.__file__).with_name("render.yaml")
SMALL_FRAME = ["--frame", "3", "--frames", "8", "--size", "64x36", "--samples", "1"]
BODIES, STEPS = 40, 600


def run_sample(*arguments: str, **extra_environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=sample_environment(**extra_environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def sample_environment(**extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
    return {**kept, "PYTHONPATH": str(ROOT), **extra}


def said(output: str, key: str) -> list[str]:
    """Return what the program said under one key, in order."""
    return [line.removeprefix(f"{key}: ") for line in output.splitlines() if line.startswith(f"{key}: ")]


def some_picture(height: int = 7, width: int = 5, seed: int = 1) -> png.Picture:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_a_picture_decodes_with_zlib_and_the_rule_of_the_filter_alone() -> None:
    picture = some_picture(height=3, width=2)
    content = png.encode(picture)
    assert struct.unpack(">II", content[16:24]) == (2, 3)  # width, height
    length = int.from_bytes(content[33:37], "big")  # 8 signature + 25 header chunk
    assert content[37:41] == b"IDAT"
    raw = zlib.decompress(content[41 : 41 + length])
    above = [0] * 6
    for row in range(3):
        filter_type, *differences = raw[row * 7 : row * 7 + 7]
        assert filter_type == 2  # "up": each byte is the difference from the one above
        above = [(up + difference) % 256 for up, difference in zip(above, differences, strict=True)]
        assert above == picture[row].ravel().tolist()


def test_reading_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "picture.png"
    png.write_png(path, some_picture())
    assert (png.read_png(path) == some_picture()).all()
    assert [file.name for file in path.parent.iterdir()] == ["picture.png"]


@pytest.mark.parametrize("position", [0, 20, 50, -3])
def test_a_damaged_picture_is_refused_by_name(tmp_path: Path, position: int) -> None:
    content = bytearray(png.encode(some_picture()))
    content[position] ^= 0xFF
    (tmp_path / "damaged.png").write_bytes(content)
    with pytest.raises(png.PngError, match=r"damaged\.png"):
        png.read_png(tmp_path / "damaged.png")


def test_a_picture_cut_short_anywhere_is_refused() -> None:
    content = png.encode(some_picture())
    for length in range(len(content)):
        with pytest.raises(png.PngError):
            png.decode(content[:length])


def test_a_contact_sheet_shows_the_frames_in_reading_order_with_gaps(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        png.write_png(path, some_picture(seed=number))
    sheet = png.contact_sheet(paths, columns=3)
    # Two rows of 7 and three columns of 5 pixels, with gaps of 4 between and around them.
    assert sheet.shape == (4 + 7 + 4 + 7 + 4, 4 + 5 + 4 + 5 + 4 + 5 + 4, 3)
    assert (sheet[4:11, 4:9] == some_picture(seed=0)).all()
    assert (sheet[15:22, 13:18] == some_picture(seed=4)).all()
    assert (sheet[15:22, 22:27] == sheet[0, 0]).all()  # the place of a sixth frame stays empty


def test_a_contact_sheet_of_few_frames_is_no_wider_than_they_are(tmp_path: Path) -> None:
    png.write_png(tmp_path / "only.png", some_picture())
    assert png.contact_sheet([tmp_path / "only.png"], columns=6).shape == (15, 13, 3)


def test_a_contact_sheet_needs_frames_of_one_size(tmp_path: Path) -> None:
    png.write_png(tmp_path / "a.png", some_picture())
    png.write_png(tmp_path / "b.png", some_picture(height=8))
    with pytest.raises(ValueError, match=r"b\.png is 5x8, the first is 5x7"):
        png.contact_sheet([tmp_path / "a.png", tmp_path / "b.png"], columns=2)
    with pytest.raises(ValueError, match="at least one picture"):
        png.contact_sheet([], columns=2)


class Onlooker(io.StringIO):
    """Reads the announced picture at the moment of its announcement, as an artist's viewer would."""

    seen: png.Picture | None = None

    def write(self, text: str) -> int:
        if text.startswith("milepost_partial: "):
            self.seen = png.read_png(Path(json.loads(text.removeprefix("milepost_partial: "))["path"]))
        return super().write(text)


def test_a_frame_can_be_looked_at_before_it_is_finished(tmp_path: Path) -> None:
    onlooker = Onlooker()
    with redirect_stdout(onlooker):
        assert render.main([*SMALL_FRAME, "--out", str(tmp_path)]) == 0
    path = tmp_path / "frame_0003.png"
    (announced,) = map(json.loads, said(onlooker.getvalue(), "milepost_partial"))
    assert (announced["path"], announced["quality"]) == (str(path), 25)
    assert announced["seconds"] >= 0
    assert onlooker.seen is not None
    assert (onlooker.seen == render.coarse(scene_at(3 / 8), 64, 36)).all()
    full = png.read_png(path)
    assert full.shape == onlooker.seen.shape == (36, 64, 3)
    assert (full != onlooker.seen).any()


def test_progress_only_grows_and_ends_with_100_after_the_partial_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    render.main([*SMALL_FRAME, "--size", "200x120", "--samples", "2", "--out", str(tmp_path)])
    output = capsys.readouterr().out
    progress = [int(value) for value in said(output, "openjd_progress")]
    assert progress == sorted(set(progress))
    assert progress[-1] == 100
    assert len(progress) > 3
    assert output.index("milepost_partial") < output.index("openjd_progress")


def test_a_frame_rendered_again_by_another_process_has_the_same_bytes(tmp_path: Path) -> None:
    render.main([*SMALL_FRAME, "--out", str(tmp_path / "here")])
    again = run_sample("-m", "adapters.samples.render", *SMALL_FRAME, MILEPOST_OUTPUT_DIR=str(tmp_path / "there"))
    assert again.returncode == 0, again.stderr
    frames = [(tmp_path / folder / "frame_0003.png").read_bytes() for folder in ("here", "there")]
    assert frames[0] == frames[1]


def test_the_animation_moves_and_its_end_meets_its_beginning() -> None:
    frames = [render.coarse(scene_at(number / 24), 64, 36).astype(int) for number in (0, 1, 24)]
    assert np.abs(frames[0] - frames[1]).mean() > 1
    assert np.abs(frames[0] - frames[2]).max() <= 2  # the same but for rounding


def test_rows_rendered_in_blocks_are_the_rows_of_the_whole() -> None:
    frame = Frame(40, 24, 2)
    whole = trace.render(scene_at(0.3), frame, 0, 24)
    assert (trace.render(scene_at(0.3), frame, 10, 17) == whole[10:17]).all()


def test_spheres_never_touch_each_other_or_sink_into_the_floor() -> None:
    for number in range(96):
        scene = scene_at(number / 96)
        balls = [*scene.spheres, scene.lamp]
        assert all(ball.centre[1] >= ball.radius - 1e-9 for ball in balls)
        for index, ball in enumerate(balls):
            for other in balls[:index]:
                assert np.hypot.reduce(np.subtract(ball.centre, other.centre)) > ball.radius + other.radius


@pytest.mark.parametrize("wrong", [["--size", "320"], ["--size", "0x10"], ["--samples", "0"], ["--frame", "-1"]])
def test_a_wrong_argument_ends_with_exit_code_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        render.main([*SMALL_FRAME, *wrong])
    assert leaving.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_a_frame_that_cannot_be_written_fails_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert render.main([*SMALL_FRAME, "--out", str(tmp_path / "file")]) == 1
    assert said(capsys.readouterr().out, "openjd_fail")[0].startswith("cannot write")


@pytest.mark.parametrize("program", ["render", "nbody"])
def test_without_numpy_the_extra_is_named_and_the_exit_code_is_2(program: str) -> None:
    result = run_sample("-S", "-m", f"adapters.samples.{program}")  # -S: without installed packages
    assert result.returncode == 2
    assert result.stderr == "the samples need NumPy: pip install 'milepost[samples]'\n"
    assert said(result.stdout, "openjd_fail") == [result.stderr.strip()]


def test_two_bodies_pull_each_other_by_newtons_law() -> None:
    # Distance 5 (3, 4, 0), each of mass 1/2: the pull is 0.5 / 25 towards the other, almost untouched by softening.
    position = np.array([[0.0, 3.0], [0.0, 4.0], [0.0, 0.0]])
    pull = gravity.Gravity(2).accelerations(position)
    np.testing.assert_allclose(pull[:, 0], [0.02 * 3 / 5, 0.02 * 4 / 5, 0.0], rtol=1e-4)
    np.testing.assert_array_equal(pull[:, 1], -pull[:, 0])
    bodies = gravity.Bodies(position, np.array([[0.0, 1.0], [0.0, 0.0], [2.0, 0.0]]), np.array([0, 1], np.int8))
    assert gravity.kinetic_energy(bodies) == 0.5 * 0.5 * (2.0**2 + 1.0**2)
    assert gravity.potential_energy(bodies) == pytest.approx(-0.25 / 5, rel=1e-4)


def test_a_circular_orbit_closes_after_its_period() -> None:
    # Two masses of 1/2 at distance 1: angular speed sqrt(1 / 1³) = 1, so each moves at 1/2 and the period is 2 pi.
    position = np.array([[0.5, -0.5], [0.0, 0.0], [0.0, 0.0]])
    velocity = np.array([[0.0, 0.0], [0.5, -0.5], [0.0, 0.0]])
    bodies = gravity.Bodies(position, velocity, np.array([0, 1], np.int8))
    for _ in range(16):  # 16 steps are one time unit, an angle of about one radian
        bodies = gravity.advance(bodies)
    np.testing.assert_allclose(bodies.position[:2, 0], [0.5 * np.cos(1), 0.5 * np.sin(1)], atol=2e-3)


def test_the_clusters_start_at_rest_as_a_whole_and_bound() -> None:
    percentages: list[int] = []
    bodies = gravity.two_clusters(BODIES + 1, 1, percentages.append)
    assert np.bincount(bodies.family).tolist() == [21, 20]
    np.testing.assert_allclose(bodies.position.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(bodies.velocity.mean(axis=1), 0, atol=1e-12)
    assert gravity.total_energy(bodies) < 0
    assert percentages == sorted(percentages)
    assert percentages[-1] == 100


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nbody") / "start.npz"
    assert nbody.main(["--stage", "relax", "--bodies", str(BODIES), "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def uninterrupted(start: Path) -> Path:
    path = start.with_name("uninterrupted.npz")
    result = run_sample(*evolve(start, path))
    assert result.returncode == 0, result.stderr
    return path


def evolve(start: Path, target: Path, steps: int = STEPS) -> list[str]:
    stage = ["-m", "adapters.samples.nbody", "--stage", "evolve", "--steps", str(steps), "--checkpoint-every", "20"]
    return [*stage, "--in", str(start), "--out", str(target)]


def interrupt_at_first_checkpoint(start: Path, target: Path, folder: Path) -> str:
    """Start the run, ask it to leave when its first checkpoint is announced, and return all it said."""
    environment = sample_environment(MILEPOST_CHECKPOINT_DIR=str(folder))
    command = [sys.executable, *evolve(start, target)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("milepost_checkpoint") and len(said("".join(lines), "milepost_checkpoint")) == 1:
                process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 143
    return "".join(lines)


@pytest.mark.slow
def test_interrupted_and_resumed_the_simulation_ends_with_the_same_bytes(
    start: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    target = tmp_path / "resumed.npz"
    output = interrupt_at_first_checkpoint(start, target, tmp_path)
    assert not target.exists()
    last = json.loads(said(output, "milepost_checkpoint")[-1])
    step = int(Path(last["path"]).stem.removeprefix("evolve-"))
    assert 20 < step < STEPS
    assert last["progress"] == 100 * step // STEPS
    resumed = run_sample(*evolve(start, target), MILEPOST_RESTORE_FROM=last["path"])
    assert resumed.returncode == 0, resumed.stderr
    assert said(resumed.stdout, "openjd_status")[0] == f"resumed from step {step} of {STEPS}"
    progress = [int(value) for value in said(resumed.stdout, "openjd_progress")]
    assert progress == sorted(progress)
    assert (progress[0], progress[-1]) == (last["progress"], 100)
    assert target.read_bytes() == uninterrupted.read_bytes()


def test_the_analysis_measures_and_draws_the_run(uninterrupted: Path, tmp_path: Path) -> None:
    target = tmp_path / "measures.json"
    assert nbody.main(["--stage", "analyse", "--in", str(uninterrupted), "--out", str(target)]) == 0
    measures = json.loads(target.read_text())
    assert (measures["bodies"], measures["steps"], measures["time"]) == (BODIES, STEPS, STEPS / 16)
    assert 0 < measures["energy_drift"] < 1e-4
    radii = list(measures["radius_percentiles"].values())
    assert radii == sorted(radii)
    picture = png.read_png(target.with_suffix(".png"))
    assert picture.shape == (640, 640, 3)
    assert (picture.max(axis=2) > 200).sum() > BODIES / 2  # stars are bright, most of them in view


def test_a_checkpoint_of_another_run_is_refused(
    start: Path,
    uninterrupted: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = tmp_path / "other.npz"
    nbody.main(["--stage", "relax", "--bodies", str(BODIES), "--seed", "2", "--out", str(other)])
    monkeypatch.setenv("MILEPOST_RESTORE_FROM", str(other))
    assert nbody.main([*evolve(start, tmp_path / "out.npz")[2:]]) == 1
    assert "belongs to another run" in said(capsys.readouterr().out, "openjd_fail")[0]
    monkeypatch.setenv("MILEPOST_RESTORE_FROM", str(uninterrupted))
    assert nbody.main([*evolve(start, tmp_path / "out.npz", steps=10)[2:]]) == 1
    assert "beyond the 10 asked for" in said(capsys.readouterr().out, "openjd_fail")[0]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_fails_with_its_name(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(content)
    assert nbody.main(["--stage", "analyse", "--in", str(damaged), "--out", str(tmp_path / "m.json")]) == 1
    assert said(capsys.readouterr().out, "openjd_fail") == [f"{damaged} is damaged or not a file of this program"]
    assert nbody.main(["--stage", "analyse", "--in", str(tmp_path / "none"), "--out", str(tmp_path / "m.json")]) == 1
    assert "No such file" in said(capsys.readouterr().out, "openjd_fail")[0]


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="folder"):
        contract.write_atomically(tmp_path / "folder", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def job_of_template(folder: Path, **values: str) -> Any:
    content = document_string_to_object(document=TEMPLATE.read_text(), document_type=DocumentType.YAML)
    template = decode_job_template(template=content)
    parameters = preprocess_job_parameters(
        job_template=template, job_parameter_values=values, job_template_dir=folder, current_working_dir=folder
    )
    return create_job(job_template=template, job_parameter_values=parameters)


def test_the_template_makes_one_task_per_frame(tmp_path: Path) -> None:
    job = job_of_template(tmp_path)
    assert job.name == "Spheres at dusk, frames 1 to 24"
    (step,) = job.steps
    frames = [task["Frame"].value for task in StepParameterSpaceIterator(space=step.parameterSpace)]
    assert frames == [str(number) for number in range(1, 25)]
    needs = {amount.name: amount.min for amount in step.hostRequirements.amounts}
    assert needs == {"amount.worker.vcpu": 1, "amount.worker.memory": 256}


def test_the_command_of_the_template_renders_a_frame(tmp_path: Path) -> None:
    values = {"OutputDir": str(tmp_path), "FirstFrame": "5", "LastFrame": "5", "Width": "16", "Height": "9"}
    job = job_of_template(tmp_path, **values, Python=sys.executable)
    (step,) = job.steps
    (task,) = StepParameterSpaceIterator(space=step.parameterSpace)
    symbols = SymbolTable()
    for name, parameter in job.parameters.items():
        symbols[f"Param.{name}"] = parameter.value
    symbols["Task.Param.Frame"] = task["Frame"].value
    run = step.script.actions.onRun
    command, *arguments = (text.resolve(symtab=symbols) for text in (run.command, *run.args))
    assert command == sys.executable
    result = run_sample(*arguments)
    assert result.returncode == 0, result.stderr
    assert png.read_png(tmp_path / "frame_0005.png").shape == (9, 16, 3)


def test_no_time_goes_into_partial_results_that_the_job_does_not_allow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILEPOST_PARTIAL_OVERHEAD", "1")
    assert render.main([*SMALL_FRAME, "--samples", "2", "--out", str(tmp_path)]) == 0
    assert said(capsys.readouterr().out, "milepost_partial") == []
