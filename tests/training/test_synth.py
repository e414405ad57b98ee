from pathlib import Path

import numpy as np
import pytest

from lexor.geometry import Box
from lexor.io.case import read_case, read_labels
from lexor.training.synth import label_volume, read_scene, write_scenes
from lexor.training.synthetic import STYLES, Scene, make_scene


def test_written_cases_read_back(tmp_path: Path) -> None:
    paths = write_scenes(tmp_path / "new", 4, 7)
    assert [path.stem.split("_")[1:] for path in paths] == [["synth", f"{i:04d}"] for i in (1, 2, 3, 4)]
    for index, path in enumerate(paths, 1):
        scene = make_scene(np.random.default_rng((7, index)))
        case, labels = read_case(path), read_labels(path)
        assert case.warnings == ()
        assert case.modality == scene.style
        np.testing.assert_array_equal(case.volume, scene.image)
        assert case.spacing == pytest.approx((scene.ratio, 1, 1))
        np.testing.assert_array_equal(labels, label_volume(scene))
        assert np.unique(labels).tolist() == list(range(len(case.boxes) + 1))
        assert [Box.measured(labels == k) for k in range(1, len(case.boxes) + 1)] == list(case.boxes)
        again = read_scene(path)
        assert (again.style, len(again.targets)) == (scene.style, len(case.boxes))
        assert again.ratio == pytest.approx(scene.ratio)
        np.testing.assert_array_equal(label_volume(again) > 0, labels > 0)


def test_scenes_depend_on_seed_and_number_alone(tmp_path: Path) -> None:
    few, many = write_scenes(tmp_path / "a", 1, 3, "PET"), write_scenes(tmp_path / "b", 2, 3, "PET")
    assert [path.name for path in many] == ["PET_synth_0001.npz", "PET_synth_0002.npz"]
    np.testing.assert_array_equal(read_case(few[0]).volume, read_case(many[0]).volume)
    other = write_scenes(tmp_path / "c", 1, 4, "PET")
    assert not np.array_equal(read_case(few[0]).volume, read_case(other[0]).volume)


def test_an_unknown_style_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"style is 'XR'.*{STYLES[0]}"):
        write_scenes(tmp_path / "x", 1, 0, "XR")
    assert not (tmp_path / "x").exists()


def test_smaller_targets_win_and_labels_have_no_gaps() -> None:
    large, hidden, small = (np.zeros((4, 8, 8), bool) for _ in range(3))
    large[:, 1:7, 1:7] = True
    hidden[1:3, 2:4, 2:4] = True
    small[1:3, 2:4, 2:4] = True
    scene = Scene(np.zeros((4, 8, 8), np.uint8), (small, large, hidden), "CT")
    labels = label_volume(scene)
    assert np.unique(labels).tolist() == [0, 1, 2]
    np.testing.assert_array_equal(labels == 2, hidden)
    np.testing.assert_array_equal(labels == 1, large & ~hidden)


def test_a_box_is_measured_on_the_middle_slice() -> None:
    mask = np.zeros((7, 10, 10), bool)
    mask[1, 0:9, 0:9] = True
    mask[2, 3:5, 4:6] = True
    mask[3:6, 2:3, 2:4] = True
    box = Box.measured(mask)
    assert (box.lower, box.upper, box.z_mid) == ((1, 2, 2), (6, 3, 4), 3)
