# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from support.tiny import tiny, with_contrast

from stylegan import Networks, Pipeline, UserError, build_generator
from stylegan.inference.batching import image_bytes
from stylegan.models.stylegan3 import make_transform

NAMES = ["cat", "dog", "7"]


def pipeline(compile=False, **fields):
    config = tiny(**fields)
    torch.manual_seed(0)
    G = with_contrast(build_generator(config))
    for name, p in G.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.constant_(p, 0.3)
    G.mapping.w_avg.normal_()
    return Pipeline(Networks(config, {"dataset": {"class_names": NAMES}}, G_ema=G), compile)


def arrays(images):
    return np.stack([np.asarray(image).astype(int) for image in images])


@pytest.mark.parametrize("noise_mode", ["const", "random", "none"])
def test_a_seed_is_an_image_whatever_its_neighbours(noise_mode):
    pipe = pipeline()
    together = arrays(pipe(seeds=[4, 5, 6], noise_mode=noise_mode, batch=3).images)
    alone = arrays(pipe(seeds=[5], noise_mode=noise_mode).images)
    assert np.abs(together[1] - alone[0]).max() <= 1
    assert np.abs(together[0] - together[1]).max() > 10


def test_latents_are_those_that_published_images_were_drawn_with():
    z = pipeline().latents([0])
    assert z.dtype == torch.float32 and z.shape == (1, 8)
    # The first draws of numpy.random.RandomState(0), which its documentation has shown for years.
    expected = torch.tensor([1.76405235, 0.40015721, 0.97873798, 2.2408932, 1.86755799])
    torch.testing.assert_close(z[0, :5], expected)


def test_seeds_latents_and_ws_lead_to_the_same_image():
    pipe = pipeline()
    by_seed = pipe(seeds=[3], truncation_psi=0.7)
    by_latent = pipe(latents=pipe.latents([3]), truncation_psi=0.7)
    by_w = pipe(ws=by_seed.ws)
    assert (arrays(by_seed.images) == arrays(by_latent.images)).all()
    assert (arrays(by_seed.images) == arrays(by_w.images)).all()
    assert by_seed.labels == [None]


@pytest.mark.parametrize("channels, mode", [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_modes(channels, mode):
    assert pipeline(channels=channels)(seeds=[0]).images[0].mode == mode


def test_classes_by_number_name_vector_and_seed():
    pipe = pipeline(c_dim=3)
    by_name = pipe(seeds=[1], label="DOG")
    assert by_name.labels == [1]
    for label in (1, "1", [0.0, 1, 0]):
        assert (arrays(pipe(seeds=[1], label=label).images) == arrays(by_name.images)).all()
    assert pipe(seeds=[1], label="7").labels == [2]  # a name goes before a number
    assert pipe(seeds=[0, 4, 5]).labels == [0, 1, 2]
    assert (arrays(pipe(seeds=[1], label=0).images) != arrays(by_name.images)).any()


def test_mixing_takes_the_layers_of_the_column():
    pipe = pipeline()
    table = pipe.mix([0, 1], [2, 3, 4], layers=[0, 1])
    assert [len(row) for row in table] == [4, 4, 4] and table[0][0] is None
    rows, columns = pipe(seeds=[0, 1]), pipe(seeds=[2, 3, 4])
    assert (arrays(table[0][1:]) == arrays(columns.images)).all()
    ws = rows.ws[1].clone()
    ws[:2] = columns.ws[2, :2]
    assert np.abs(arrays([table[2][3]]) - arrays(pipe(ws=ws[None]).images)).max() <= 1
    every = pipe.mix([0], [2], layers=range(pipe.G.num_ws))
    assert np.abs(arrays([every[1][1]]) - arrays([every[0][1]])).max() <= 1


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({}, "exactly one of seeds, latents and ws"),
        ({"seeds": [1], "ws": 1}, "exactly one of"),
        ({"seeds": [-1]}, "seed: expected an integer from 0"),
        (
            {"seeds": [0], "label": "fish"},
            "class 'fish': expected a number from 0 to 2 or one of cat",
        ),
        ({"seeds": [0], "label": [1.0, 0]}, r"label: expected \[3\], got \[2\]"),
    ],
)
def test_rejects(kwargs, message):
    with pytest.raises(UserError, match=message):
        pipeline(c_dim=3)(**kwargs)


def test_a_class_for_a_network_without_classes():
    with pytest.raises(UserError, match="has no classes"):
        pipeline()(seeds=[0], label="cat")


def test_pictures_of_stylegan3_move_and_come_back():
    pipe = pipeline(name="stylegan3-t")
    transform = pipe.G.synthesis.input.transform
    still = arrays(pipe(seeds=[0, 1]).images)
    moved = arrays(pipe(seeds=[0, 1], translate=(0.25, 0), rotate=20).images)
    assert torch.equal(transform, torch.eye(3))
    assert np.abs(moved - still).max() > 5
    assert (arrays(pipe(seeds=[0, 1]).images) == still).all()
    expected = make_transform((0.25, 0), 20).float()
    transform.copy_(expected)  # a network may have one of its own, which comes first
    assert (arrays(pipe(seeds=[0, 1]).images) == moved).all()
    twice = arrays(pipe(seeds=[0, 1], translate=(0.1, 0)).images)
    transform.copy_(expected @ make_transform((0.1, 0)).float())
    assert np.abs(arrays(pipe(seeds=[0, 1]).images) - twice).max() <= 1


def test_an_error_leaves_the_pictures_where_they_were(monkeypatch):
    pipe = pipeline(name="stylegan3-t")
    monkeypatch.setattr(pipe, "_images", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pipe(seeds=[0], rotate=20)
    assert torch.equal(pipe.G.synthesis.input.transform, torch.eye(3))
    assert not pipe.lock.locked()


@pytest.mark.thorough
def test_a_compiled_network_sees_the_motion(monkeypatch):
    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *a, **k: compile(*a, backend="aot_eager", **k))
    pipe, plain = (pipeline(name="stylegan3-t", compile=c) for c in (True, False))
    for angle in (None, 40, None):
        images = [arrays(p(seeds=[0], rotate=angle).images) for p in (pipe, plain)]
        assert np.abs(images[0] - images[1]).max() <= 1
    torch.compiler.reset()


def test_pictures_of_stylegan2_stay_where_they_are():
    with pytest.raises(UserError, match="only StyleGAN3 can; this network is StyleGAN2; leave"):
        pipeline()(seeds=[0], translate=(0.1, 0))


def test_memory_of_an_image_covers_the_largest_layer():
    for name in ("stylegan2", "stylegan3-t", "stylegan3-r"):
        small, large = (
            pipeline(name=name, resolution=size, channel_base=size * 8) for size in (16, 64)
        )
        bytes_of = [image_bytes(p.G, torch.device("cpu")) for p in (small, large)]
        assert bytes_of[1] > 4 * bytes_of[0] > 4 * 8 * 16 * 16 * 4
