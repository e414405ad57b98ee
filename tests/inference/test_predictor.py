from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lexor.errors import CaseError
from lexor.evaluation.boxes import MODEL, evaluate_boxes
from lexor.evaluation.metrics import dice
from lexor.evaluation.tables import modality_means
from lexor.geometry import Box, Clicks
from lexor.inference.framing import frame, normalise
from lexor.inference.merging import Answer
from lexor.inference.predictor import Predictor
from lexor.inference.runner import Look, Runner
from lexor.inference.settings import SETTINGS, Zoom
from lexor.inference.strategies.boxed import segment_boxed
from lexor.inference.targets import Target
from lexor.inference.views import View, triple
from lexor.inference.volume import Volume
from lexor.io.case import Case
from lexor.models.segmenter import Encoding, Masks, Segmenter
from lexor.models.window_prompts import WindowPrompts


class Threshold(Segmenter):
    """A transparent model: bright inside the box is foreground. Counts what it was asked."""

    window = (8, 16, 16)

    def __init__(self, zoom_out="object") -> None:
        super().__init__()
        self.zoom_out = zoom_out
        self.encoded = 0
        self.batches: list[int] = []

    def encode(self, image: torch.Tensor) -> Encoding:
        self.encoded += len(image)
        return Encoding((image,), tuple(image.shape[2:]))

    def masks(self, encoding: Encoding, index: torch.Tensor, prompts: WindowPrompts) -> Masks:
        self.batches.append(len(index))
        return Masks(encoding.features[0][index] * 3 - 1, torch.zeros(len(index)))


@pytest.fixture(scope="module")
def light() -> Predictor:
    return Predictor(device="cpu")


def truth_of(case: Case) -> np.ndarray:
    z, y, x = np.ogrid[:24, :48, :48]
    return ((z - 12) / 7) ** 2 + ((y - 22) / 9) ** 2 + ((x - 25) / 9) ** 2 <= 1


def test_a_plain_ball_is_found(light: Predictor, ball_case: Case) -> None:
    labels = light.predict(ball_case)
    assert labels.shape == ball_case.volume.shape
    assert dice(labels == 1, truth_of(ball_case)) > 0.85


def test_the_same_input_gives_the_same_output(light: Predictor, ball_case: Case) -> None:
    np.testing.assert_array_equal(light.predict(ball_case), light.predict(ball_case))


def test_nothing_outside_of_the_boxs_slices(light: Predictor, ball_case: Case) -> None:
    box = Box((9, 13, 16), (14, 32, 35), 11)
    labels = light.predict(replace(ball_case, boxes=(box,)))
    assert not labels[:9].any()
    assert not labels[14:].any()
    assert labels[9:14].any()


def test_every_box_is_a_class_and_order_does_not_decide(light: Predictor, ball_case: Case) -> None:
    other = Box((2, 36, 2), (8, 44, 12), 5)
    two = light.segment(replace(ball_case, boxes=(ball_case.boxes[0], other), clicks=()))
    assert [t.source for t in two.targets] == ["box", "box"]
    swapped = light.predict(replace(ball_case, boxes=(other, ball_case.boxes[0]), clicks=()))
    np.testing.assert_array_equal(np.array([0, 2, 1], np.uint8)[two.labels], swapped)


def test_clicks_hold_everywhere(light: Predictor, ball_case: Case) -> None:
    points = ((12, 22, 25), (0, 0, 0), (12, 21, 25), (23, 47, 47))
    clicks = Clicks(points, (False, True, False, True))
    labels = light.predict(replace(ball_case, clicks=(clicks,)))
    for point, foreground in zip(clicks.points, clicks.foreground, strict=True):
        assert (labels[point] == 1) == foreground


def test_clicks_alone_find_the_ball(light: Predictor, ball_case: Case) -> None:
    case = replace(ball_case, boxes=(), clicks=(Clicks(((12, 22, 25),), (True,)),))
    result = light.segment(case)
    assert result.targets[0].source == "clicks"
    assert dice(result.labels == 1, truth_of(case)) > 0.5


