from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lexor.errors import CaseError
from lexor.evaluation.cases import (
    choose_cases,
    classes_of,
    given_cases,
    loosen,
    loosened_cases,
    source_of,
    spacing_of,
    truth_of,
)
from lexor.geometry import Box
from lexor.io.case import Case, write_case


def cases_in(found: object) -> dict[Path, Case]:
    """Of what `loosened_cases` yields, the cases."""
    return {path: case for path, case in found if isinstance(case, Case)}


def test_loosening_depends_on_the_axis_and_stays_inside() -> None:
    box = Box((1, 10, 250), (4, 20, 300), 2)
    loose = loosen(box, (8, 256, 512), 5)
    assert loose.lower == (1, 5, 240)
    assert loose.upper == (4, 25, 310)
    assert loosen(Box((0, 2, 2), (1, 9, 9), 0), (1, 512, 10), 5).lower == (0, 0, 2)


def test_one_stream_of_draws_over_sorted_files(tmp_path: Path, ball_case: Case) -> None:
    big = replace(ball_case, volume=np.zeros((24, 256, 256), np.uint8), boxes=ball_case.boxes * 3)
    for name in ("CT_b", "CT_a"):
        write_case(tmp_path / f"{name}.npz", replace(big, name=name))
    found = [
        13 - box.lower[1]
        for case in cases_in(loosened_cases([tmp_path / "CT_b.npz", tmp_path / "CT_a.npz"])).values()
        for box in case.boxes
    ]
    rng = np.random.default_rng(7)
    assert found == [int(rng.integers(0, 6)) for _ in range(6)]


def test_sources_are_two_tokens_of_the_name() -> None:
    assert source_of("CT_openkbp_pt_201") == "CT_openkbp"
    assert source_of("PET_fnndsc_QIN-HN_rsna2") == "PET_fnndsc"
    assert source_of("CT") == "CT"


def test_chosen_cases() -> None:
    paths = [Path(f"{source}_{i}.npz") for i in range(9) for source in ("MR_b", "CT_a", "CT_c")]
    assert choose_cases(paths) == sorted(paths)
    assert choose_cases(paths, ["CT_c"]) == [Path(f"CT_c_{i}.npz") for i in range(9)]
    few = choose_cases(paths, limit=3)
    assert [source_of(path.stem) for path in few] == ["CT_a"] * 3 + ["CT_c"] * 3 + ["MR_b"] * 3
    assert choose_cases(paths[::-1], ["MR_b"], limit=3) == few[6:]
    assert set(few) < set(choose_cases(paths, limit=5))
    assert choose_cases(paths, limit=3, seed=1) != few
    with pytest.raises(CaseError, match="'CT_x' has no case here; there are CT_a, CT_c, MR_b"):
        choose_cases(paths, ["CT_x"])


def test_a_case_has_the_same_boxes_whatever_else_is_chosen(tmp_path: Path, ball_case: Case) -> None:
    big = replace(ball_case, volume=np.zeros((24, 256, 256), np.uint8), boxes=ball_case.boxes * 3)
    paths = [tmp_path / f"CT_{letter}.npz" for letter in "abc"]
    for path in paths:
        write_case(path, replace(big, name=path.stem))
    everything = cases_in(loosened_cases(paths))
    ((path, case),) = cases_in(loosened_cases(paths, chosen=[paths[2]])).items()
    assert path == paths[2]
    assert case.boxes == everything[path].boxes
    assert case.boxes != everything[paths[0]].boxes
    ((_, given),) = given_cases([paths[2]])
    assert isinstance(given, Case)
    assert given.boxes == big.boxes


def test_what_cannot_be_read_is_yielded_and_stops_nothing(tmp_path: Path, ball_case: Case) -> None:
    paths = [tmp_path / f"CT_{letter}.npz" for letter in "ab"]
    paths[0].write_bytes(b"no npz")
    write_case(paths[1], replace(ball_case, name="CT_b", boxes=()))
    for found in (loosened_cases(paths), given_cases(paths)):
        (_, broken), (_, case) = found
        assert isinstance(broken, CaseError)
        assert "CT_a.npz" in str(broken)
        assert isinstance(case, Case)
        assert case.boxes == ()


def test_the_truth_is_of_the_case_or_of_a_folder(tmp_path: Path, ball_case: Case) -> None:
    truth = np.zeros(ball_case.volume.shape, np.uint8)
    truth[3, 4, 5] = 1
    path, folder = tmp_path / "CT_ball.npz", tmp_path / "gts"
    folder.mkdir()
    write_case(path, ball_case, truth)
    np.savez(folder / "CT_ball.npz", gts=truth * 7)
    np.testing.assert_array_equal(truth_of(ball_case, path, folder), truth)
    np.savez(folder / "CT_ball.npz", gts=truth + 1)
    np.testing.assert_array_equal(truth_of(ball_case, path), truth)
    np.testing.assert_array_equal(truth_of(ball_case, path, folder), truth + 1)
    for wrong, message in ((truth * 0, "no label"), (truth[1:], "has shape"), (truth - 2.5, "holds -2.5")):
        np.savez(folder / "CT_ball.npz", gts=wrong)
        with pytest.raises(CaseError, match=rf"CT_ball\.npz: gts.*{message}"):
            truth_of(ball_case, path, folder)


def test_more_labels_than_there_can_be_classes_are_refused(tmp_path: Path, ball_case: Case) -> None:
    """An image that was taken for labels."""
    volume = np.zeros((1, 300, 300), np.uint8)
    np.savez(tmp_path / "CT_ball.npz", gts=np.arange(volume.size).reshape(volume.shape) * 1000)
    with pytest.raises(
        CaseError, match=r"CT_ball\.npz: gts has 89,999 labels; give at most 65,535, one an object"
    ):
        truth_of(replace(ball_case, volume=volume), tmp_path / "CT_ball.npz")


@pytest.mark.parametrize(
    ("labels", "n_boxes", "classes"),
    [
        ([1, 2, 3], 3, [1, 2, 3]),
        ([1, 2, 3], 0, [1, 2, 3]),
        ([1, 2, 3], 2, [1, 2, 3]),
        ([1, 5], 2, [1, 2]),
        ([1, 40_000_000], 0, [1, 2]),
        ([2, 3], 2, [1, 2]),
        ([3, 7, 2**62], 1, [1, 2, 3]),
        # Every label has its box; the object of another one is not in the truth.
        ([1, 3], 3, [1, 3]),
        ([5], 5, [5]),
    ],
)
def test_the_smallest_label_is_class_1_unless_each_is_the_number_of_a_box(
    labels: list[int], n_boxes: int, classes: list[int]
) -> None:
    truth = np.array([0, *labels, 0, labels[0]], np.int64).reshape(1, 1, -1)
    found = classes_of(truth, n_boxes)
    assert found.ravel().tolist() == [0, *classes, 0, classes[0]]


def test_a_case_without_spacing_is_named(ball_case: Case) -> None:
    assert spacing_of(replace(ball_case, spacing=(3, 1, 2))) == (3, 1, 2)
    with pytest.raises(CaseError, match=r"CT_ball\.npz: spacing"):
        spacing_of(replace(ball_case, spacing=None))
