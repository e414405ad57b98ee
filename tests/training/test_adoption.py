import pytest
import torch

from lexor.models.factory import create_model
from lexor.training.adoption import adopt
from lexor.training.config import TrainingError


@pytest.mark.parametrize("name", ["vit_s", "fastvit"])
def test_the_decoder_and_fine_maps_are_taken_from_the_fine_end(name: str) -> None:
    donor = create_model("mobilenet3d", weights=None, seed=1)
    model = create_model(name, weights=None, seed=2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    adopt(model, donor)
    found, lent = model.state_dict(), donor.state_dict()
    finest, theirs = f"fuse.{len(model.fuse) - 1}", f"fuse.{len(donor.fuse) - 1}"
    for key in ("conv1.weight", "conv2.weight", "norm1.bias"):
        assert torch.equal(found[f"{finest}.{key}"], lent[f"{theirs}.{key}"])
    assert torch.equal(found["head.weight"], lent["head.weight"])
    assert torch.equal(found["start"], lent["start"])
    encoder = [key for key in found if key.startswith("encoder.")]
    assert all(torch.equal(found[key], before[key]) for key in encoder), "the encoder is its own"


def test_a_vit_begins_with_the_first_stages_of_mobilenet() -> None:
    donor = create_model("mobilenet3d", weights=None, seed=1)
    model = create_model("vit_s", weights=None, seed=2)
    before = model.state_dict()["fuse.0.conv1.weight"].clone()
    adopt(model, donor)
    found, lent = model.state_dict(), donor.state_dict()
    assert torch.equal(found["detail.stem.weight"], lent["encoder.stem.weight"])
    assert torch.equal(found["detail.blocks.1.pointwise.weight"], lent["encoder.stages.1.0.pointwise.weight"])
    assert torch.equal(found["detail.downsamples.0.conv.weight"], lent["encoder.downsamples.0.conv.weight"])
    # Its coarse maps are others: only the channels of the scale itself, 64 features, 11 maps, 2 similarities, fit.
    mine, theirs = found["fuse.0.conv1.weight"], lent["fuse.2.conv1.weight"]
    assert torch.equal(mine[:, -77:], theirs[:, -77:])
    assert torch.equal(mine[:, :-77], before[:, :-77])


def test_the_same_model_lends_all_but_its_encoders_depths() -> None:
    donor = create_model("mobilenet3d", weights=None, seed=1)
    model = create_model("mobilenet3d", weights=None, seed=2)
    adopt(model, donor)
    assert torch.equal(model.state_dict()["fuse.0.conv1.weight"], donor.state_dict()["fuse.0.conv1.weight"])


def test_families_do_not_mix() -> None:
    with pytest.raises(TrainingError, match=r"start_model: only models of the light family"):
        adopt(create_model("segvol_vit_s", weights=None), create_model("mobilenet3d", weights=None))