def test_previous_labels_are_used(light: Predictor, ball_case: Case) -> None:
    wrong = np.zeros(ball_case.volume.shape, np.uint8)
    wrong[12:20, 10:35, 10:22] = 1
    without = light.predict(ball_case)
    case = replace(ball_case, previous=wrong)
    assert (light.predict(case) != without).any()
    alone = replace(case, boxes=(None,), clicks=(Clicks((), ()),))
    assert light.segment(alone).targets[0].source == "previous"


def test_a_class_without_a_prompt_is_still_answered(light: Predictor, ball_case: Case) -> None:
    result = light.segment(replace(ball_case, boxes=(None, ball_case.boxes[0]), clicks=()))
    assert [t.source for t in result.targets] == ["automatic", "box"]
    assert len(result.warnings) == 1
    assert "class 1" in result.warnings[0]


def test_auto_ignores_given_prompts(light: Predictor, ball_case: Case) -> None:
    misleading = replace(ball_case, boxes=(Box((0, 0, 0), (3, 5, 5), 1),), clicks=())
    result = light.segment(misleading, "auto")
    assert [t.source for t in result.targets] == ["automatic"]
    assert dice(result.labels == 1, truth_of(ball_case)) > 0.5


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 40, 40), (30, 1, 7), (3, 2, 2)])
def test_odd_shapes_are_answered(light: Predictor, shape: tuple[int, int, int]) -> None:
    volume = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    case = Case("X", volume, None, (), (), None, ())
    assert light.predict(case).shape == shape
    assert light.predict(replace(case, volume=np.full(shape, 7, np.uint8))).shape == shape


def test_a_volume_model_encodes_its_window_once_for_all_prompts(ball_case: Case) -> None:
    model = Threshold("volume")
    case = replace(ball_case, boxes=ball_case.boxes * 6, clicks=())
    labels = Predictor(model, "cpu", batch=4, zoom=None).predict(case)
    assert model.encoded == 1
    assert model.batches == [4, 2]
    assert labels[12, 22, 25] == 1, "of equal answers the first class has the voxel"


def test_zoom_in_sharpens_and_shares_windows() -> None:
    z, y, x = np.ogrid[:16, :96, :96]
    ball = ((z - 8) / 6) ** 2 + ((y - 48) / 30) ** 2 + ((x - 48) / 30) ** 2 <= 1
    volume = np.where(ball, 200, 40).astype(np.uint8)
    box = Box((2, 18, 18), (15, 79, 79), 8)
    case = Case("CT", volume, None, (box, box), (), None, ())
    coarse_model, fine_model = Threshold("volume"), Threshold("volume")
    coarse = Predictor(coarse_model, "cpu", zoom=None).predict(case)
    fine = Predictor(fine_model, "cpu", zoom=Zoom(windows=400)).predict(case)
    assert dice(fine == 1, ball) > dice(coarse == 1, ball) + 0.04
    assert dice(fine == 1, ball) > 0.95
    assert coarse_model.encoded == 1
    assert sum(fine_model.batches) - 2 == 2 * (fine_model.encoded - 1), "each window serves both prompts"


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5])
def test_each_window_is_encoded_once_whatever_the_batch(batch: int) -> None:
    volume = np.random.default_rng(0).integers(0, 255, (16, 64, 64), dtype=np.uint8)
    boxes = (Box((2, 10, 10), (14, 50, 50), 8),) * 3
    model = Threshold("volume")
    looked_at: list[int] = []
    for one in (1, batch):
        model.encoded, model.batches = 0, []
        Predictor(model, "cpu", batch=one, zoom=Zoom(windows=400)).predict(
            Case("CT", volume, None, boxes, (), None, ())
        )
        looked_at.append(sum(model.batches))
        assert max(model.batches) <= one
        assert model.encoded == sum(model.batches) // 3, "three prompts look through every window"
    assert looked_at[0] == looked_at[1] > 3


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12), st.integers(1, 4))
def test_every_look_is_answered_in_order_whatever_the_views(order: list[int], batch: int) -> None:
    volume = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (1, 8, 16, 48), dtype=np.uint8))
    views = [View((0.0, 0.0, 16.0 * i), (8.0, 16.0, 16.0 * (i + 1)), Threshold.window) for i in range(3)]
    target = Target(1, None, Clicks((), ()), None, (0.0, 0.0, 0.0), (8.0, 16.0, 48.0), "clicks")
    runner = Runner(Threshold(), torch.device("cpu"), batch)
    alone = [next(runner.logits(volume, [Look(view, target)]))[1] for view in views]
    looks = [Look(views[i], replace(target)) for i in order]
    answers = list(runner.logits(volume, looks))
    assert [id(look) for look, _ in answers] == [id(look) for look in looks]
    for (_, logits), i in zip(answers, order, strict=True):
        assert logits.equal(alone[i])


