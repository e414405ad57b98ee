"""The GPU backend: beside the CPU's where a GPU is, and everywhere on stand-ins for CuPy and cuCIM.

The stand-ins offer no more than CuPy does (no `axis` when packing bits, one-dimensional bin counts, no numpy
function on a device array), so that what runs on them is not merely numpy.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from lexor.bench import textbook
from lexor.bench.phantoms import body
from lexor.inference.predictor import Predictor
from lexor.io.case import Case
from lexor.prompting import IntensityParameters, auto_prompt
from lexor.prompting.backends import cuda, select_backend
from lexor.prompting.closing import close_with_ball


class DeviceArray(np.ndarray):
    """An array that numpy's functions refuse, as they fail on CuPy's; operators and methods work."""

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        raise TypeError(f"numpy.{func.__name__} was called with a device array")


def on_device(array: np.ndarray) -> DeviceArray:
    return array.view(DeviceArray)


def on_host(array: Any) -> np.ndarray:
    assert isinstance(array, DeviceArray), "a host array reached a device function"
    return array.view(np.ndarray)


class Recorded:
    """What the stand-in for `cupy.cuda` was asked for."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self.malloc: Any = None

    @contextmanager
    def entering(self, what: str) -> Iterator[None]:
        self.entered.append(what)
        yield
        self.entered.append(f"after {what}")


def make_cuda() -> SimpleNamespace:
    """`cupy.cuda`: a GPU, streams by the CUDA stream protocol, and a Python allocator."""
    recorded = Recorded()

    def using_allocator(malloc: Any) -> Any:
        recorded.malloc = malloc
        return recorded.entering("allocator")

    return SimpleNamespace(
        recorded=recorded,
        runtime=SimpleNamespace(getDeviceCount=lambda: 1),
        Device=lambda index: recorded.entering(f"device {index}"),
        Stream=SimpleNamespace(
            from_external=lambda stream: recorded.entering(f"stream {stream.__cuda_stream__()}")
        ),
        PythonFunctionAllocator=lambda take, give: SimpleNamespace(malloc=lambda size: (take, give)),
        using_allocator=using_allocator,
    )


def make_cupy(freed: list[str]) -> ModuleType:
    """A module with those of CuPy's functions that the backend may call."""

    def asarray(array: np.ndarray) -> DeviceArray:
        assert not isinstance(array, DeviceArray)
        return on_device(array.copy())

    def packbits(array: Any, *, bitorder: str = "big") -> DeviceArray:
        return on_device(np.packbits(on_host(array), bitorder=bitorder))  # type: ignore[call-overload]

    def unpackbits(array: Any, *, bitorder: str = "big") -> DeviceArray:
        return on_device(np.unpackbits(on_host(array), bitorder=bitorder))  # type: ignore[call-overload]

    def bincount(array: Any) -> DeviceArray:
        assert array.ndim == 1
        return on_device(np.bincount(on_host(array)))

    cupy = ModuleType("cupy")
    vars(cupy).update(
        asarray=asarray,
        asnumpy=lambda array: on_host(array).copy(),
        arange=lambda stop: on_device(np.arange(stop)),
        empty=lambda shape, dtype: on_device(np.full(shape, 77).astype(dtype)),
        zeros=lambda shape, dtype: on_device(np.zeros(shape, dtype)),
        zeros_like=lambda array: on_device(np.zeros_like(on_host(array))),
        ascontiguousarray=lambda array: on_device(np.ascontiguousarray(on_host(array))),
        count_nonzero=lambda array, axis: on_device(np.count_nonzero(on_host(array), axis=axis)),
        packbits=packbits,
        unpackbits=unpackbits,
        bincount=bincount,
        cuda=make_cuda(),
        get_default_memory_pool=lambda: SimpleNamespace(free_all_blocks=lambda: freed.append("device")),
        get_default_pinned_memory_pool=lambda: SimpleNamespace(
            free_all_blocks=lambda: freed.append("pinned")
        ),
    )
    return cupy


def gaussian(
    image: Any, sigma: Any, mode: str = "nearest", *, preserve_range: bool, truncate: float, out: Any
) -> None:
    # cuCIM sums in float32 unless its input is float64, which would not agree with SciPy, and it wants no overlap.
    assert image.dtype == np.float64
    assert not np.shares_memory(on_host(image), on_host(out))
    assert preserve_range
    ndimage.gaussian_filter(on_host(image), sigma, output=on_host(out), mode=mode, truncate=truncate)


def ball(radius: int) -> DeviceArray:
    grid = np.indices((2 * radius + 1,) * 3) - radius
    return on_device(((grid**2).sum(0) <= radius**2).astype(np.uint8))


def binary_closing(image: Any, footprint: Any) -> DeviceArray:
    # What lies beyond the array is empty when cuCIM dilates, and full when it erodes.
    dilated = ndimage.binary_dilation(on_host(image), on_host(footprint))
    return on_device(ndimage.binary_erosion(dilated, on_host(footprint), border_value=1))


