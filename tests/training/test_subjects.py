import logging
from pathlib import Path

import numpy as np
import pytest

from lexor.training.config import DataConfig, TrainingError
from lexor.training.labelled import Targets, read_subject
from lexor.training.subjects import Subjects


def names(subjects: Subjects) -> list[str]:
    return [entry.name for entry in subjects.entries]


def test_a_subject_has_its_case(data: Path) -> None:
    subject = read_subject(data / "CT_alpha_0.npz")
    assert subject.image.shape == (16, 32, 32)
    assert (subject.ratio, subject.group) == (2.0, "CT_alpha")
    assert [int(target.sum()) for target in subject.targets] == [515, 257]
    assert isinstance(subject.targets, Targets)
    assert subject.targets.values == [1, 3]
    np.testing.assert_array_equal(subject.targets[1], subject.targets.labels == 3)


def test_sources_weigh_by_roots_and_modalities_are_drawn_together(data: Path) -> None:
    subjects = Subjects(DataConfig(paths=(data,)))
    by_source: dict[str, float] = {}
    for entry, weight in zip(subjects.entries, subjects.weights, strict=True):
        by_source[entry.source] = by_source.get(entry.source, 0) + weight
    ct = 2 + 2**0.5
    total = ct**0.5 + 1
    assert by_source["CT_alpha"] == pytest.approx(2 / ct**0.5 / total)
    assert by_source["CT_beta"] == pytest.approx(2**0.5 / ct**0.5 / total)
    assert by_source["MR_gamma"] == pytest.approx(1 / total)


def test_fraction_and_sources_choose(data: Path) -> None:
    half = Subjects(DataConfig(paths=(data,), fraction=0.5))
    assert len([n for n in names(half) if n.startswith("CT_alpha")]) == 2
    assert len([n for n in names(half) if n.startswith("CT_beta")]) == 1
    assert len(half) == 4
    assert names(half) == names(Subjects(DataConfig(paths=(data,), fraction=0.5)))
    assert len(Subjects(DataConfig(paths=(data,), fraction=0.01))) == 3, "one of each source at least"
    left = Subjects(DataConfig(paths=(data,), leave_out=("CT_alpha",)))
    assert names(left) == ["CT_beta_0", "CT_beta_1", "MR_gamma_0"]
    assert names(Subjects(DataConfig(paths=(data,), only=("MR_gamma",)))) == ["MR_gamma_0"]
    with pytest.raises(TrainingError, match=r"data.leave_out: no source 'CT_alfa'; there are CT_alpha, "):
        Subjects(DataConfig(paths=(data,), leave_out=("CT_alfa",)))


def test_a_broken_file_is_named_once_and_passed_over(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    (data / "CT_beta_0.npz").write_bytes(b"no zip")
    subjects = Subjects(DataConfig(paths=(data,), only=("CT_beta",)))
    rng = np.random.default_rng(0)
    with caplog.at_level(logging.WARNING):
        groups = {subjects.draw(rng).group for _ in range(20)}
    assert groups == {"CT_beta"}
    assert len(caplog.records) == 1
    assert "CT_beta_0.npz" in caplog.text
    (data / "CT_beta_1.npz").write_bytes(b"no zip")
    with pytest.raises(TrainingError, match="none of 2 cases can be used"):
        Subjects(DataConfig(paths=(data,), only=("CT_beta",))).draw(rng)


def test_the_cache_is_bounded(data: Path) -> None:
    subjects = Subjects(DataConfig(paths=(data,)))
    size = 2 * 16 * 32 * 32
    subjects.limit = 3 * size
    for index in range(7):
        assert subjects.get(index) is not None
    assert list(subjects._cache) == [4, 5, 6]
    assert subjects._held == 3 * size
    assert subjects.get(4) is subjects.get(4)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"holds no \.npz file"):
        Subjects(DataConfig(paths=(tmp_path,)))