def test_the_second_look_has_a_bounded_number_of_windows() -> None:
    volume = np.random.default_rng(0).integers(0, 255, (16, 128, 128), dtype=np.uint8)
    model = Threshold("volume")
    Predictor(model, "cpu", zoom=Zoom(windows=5)).predict(
        Case("CT", volume, None, (Box((0, 0, 0), (16, 128, 128), 8),), (), None, ())
    )
    assert 2 <= model.encoded <= 6


class Hungry(Threshold):
    """Runs out of memory above a batch, or always on a device that is not the CPU."""

    limit = 2

    def masks(self, encoding: Encoding, index: torch.Tensor, prompts: WindowPrompts) -> Masks:
        if len(index) > self.limit:
            raise torch.cuda.OutOfMemoryError("pretended")
        return super().masks(encoding, index, prompts)


def test_out_of_memory_halves_the_batch(ball_case: Case, caplog: pytest.LogCaptureFixture) -> None:
    model = Hungry()
    labels = Predictor(model, "cpu", batch=8, zoom=None).predict(
        replace(ball_case, boxes=ball_case.boxes * 5, clicks=())
    )
    assert labels[12, 22, 25] == 1
    assert model.batches == [2, 2, 1]
    assert "batches of 2" in caplog.text


class Starving(Threshold):
    """Fails at its first prompt even alone, as a full GPU does."""

    failed = False

    def masks(self, encoding: Encoding, index: torch.Tensor, prompts: WindowPrompts) -> Masks:
        if not self.failed:
            self.failed = True
            raise torch.cuda.OutOfMemoryError("pretended")
        return super().masks(encoding, index, prompts)