def label(mask: Any, *, connectivity: int) -> DeviceArray:
    structure = ndimage.generate_binary_structure(3, connectivity)
    return on_device(ndimage.label(on_host(mask), structure)[0].astype(np.int32))


@pytest.fixture
def freed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Stand-ins for CuPy and cuCIM; the list tells which memory pools were emptied."""
    emptied: list[str] = []
    rooms = ("cucim", *(f"cucim.skimage{room}" for room in ("", ".filters", ".measure", ".morphology")))
    modules = {name: ModuleType(name) for name in rooms}
    modules["cupy"] = make_cupy(emptied)
    vars(modules["cucim.skimage.filters"]).update(gaussian=gaussian)
    vars(modules["cucim.skimage.measure"]).update(label=label)
    vars(modules["cucim.skimage.morphology"]).update(ball=ball, binary_closing=binary_closing)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    cuda.why_unusable.cache_clear()
    yield emptied
    cuda.why_unusable.cache_clear()


def volumes() -> Iterator[tuple[str, np.ndarray]]:
    """Volumes of several dtypes, sizes and characters."""
    rng = np.random.default_rng(11)
    noise = rng.integers(0, 256, (20, 40, 70), dtype=np.uint8)
    yield "noise", noise
    yield "smooth", ndimage.gaussian_filter(noise.astype(np.float32), 3)
    yield "float64", ndimage.gaussian_filter(noise.astype(np.float64), 2) * 1e-3 - 5
    yield "int16", (noise.astype(np.int16) - 128) * 9
    yield "big-endian", noise.astype(">u2")
    yield "half", noise.astype(np.float16)
    yield "flipped view", noise[::-1, :, ::-2]
    yield "one slice", noise[:1]
    yield "constant", np.full((9, 10, 11), 3, dtype=np.uint8)
    plates = np.zeros((40, 60, 60), dtype=np.uint8)
    plates[8:11, 5:25, 5:25] = plates[29:32, 35:55, 35:55] = 100
    yield "tie", plates


@pytest.mark.parametrize("name", [name for name, _ in volumes()])
def test_on_stand_ins_it_answers_as_the_cpu_does(freed: list[str], name: str) -> None:
    volume = dict(volumes())[name]
    assert auto_prompt(volume, top=3, device="cuda") == auto_prompt(volume, top=3, device="cpu")
    assert freed == ["device", "pinned"]


def test_auto_goes_where_the_network_is(freed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert select_backend("auto").name == "cpu"
    assert cuda.why_unusable.cache_info().currsize == 0  # CuPy was not even imported
    assert select_backend("cuda").name == "cuda"
    assert select_backend("auto").name == "cpu"
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert select_backend("auto").name == "cuda"
    monkeypatch.setattr(sys.modules["cupy"].cuda.runtime, "getDeviceCount", lambda: 0)
    cuda.why_unusable.cache_clear()
    assert select_backend("auto").name == "cpu"


def test_where_torch_computes_cupy_takes_its_stream_and_memory(
    freed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    stream = SimpleNamespace(cuda_stream=77, device=SimpleNamespace(index=1))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: stream)
    given: list[int] = []
    taken: list[tuple[int, int, Any]] = []
    monkeypatch.setattr(
        torch.cuda, "caching_allocator_alloc", lambda *arguments: taken.append(arguments) or 4096
    )
    monkeypatch.setattr(torch.cuda, "caching_allocator_delete", given.append)
    volume = dict(volumes())["noise"]
    assert auto_prompt(volume, device="auto") == auto_prompt(volume, device="cpu")
    recorded = sys.modules["cupy"].cuda.recorded
    inside = ["device 1", "stream (0, 77)", "allocator"]
    assert recorded.entered == [*inside, *(f"after {what}" for what in reversed(inside))]
    take, give = recorded.malloc(512)
    assert take(512, 1) == 4096
    assert taken == [(512, 1, stream)]
    give(4096, 1)
    assert given == [4096]

    def fail(*_: Any) -> int:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB\nmore")

    # What `auto_prompt` hands over to the CPU upon, as with CuPy's own pool.
    monkeypatch.setattr(torch.cuda, "caching_allocator_alloc", fail)
    with pytest.raises(MemoryError, match=r"Tried to allocate 20\.00 GiB$"):
        take(512, 1)


def test_without_torch_on_the_gpu_cupy_keeps_its_own_memory(freed: list[str]) -> None:
    auto_prompt(dict(volumes())["noise"], device="cuda")
    assert sys.modules["cupy"].cuda.recorded.entered == []


def test_the_volume_goes_up_once_and_no_volume_comes_down(
    freed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cupy = sys.modules["cupy"]
    up: list[int] = []
    down: list[int] = []
    asarray, asnumpy = cupy.asarray, cupy.asnumpy

    def count_up(array: np.ndarray) -> DeviceArray:
        up.append(array.nbytes)
        return asarray(array)  # type: ignore[no-any-return]

    def count_down(array: Any) -> np.ndarray:
        down.append(array.size)
        return asnumpy(array)  # type: ignore[no-any-return]

    monkeypatch.setattr(cupy, "asarray", count_up)
    monkeypatch.setattr(cupy, "asnumpy", count_down)
    volume = dict(volumes())["tie"]
    auto_prompt(volume, device="cuda")
    assert up == [volume.nbytes]
    # The voxels of each component, then the box's profile along z, y and x.
    assert down == [3, *volume.shape]


def test_no_gpu_at_all(freed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["cupy"].cuda.runtime, "getDeviceCount", lambda: 0)
    assert cuda.why_unusable() == "no NVIDIA GPU is visible"
    assert select_backend("auto").name == "cpu"


def test_a_broken_driver_is_told_in_one_line(freed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise RuntimeError("cudaErrorInsufficientDriver: driver too old\nmore")

    monkeypatch.setattr(sys.modules["cupy"].cuda.runtime, "getDeviceCount", fail)
    with pytest.raises(ValueError, match="driver too old") as refusal:
        select_backend("cuda")
    assert "\n" not in str(refusal.value)


def test_cupy_that_is_not_installed_is_told(freed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ValueError, match=r"cannot be imported.*lexor\[gpu\]"):
        select_backend("cuda")


def test_without_memory_on_the_gpu_the_cpu_answers(freed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(mask: Any, *, connectivity: int) -> None:
        raise MemoryError("Out of memory allocating 1,024 bytes")

    monkeypatch.setattr(sys.modules["cucim.skimage.measure"], "label", fail)
    volume = dict(volumes())["noise"]
    with pytest.warns(RuntimeWarning, match="Out of memory allocating"):
        boxes = auto_prompt(volume, device="cuda")
    assert boxes == auto_prompt(volume, device="cpu")
    assert freed == ["device", "pinned"]


@pytest.fixture
def gpu() -> None:
    reason = cuda.why_unusable()
    if reason is not None:
        pytest.skip(f"the GPU backend cannot run here: {reason}")


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("name", [name for name, _ in volumes()])
def test_on_a_gpu_it_answers_as_the_cpu_does(name: str) -> None:
    volume = dict(volumes())[name]
    for parameters in (IntensityParameters(), IntensityParameters(sigma=1, closing_radius=2, margin=0)):
        expected = auto_prompt(volume, top=5, device="cpu", parameters=parameters)
        assert auto_prompt(volume, top=5, device="cuda", parameters=parameters) == expected


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_gpu_the_closing_is_the_textbooks_also_at_the_border() -> None:
    rng = np.random.default_rng(3)
    for shape, radius, share in (((9, 20, 70), 3, 0.05), ((1, 12, 13), 3, 0.2), ((8, 9, 10), 0, 0.5)):
        mask = rng.random(shape) < share
        backend = select_backend("cuda")
        with backend.computing():
            uploaded = backend.upload(mask)
            for closed in (
                backend.close(uploaded.__getitem__, shape, radius),
                close_with_ball(uploaded.__getitem__, shape, radius, backend),
            ):
                np.testing.assert_array_equal(backend.download(closed), textbook.close(mask, radius))


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_gpu_torch_lends_its_memory_and_gets_it_back() -> None:
    import cupy

    ballast = torch.ones(1, device="cuda")
    assert select_backend("auto").name == "cuda"
    volume = dict(volumes())["noise"]
    auto_prompt(volume, device="auto")
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    cupy.get_default_memory_pool().free_all_blocks()
    assert auto_prompt(volume, device="auto") == auto_prompt(volume, device="cpu")
    assert torch.cuda.max_memory_allocated() - before >= 4 * volume.size
    assert torch.cuda.memory_allocated() == before
    assert cupy.get_default_memory_pool().total_bytes() == 0
    assert ballast.item() == 1


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_gpu_the_network_and_the_prompt_are_both_there(monkeypatch: pytest.MonkeyPatch) -> None:
    uploaded: list[np.ndarray] = []
    upload = cuda.CudaBackend.upload

    def count(backend: cuda.CudaBackend, volume: np.ndarray) -> Any:
        uploaded.append(volume)
        return upload(backend, volume)

    monkeypatch.setattr(cuda.CudaBackend, "upload", count)
    case = Case("CT_body", body((16, 50, 40)), (1.0, 1.0, 1.0))
    (target,) = Predictor(device="cuda").segment(case, "intensity").targets
    assert len(uploaded) == 1
    assert [target.box] == auto_prompt(case.volume, device="cpu")


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_gpu_the_prompt_waits_for_the_streams_work() -> None:
    volume = dict(volumes())["smooth"]
    expected = auto_prompt(volume, device="cpu")
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.randn(2048, 2048, device="cuda") @ torch.randn(2048, 2048, device="cuda")
        assert auto_prompt(volume, device="auto") == expected


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_gpu_it_answers_as_the_cpu_does_on_real_volumes(shared_data: Path) -> None:
    for path in sorted([*shared_data.glob("val/*.npz"), *shared_data.glob("unlabelled/*.npz")]):
        with np.load(path) as file:
            volume = file["imgs"]
        assert auto_prompt(volume, device="cuda") == auto_prompt(volume, device="cpu"), path.name
