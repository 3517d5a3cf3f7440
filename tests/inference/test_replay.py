# SPDX-License-Identifier: Apache-2.0
import functools
import warnings

import numpy as np
import pytest
import torch
from support.pipelines import arrays, pipeline
from support.tiny import tiny

import stylegan_ops
from stylegan import UserError, build_generator
from stylegan.inference.batching import image_bytes
from stylegan.inference.replay import GraphedSynthesis


class Recorder:
    """Stands for a GPU: counts the eager runs, the captures and the replays."""

    def __init__(self):
        self.eager, self.captured, self.replayed = [], [], []

    def synthesis(self, ws, noise_mode):
        self.eager.append((len(ws), noise_mode))
        return ws + 1

    def capture(self, synthesis, ws, noise_mode):
        self.captured.append((len(ws), noise_mode))

        def replay(ws):
            self.replayed.append((len(ws), noise_mode))
            return ws + 1

        return replay


def run(graphed, n, noise_mode="const", batch=None):
    ws = torch.randn(n, 2, 3)
    assert torch.equal(graphed(ws, noise_mode, batch or n), ws + 1)


def test_the_second_run_of_a_shape_is_captured_and_later_ones_replay(auto_backend):
    gpu = Recorder()
    graphed = GraphedSynthesis(gpu.synthesis, gpu.capture)
    run(graphed, 4)
    run(graphed, 4, "none")
    assert gpu.eager == [(4, "const"), (4, "none")] and not gpu.captured
    for _ in range(3):
        run(graphed, 4)
    assert gpu.captured == [(4, "const")] and gpu.replayed == 3 * [(4, "const")]
    assert len(gpu.eager) == 2
    with stylegan_ops.backend("reference"):  # the graph has the kernels in it
        run(graphed, 4)
    assert len(gpu.eager) == 3


def test_the_rest_of_a_list_runs_eagerly():
    gpu = Recorder()
    graphed = GraphedSynthesis(gpu.synthesis, gpu.capture)
    for _ in range(3):
        run(graphed, 3, batch=4)
    assert gpu.eager == 3 * [(3, "const")] and not gpu.captured


def test_the_graph_unused_for_longest_is_dropped():
    gpu = Recorder()
    graphed = GraphedSynthesis(gpu.synthesis, gpu.capture, max_graphs=2)
    for n in (1, 1, 2, 2, 1, 3, 3):  # 3 replaces 2
        run(graphed, n)
    assert [n for n, *_ in graphed.graphs] == [1, 3]
    run(graphed, 2)
    assert [n for n, _ in gpu.eager] == [1, 2, 3, 2]
    graphed.clear()
    run(graphed, 1)
    assert gpu.eager[-1] == (1, "const") and not graphed.graphs


def test_what_cannot_be_captured_runs_eagerly_with_one_warning():
    gpu, tries = Recorder(), []

    def capture(*_):
        tries.append(1)
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    graphed = GraphedSynthesis(gpu.synthesis, capture)
    run(graphed, 4)
    with pytest.warns(UserWarning, match="no CUDA graphs.*: operation not permitted$"):
        run(graphed, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n in (4, 2, 2):
            run(graphed, n)
    assert len(tries) == 1 and len(gpu.eager) == 5


def test_a_pipeline_replays_whole_batches_only():
    pipe, gpu = pipeline(), Recorder()
    expected = pipe(seeds=range(5), batch=2).images
    synthesis = pipe.G.synthesis

    def capture(synthesis, ws, noise_mode):
        gpu.captured.append(len(ws))
        return lambda ws: synthesis(ws, noise_mode)

    pipe.graphed = GraphedSynthesis(synthesis, capture)
    assert (arrays(pipe(seeds=range(5), batch=2).images) == arrays(expected)).all()
    pipe(seeds=range(5), batch=2)
    assert gpu.captured == [2]
    pipe(seeds=range(5), batch=2, noise_mode="random")
    assert len(pipe.graphed.graphs) == 1


def test_a_batch_that_does_not_fit_is_halved(monkeypatch):
    pipe, sizes = pipeline(), []
    expected = pipe(seeds=range(7)).images
    synthesis = pipe.G.synthesis.forward

    def small(ws, noise_mode="const", generator=None):
        sizes.append(len(ws))
        if len(ws) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return synthesis(ws, noise_mode, generator)

    monkeypatch.setattr(pipe.G.synthesis, "forward", small)
    images = pipe(seeds=range(7)).images
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert np.abs(arrays(images) - arrays(expected)).max() <= 1
    assert pipe.batch == 1  # remembered
    monkeypatch.setattr(pipe.G.synthesis, "forward", lambda *_: small(torch.empty(3)))
    with pytest.raises(torch.OutOfMemoryError):
        pipe(seeds=[1])


def test_memory_of_an_image_grows_with_its_size():
    G = pipeline().G
    larger = build_generator(tiny(resolution=64, channel_base=512))
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    features = 8 * 64 * 64
    assert image_bytes(larger, cpu) >= 2 * 4 * features > image_bytes(G, cpu)
    assert 2 * 2 * features <= image_bytes(larger, cuda) < image_bytes(larger, cpu)


@pytest.fixture
def quick_compiler(monkeypatch):
    """torch.compile without code generation, which takes half a minute and is not tested here."""
    torch.compiler.reset()
    quick = functools.partial(torch.compile, backend="aot_eager")
    monkeypatch.setattr(torch, "compile", quick)
    yield
    torch.compiler.reset()


def test_compiled_images_are_the_same_and_a_rest_is_no_new_shape(quick_compiler, monkeypatch):
    pipe, shapes = pipeline(compile=True), []
    compiled = pipe.compiled.compiled

    def noting(ws, noise_mode):
        shapes.append(len(ws))
        return compiled(ws, noise_mode)

    pipe.compiled.compiled = noting
    expected = pipeline()(seeds=range(5)).images
    images = pipe(seeds=range(5), batch=2).images
    assert shapes == [2, 2, 2] and np.abs(arrays(images) - arrays(expected)).max() <= 1
    pipe(seeds=[3], noise_mode="random")
    assert len(shapes) == 3
    with pytest.raises(UserError, match=r"^ws: expected \[N, 6, 8\], got \[2, 3, 4\]$"):
        pipe(ws=torch.zeros(2, 3, 4))
    refusal = torch._dynamo.exc.FailOnRecompileLimitHit("eight shapes")
    pipe.compiled.compiled = lambda *_: (_ for _ in ()).throw(refusal)
    images = pipe(seeds=range(5)).images
    assert np.abs(arrays(images) - arrays(expected)).max() <= 1


def test_without_a_compiler_the_error_says_what_is_missing(monkeypatch):
    def backend(graph, inputs):
        raise RuntimeError("No working C++ compiler found in c++\nmore of it")

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    message = r"^compile: .*\(No working C\+\+ compiler found in c\+\+\); without --compile .*runs$"
    with pytest.raises(UserError, match=message) as error:
        pipeline(compile=True)(seeds=[0])
    assert "\n" not in str(error.value)
    torch.compiler.reset()
