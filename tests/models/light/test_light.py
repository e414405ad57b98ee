import pytest
import torch

from lexor.models.light.network import LightSegmenter
from lexor.models.segmenter import Encoding
from lexor.models.window_prompts import WindowPrompts

WINDOW = (8, 16, 16)


@pytest.fixture(scope="module")
def model() -> LightSegmenter:
    torch.manual_seed(0)
    model = LightSegmenter(window=WINDOW).eval()
    # The head starts at zero; give it something to say.
    torch.nn.init.normal_(model.head.weight, std=0.02)
    return model


def boxes(count: int) -> WindowPrompts:
    torch.manual_seed(count)
    lower = torch.rand(count, 3) * torch.tensor([3.0, 6, 6])
    return WindowPrompts(
        boxes=torch.cat([lower, lower + 5], 1),
        z_mid=torch.full((count,), 4.0),
        points=torch.zeros(count, 1, 3),
        labels=torch.full((count, 1), -1),
        previous=None,
    )


def one(prompts: WindowPrompts, i: int) -> WindowPrompts:
    return WindowPrompts(
        prompts.boxes[i : i + 1],
        prompts.z_mid[i : i + 1],
        prompts.points[i : i + 1],
        prompts.labels[i : i + 1],
        None,
    )


@torch.inference_mode()
def test_prompts_batched_equal_prompts_alone(model: LightSegmenter) -> None:
    windows = torch.randn(2, 1, *WINDOW)
    prompts, index = boxes(3), torch.tensor([1, 0, 1])
    encoding = model.encode(windows)
    assert isinstance(encoding, Encoding)
    together = model.masks(encoding, index, prompts).logits
    assert together.shape == (3, 1, *WINDOW)
    for i in range(3):
        encoding = model.encode(windows[index[i]][None])
        alone = model.masks(encoding, torch.tensor([0]), one(prompts, i)).logits
        torch.testing.assert_close(together[i], alone[0], atol=1e-4, rtol=1e-3)


@torch.inference_mode()
def test_untrained_it_answers_with_the_prior() -> None:
    fresh = LightSegmenter(window=WINDOW).eval()
    logits = fresh(torch.zeros(1, 1, *WINDOW), boxes(1)).logits[0, 0]
    box = boxes(1).boxes[0]
    centre = ((box[:3] + box[3:]) / 2).long()
    assert float(logits[tuple(centre)]) > 0
    assert float(logits[-1, -1, -1]) < 0


@torch.inference_mode()
def test_masks_say_what_the_model_corrects_and_training_sees_the_same_answer() -> None:
    model = LightSegmenter(window=WINDOW)
    image, prompts = torch.randn(2, 1, *WINDOW), boxes(2)
    prompts.labels[1] = 1
    prior = model(image, prompts).logits
    torch.nn.init.normal_(model.head.weight, std=0.02)
    answer = model.eval()(image, prompts)
    torch.testing.assert_close(answer.start, prior)
    torch.testing.assert_close(answer.logits, model.train()(image, prompts).logits)
    assert float((answer.logits - prior).abs().amax((1, 2, 3, 4)).min()) > 0.1


@torch.inference_mode()
@pytest.mark.parametrize("shape", [(5, 16, 16), (8, 17, 30), (1, 16, 16), (3, 5, 7)])
def test_any_window_shape(model: LightSegmenter, shape: tuple[int, int, int]) -> None:
    output = model(torch.randn(1, 1, *shape), boxes(1))
    assert output.logits.shape == (1, 1, *shape)
    assert output.quality.shape == (1,)
    assert torch.isfinite(output.logits).all()


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    net = LightSegmenter().train()
    torch.nn.init.normal_(net.head.weight, std=0.1)
    # Large enough that the coarsest map has several voxels to normalise over.
    output = net(torch.randn(2, 1, 32, 64, 64), boxes(2))
    (output.logits.square().mean() + output.quality.sum()).backward()
    silent = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@torch.inference_mode()
@pytest.mark.parametrize("window", [(8, 16, 16), (7, 19, 22)])
def test_an_encoder_that_starts_coarse_gets_fine_maps_beside_it(window: tuple[int, int, int]) -> None:
    model = LightSegmenter("vit_s", WINDOW, {"window": (8, 16, 16), "patch": (4, 8, 8), "depth": 1}).eval()
    assert model.detail is not None
    assert model.detail.widths == (32, 64)
    torch.nn.init.normal_(model.head.weight, std=0.02)
    image = torch.zeros(1, 1, *window)
    flat = model(image, boxes(1)).logits
    assert flat.shape == (1, 1, *window)
    # A single voxel moves the answer around it more than the answer of the next patch: the fine maps are used.
    image[0, 0, 3, 5, 5] = 3
    moved = (model(image, boxes(1)).logits - flat).abs()[0, 0]
    assert float(moved[2:5, 4:7, 4:7].mean()) > 2 * float(moved[2:5, 12:15, 12:15].mean())


def test_a_stride_that_halving_never_reaches_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"never comes to stride \(4, 16, 16\)"):
        LightSegmenter("vit_s")
