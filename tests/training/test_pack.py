import hashlib
from pathlib import Path

import numpy as np
import pytest

from lexor.io.case import Case, write_case
from lexor.training.config import DataConfig, TrainingError
from lexor.training.labelled import read_subject
from lexor.training.pack import manifest_of, pack, read_pack
from lexor.training.subjects import Subjects


def test_packed_cases_are_the_folders(data: Path, tmp_path: Path) -> None:
    (data / "XX_broken_0.npz").write_bytes(b"no zip")
    packed = pack(data, tmp_path / "cases.pack")
    assert (packed.cases, packed.bits) == (7, 8)
    assert packed.bytes == (tmp_path / "cases.pack").stat().st_size
    assert len(packed.problems) == 1
    assert "XX_broken_0.npz" in packed.problems[0]
    for entry in read_pack(tmp_path / "cases.pack"):
        subject, original = entry.read(), read_subject(data / f"{entry.name}.npz")
        np.testing.assert_array_equal(subject.image, original.image)
        assert (subject.ratio, subject.group) == (original.ratio, original.group)
        for mask, wanted in zip(subject.targets, original.targets, strict=True):
            np.testing.assert_array_equal(mask, wanted)
    subjects = Subjects(DataConfig(paths=(tmp_path / "cases.pack",), leave_out=("CT_alpha",)))
    assert [entry.name for entry in subjects.entries] == ["CT_beta_0", "CT_beta_1", "MR_gamma_0"]


def test_what_no_view_reaches_is_blank_and_shapes_stay(tmp_path: Path) -> None:
    labels = np.zeros((40, 160, 160), np.uint8)
    labels[10:14, 20:30, 20:30] = 1
    volume = np.full(labels.shape, 99, np.uint8)
    (tmp_path / "far").mkdir()
    write_case(tmp_path / "far" / "CT_far_0.npz", Case("CT_far_0", volume), labels=labels)
    pack(tmp_path / "far", tmp_path / "far.pack")
    subject = read_pack(tmp_path / "far.pack")[0].read()
    assert subject.image.shape == labels.shape
    seen = np.argwhere(subject.image == 99)
    # 4 slices grown by 8 + 2, 10 columns by 24 + 6 + 3.
    assert seen.min(0).tolist() == [0, 0, 0]
    assert seen.max(0).tolist() == [23, 62, 62]
    assert set(np.unique(subject.image)) == {0, 99}


def test_low_bits_go_before_the_limit_does(tmp_path: Path) -> None:
    labels = np.ones((16, 64, 64), np.uint8)
    volume = np.random.default_rng(0).integers(0, 256, labels.shape).astype(np.uint8)
    (tmp_path / "noise").mkdir()
    write_case(tmp_path / "noise" / "CT_noise_0.npz", Case("CT_noise_0", volume), labels=labels)
    packed = pack(tmp_path / "noise", tmp_path / "a.pack", 64_500)
    assert packed.bits == 7
    np.testing.assert_array_equal(read_pack(tmp_path / "a.pack")[0].read().image, volume & 254)
    with pytest.raises(TrainingError, match=r"b.pack: would be \d+ bytes, 20000 allowed"):
        pack(tmp_path / "noise", tmp_path / "b.pack", 20_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pack", "noise"]


def test_the_manifest_is_that_of_the_sources(data: Path, tmp_path: Path) -> None:
    pack(data, tmp_path / "cases.pack")
    manifest = manifest_of(DataConfig(paths=(data,)))
    assert next(iter(manifest)) == "CT_alpha_0"
    assert manifest["CT_beta_1"] == hashlib.sha256((data / "CT_beta_1.npz").read_bytes()).hexdigest()
    assert manifest_of(DataConfig(paths=(tmp_path / "cases.pack",))) == manifest


def test_other_files_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"CT_alpha_0.npz: no packed file \("):
        read_pack(data / "CT_alpha_0.npz")
