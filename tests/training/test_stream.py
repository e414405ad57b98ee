from itertools import islice
from pathlib import Path

import pytest
import torch

from lexor.training.config import TrainingConfig, load_config
from lexor.training.stream import Batch, Batches, Scenes, load_batches

WINDOW = (8, 16, 16)


def small(data: Path | None, **overrides: object) -> TrainingConfig:
    given = {
        "batch": 2,
        "mix.initial": 2,
        "mix.scenes": 3,
        "mix.renew_every": 1,
        "prompts.mix": {},
        "mix.real": 0.5,
    }
    paths = {} if data is None else {"data.paths": [data]}
    return load_config("smoke", given | paths | overrides)


def assert_equal(found: Batch, wanted: Batch) -> None:
    assert torch.equal(found[0], wanted[0])
    for name in ("mask", "hidden", "learnt"):
        assert torch.equal(getattr(found[1], name), getattr(wanted[1], name))
    for name in ("boxes", "z_mid", "points", "labels", "previous"):
        one, other = getattr(found[2], name), getattr(wanted[2], name)
        assert torch.equal(one.nan_to_num(-9), other.nan_to_num(-9))


def test_a_batch_is_a_function_of_its_number(data: Path) -> None:
    config = small(data)
    whole = list(islice(Batches(config, WINDOW), 6))
    for found, wanted in zip(islice(Batches(config, WINDOW, start=4), 2), whole[4:], strict=True):
        assert_equal(found, wanted)
    assert whole[0][0].shape == (2, 1, *WINDOW)
    other = next(iter(Batches(config, WINDOW, rank=1)))
    assert not torch.equal(other[0], whole[0][0])


def test_workers_make_the_same_batches(data: Path) -> None:
    """Whatever threads torch has here: a worker's has one, and rounds otherwise with more."""
    config = small(data, workers=2)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        wanted = list(islice(Batches(config, WINDOW, start=3), 4))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    for found, expected in zip(
        islice(load_batches(Batches(config, WINDOW, start=3)), 4), wanted, strict=True
    ):
        assert_equal(found, expected)


@pytest.mark.parametrize(
    ("real", "groups"), [(1.0, {"CT_alpha", "CT_beta", "MR_gamma"}), (0.0, {"synthetic"})]
)
def test_the_share_of_real_samples(
    data: Path, real: float, groups: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import lexor.training.stream as stream

    seen = []
    make = stream.MAKERS["object"]
    monkeypatch.setitem(stream.MAKERS, "object", lambda s, *rest: seen.append(s.group) or make(s, *rest))
    list(islice(Batches(small(data, **{"mix.real": real}), WINDOW), 8))
    assert set(seen) == groups


def test_the_window_of_scenes_moves_on() -> None:
    scenes = Scenes(small(None, **{"mix.renew_every": 2}), (0, 0))
    assert [list(scenes.window(turn)) for turn in (0, 1, 2, 4, 6)] == [
        [0, 1], [0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4],
    ]  # fmt: skip


def test_the_papers_samples(data: Path) -> None:
    config = small(data, **{"prompts.recipe": "volume", "prompts.mix": {"jitter": 0.1}, "mix.real": 1})
    boxes = clicks = total = 0
    for image, truth, prompts in islice(Batches(config, (16, 32, 32)), 60):
        target = truth.mask
        assert image.shape == target.shape == (2, 1, 16, 32, 32)
        has_points = (prompts.labels >= 0).any(1)
        assert (prompts.has_box | has_points).all(), "a target is always pointed at"
        boxes, clicks, total = boxes + int(prompts.has_box.sum()), clicks + int(has_points.sum()), total + 2
        for i in torch.nonzero(prompts.labels >= 0).tolist():
            z, y, x = prompts.points[i[0], i[1]].long().tolist()
            assert bool(target[i[0], 0, z, y, x] > 0.5) == bool(prompts.labels[i[0], i[1]])
        for mask, box in zip(target[:, 0], prompts.boxes, strict=True):
            if not box.isnan().any():
                inside = torch.nonzero(mask > 0.5).float()
                size = inside.amax(0) + 1 - inside.amin(0)
                assert ((box[:3] - inside.amin(0)).abs() <= 0.1 * size + 1e-4).all()
                assert ((box[3:] - inside.amax(0) - 1).abs() <= 0.1 * size + 1e-4).all()
    assert 0.7 < boxes / total < 0.9
    assert 0.55 < clicks / total < 0.95
