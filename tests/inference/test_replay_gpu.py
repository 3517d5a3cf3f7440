# SPDX-License-Identifier: Apache-2.0
import threading
import warnings

import pytest
import torch
from support.gpu import pytestmark  # noqa: F401
from support.pipelines import arrays, pipeline
from support.tiny import tiny, with_contrast

from stylegan import Networks, Pipeline, build_generator
from stylegan.inference.batching import default_batch
from stylegan.inference.replay import GraphedSynthesis


def on_gpu(**fields):
    config = tiny(**fields)
    torch.manual_seed(0)
    return Pipeline(Networks(config, {}, G_ema=with_contrast(build_generator(config)).cuda()))


@pytest.mark.parametrize("precision", ["float32", "auto"])
@pytest.mark.parametrize("noise_mode", ["const", "none"])
def test_replays_are_the_eager_images(precision, noise_mode):
    pipe = on_gpu(precision=precision)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("error")
        for seed in range(5):
            torch.manual_seed(seed)
            ws = torch.randn(3, pipe.G.num_ws, pipe.G.w_dim, device="cuda")
            y = pipe.graphed(ws, noise_mode, 3)
            expected = pipe.G.synthesis(ws, noise_mode)
            # Strategies of convolutions may differ under a graph, so not the very same bits.
            torch.testing.assert_close(y, expected, rtol=1e-2, atol=1e-2)
    assert len(pipe.graphed.graphs) == 1


def test_a_later_replay_does_not_change_images_given_before():
    pipe = on_gpu()
    with torch.inference_mode():
        many = torch.randn(4, 2, pipe.G.num_ws, pipe.G.w_dim, device="cuda").unbind()
        given = [pipe.graphed(ws, "const", 2) for _ in range(2) for ws in many]
        kept = [y.clone() for y in given]
        pipe.graphed(torch.zeros_like(many[0]), "const", 2)
        assert all(torch.equal(a, b) for a, b in zip(given, kept))
        assert not torch.equal(given[-1], given[-2])


def test_threads_on_streams_of_their_own_get_their_own_images():
    pipe = on_gpu()
    ws = torch.randn(2, 20, 2, pipe.G.num_ws, pipe.G.w_dim, device="cuda")
    with torch.inference_mode():
        for _ in range(3):
            pipe.graphed(ws[0, 0], "const", 2)
        expected = [[pipe.graphed(w, "const", 2) for w in part] for part in ws]
    torch.cuda.synchronize()
    results = [[], []]

    def work(i):
        with torch.cuda.stream(torch.cuda.Stream()), torch.inference_mode():
            results[i] += [pipe.graphed(w, "const", 2) for w in ws[i]]
            torch.cuda.current_stream().synchronize()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result, wanted in zip(results, expected):
        assert all(torch.equal(a, b) for a, b in zip(result, wanted)) and len(result) == 20


def test_a_run_that_waits_for_the_gpu_is_not_captured_and_stays_right():
    pipe = on_gpu()

    def waits(ws, noise_mode):
        return pipe.G.synthesis(ws * (1 if ws.sum().item() > -1e9 else 0), noise_mode)

    graphed = GraphedSynthesis(waits)
    with torch.inference_mode():
        ws = torch.randn(2, pipe.G.num_ws, pipe.G.w_dim, device="cuda")
        expected = graphed(ws, "const", 2)
        with pytest.warns(UserWarning, match="no CUDA graphs"):
            graphed(ws, "const", 2)
        torch.testing.assert_close(graphed(ws, "const", 2), expected, rtol=1e-2, atol=1e-2)


def test_images_are_those_of_the_cpu():
    pipe, cpu = on_gpu(precision="float32"), pipeline()
    cpu.G.load_state_dict(pipe.G.state_dict())
    for _ in range(3):
        images = pipe(seeds=range(5), batch=2).images
    assert abs(arrays(images) - arrays(cpu(seeds=range(5)).images)).max() <= 3


def test_the_batch_follows_the_free_memory(monkeypatch):
    G = on_gpu().G
    device = torch.device("cuda")
    roomy = default_batch(G, device)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (0, 1 << 30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device=None: 0)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device=None: 0)
    assert default_batch(G, device) == 1 < roomy


@pytest.mark.parametrize("name", ["stylegan3-t", "stylegan3-r"])
def test_a_replay_sees_the_transform_of_stylegan3(name):
    pipe = on_gpu(name=name, precision="float32")
    expected = {a: arrays(pipe(seeds=[0, 1], rotate=a).images) for a in (0, 30)}
    for _ in range(3):
        for angle, images in expected.items():
            again = arrays(pipe(seeds=[0, 1], rotate=angle).images)
            assert abs(again - images).max() <= 3
    assert len(pipe.graphed.graphs) == 1
    assert abs(expected[0] - expected[30]).max() > 5


def test_images_of_stylegan3_are_those_of_the_cpu():
    pipe = on_gpu(name="stylegan3-r", precision="float32")
    config = tiny("stylegan3-r")
    cpu = Pipeline(Networks(config, {}, G_ema=build_generator(config)))
    cpu.G.load_state_dict(pipe.G.state_dict())
    images = pipe(seeds=range(5), batch=2).images
    assert abs(arrays(images) - arrays(cpu(seeds=range(5)).images)).max() <= 3


@pytest.mark.parametrize("name", ["stylegan3-t", "stylegan3-r"])
def test_half_precision_of_stylegan3_stays_close(name):
    half, full = (
        arrays(on_gpu(name=name, precision=p)(seeds=range(4)).images) for p in ("auto", "float32")
    )
    assert 0 < abs(half - full).max() <= 12