def test_out_of_memory_at_one_prompt_goes_on_with_the_cpu(
    ball_case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    predictor = Predictor(Starving(), "cpu", batch=1, zoom=None)
    assert predictor.predict(ball_case)[12, 22, 25] == 1
    assert predictor.runner.device.type == "cpu"
    assert "going on with the CPU" in caplog.text


class Bulky(Threshold):
    """Fails on its way to the device, once."""

    moved = False

    def to(self, *args: Any, **kwargs: Any) -> Bulky:
        if not self.moved:
            self.moved = True
            raise torch.cuda.OutOfMemoryError("pretended")
        return super().to(*args, **kwargs)


def test_no_room_for_the_model_begins_with_the_cpu(ball_case: Case, caplog: pytest.LogCaptureFixture) -> None:
    runner = Runner(Bulky(), torch.device("cuda"))
    assert (runner.device.type, runner.batch) == ("cpu", 4)
    assert "out of GPU memory for the model: going on with the CPU" in caplog.text


def test_large_targets_are_answered_in_groups_with_the_same_answer(
    ball_case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many boxes there are, and however large, as many answers are held at a time as memory allows."""
    half = Box((5, 13, 16), (20, 32, 26), 12)
    case = replace(ball_case, boxes=(ball_case.boxes[0], half) * 20, clicks=())
    predictor = Predictor(Threshold(), "cpu", zoom=Zoom(gain=0.1))
    together = predictor.segment(case)
    groups = []

    def noted(runner: Runner, volume: Volume, targets: list[Target]) -> dict[int, Answer]:
        groups.append(len(targets))
        return segment_boxed(runner, volume, targets)

    monkeypatch.setattr("lexor.inference.engine.strategy_of", lambda *_: noted)
    for most, sizes in ((1, [1] * 40), (ball_case.volume.size, [2] * 20), (1 << 27, [40])):
        monkeypatch.setattr("lexor.inference.engine.MOST_HELD", most)
        groups.clear()
        one_by_one = predictor.segment(case)
        np.testing.assert_array_equal(one_by_one.labels, together.labels)
        assert groups == sizes
    assert set(np.unique(together.labels)) == set(range(41)), "no class vanishes"
    assert len(together.warnings) == 38
    assert "class 40 has a voxel only" in together.warnings[-1]


def test_a_class_of_which_nothing_is_found_is_named(ball_case: Case) -> None:
    dark = replace(ball_case, volume=np.full(ball_case.volume.shape, 7, np.uint8), clicks=())
    result = Predictor(Threshold(), "cpu").segment(dark)
    assert not result.labels.any()
    assert result.warnings == ("CT_ball: class 1 is empty: nothing was found; click on it",)


def test_strictly_no_automatic_box_stands_in(light: Predictor, ball_case: Case) -> None:
    case = replace(ball_case, boxes=(ball_case.boxes[0], None), clicks=(), unreadable=(2,))
    with pytest.raises(CaseError, match="class 2 has a prompt that cannot be read"):
        light.segment(case, strict=True)
    assert len(light.segment(case).targets) == 2


def test_probabilities_are_each_classs_own(light: Predictor, ball_case: Case) -> None:
    """As if it were alone, whatever the others claim."""
    half = Box((5, 13, 16), (20, 32, 26), 12)
    case = replace(ball_case, boxes=(ball_case.boxes[0], half), clicks=())
    both = light.segment(case, probabilities=True)
    np.testing.assert_array_equal(both.labels, light.predict(case))
    for index, box in enumerate(case.boxes, start=1):
        alone = light.segment(replace(case, boxes=(box,)), probabilities=True)
        chance = both.probability(index)
        assert (chance.shape, chance.dtype) == (ball_case.volume.shape, np.float32)
        # Batches of another size round otherwise where the CPU computes in bfloat16.
        np.testing.assert_allclose(chance, alone.probability(1), atol=0.03)
        np.testing.assert_array_equal(alone.labels == 1, alone.probability(1) >= 0.5)
        assert ((both.labels != index) | (chance >= 0.5)).all()
        assert chance.min() >= 0
        assert 0.9 < chance.max() <= 1
        assert not chance[:5].any(), "the box holds all of its object's slices"


def test_probabilities_are_the_sigmoid_of_the_logits(ball_case: Case) -> None:
    """Of a model whose logits are known: three times the window's intensities, less one."""
    case = replace(ball_case, clicks=())
    model = Threshold()
    chance = Predictor(model, "cpu", zoom=None).segment(case, probabilities=True).probability(1)
    box = case.boxes[0]
    view = frame(triple(box.lower), triple(box.upper), chance.shape, model.window)  # type: ignore[arg-type]
    window = normalise(view.read(torch.from_numpy(case.volume)[None])) * 3 - 1
    where, logits = view.write(window, chance.shape)  # type: ignore[arg-type]
    slices = slice(box.lower[0] - where[0].start, box.upper[0] - where[0].start)
    expected = np.zeros(chance.shape, np.float32)
    expected[5:20, where[1], where[2]] = torch.sigmoid(logits[0, slices]).numpy()
    np.testing.assert_allclose(chance, expected, atol=0.5 / 255 + 1e-5)


@pytest.mark.parametrize("boxed", [True, False])
def test_probabilities_honour_clicks(light: Predictor, ball_case: Case, boxed: bool) -> None:
    clicks = Clicks(((12, 22, 25), (23, 47, 0), (12, 22, 26), (23, 47, 0)), (True, False, False, True))
    case = replace(ball_case, boxes=ball_case.boxes if boxed else (), clicks=(clicks,))
    chance = light.segment(case, probabilities=True).probability(1)
    assert chance[12, 22, 25] >= 0.5
    assert chance[12, 22, 26] < 0.5
    assert chance[23, 47, 0] >= 0.5, "the latest click on it says so"


def test_probabilities_are_kept_only_if_asked_for(light: Predictor, ball_case: Case) -> None:
    with pytest.raises(ValueError, match=r"call segment\(\.\.\., probabilities=True\)"):
        light.segment(ball_case).probability(1)
    for index in (0, 2):
        with pytest.raises(ValueError, match=r"there are 1\.\.1"):
            light.segment(ball_case, probabilities=True).probability(index)


def test_real_volumes_beat_the_ellipsoid(light: Predictor, shared_data: Path) -> None:
    """On every third case of val, with boxes loosened as the challenge's are."""
    sources = sorted((shared_data / "val").glob("*.npz"))[::3]
    means = modality_means(list(evaluate_boxes(sources, light)))
    assert means[MODEL]["macro"] > means["inscribed ellipsoid"]["macro"]
    assert means[MODEL]["macro"] > means["filled box"]["macro"] + 0.1


@pytest.mark.gpu
def test_the_gpu_answers_as_the_cpu_does(ball_case: Case) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU on this machine")
    cpu, gpu = Predictor(device="cpu"), Predictor(device="cuda")
    ours = gpu.predict(ball_case)
    np.testing.assert_array_equal(ours, gpu.predict(ball_case))
    assert dice(ours == 1, cpu.predict(ball_case) == 1) > 0.97


def test_cuda_without_a_gpu_is_an_error() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match="no GPU"):
        Predictor(Threshold(), "cuda")


class Fastidious(Threshold):
    """Promises the more, the nearer the click's view is to 48 pixels across."""

    def masks(self, encoding: Encoding, index: torch.Tensor, prompts: WindowPrompts) -> Masks:
        masks = super().masks(encoding, index, prompts)
        self.seen += [float(p) for p in prompts.points[:, 0, 2]]
        centre = prompts.points[:, 0, 2]
        return Masks(masks.logits, -(centre - centre.new_tensor(self.wanted)).abs())

    wanted = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []


def test_a_clicked_target_is_seen_in_the_size_that_promises_most() -> None:
    # A click off the volume's middle lies elsewhere in each view that the volume's edge cuts.
    volume = np.full((16, 200, 200), 40, np.uint8)
    volume[4:12, 2:30, 2:30] = 220
    case = Case("CT", volume, None, (), (Clicks(((8, 12, 12),), (True,)),), None, ())
    model = Fastidious()
    Predictor(model, "cpu", batch=5, zoom=None).predict(case)
    tuned = SETTINGS.searching
    expected = [
        (12.5 - max(0, 12.5 - n / 2)) / (min(200, 12.5 + n / 2) - max(0, 12.5 - n / 2)) * 16 - 0.5
        for n in tuned.views
    ]
    assert model.seen[:5] == pytest.approx(expected, abs=1e-3)
    # Boxes of three sizes follow, then a closer look at the best mask of each kind, and one at what they agree on.
    assert 8 < len(model.seen) <= 8 + 2 + 1


def test_a_device_that_there_is_not_is_refused() -> None:
    for device in ("gpu", "cuda:99", "CPU", ""):
        with pytest.raises(ValueError, match=f"device is '{device}': give 'auto', 'cpu' or 'cuda'"):
            Predictor(device=device)


def test_a_mode_that_there_is_not_is_refused(light: Predictor, ball_case: Case) -> None:
    with pytest.raises(ValueError, match="prompt is 'Auto': give 'given', 'intensity' or 'auto'"):
        light.predict(ball_case, "Auto")  # type: ignore[arg-type]


def test_a_box_that_serves_many_classes_is_looked_at_once(ball_case: Case) -> None:
    """A small file can ask for thousands of classes and give a prompt for none."""
    looks = []
    for count in (200, 400):
        model = Threshold()
        case = replace(ball_case, boxes=(ball_case.boxes[0], *(None,) * count), clicks=())
        result = Predictor(model, "cpu").segment(case)
        assert [target.source for target in result.targets] == ["box", *["automatic"] * count]
        looks.append(sum(model.batches))
    assert looks[0] == looks[1]
