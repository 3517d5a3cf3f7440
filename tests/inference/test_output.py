# SPDX-License-Identifier: Apache-2.0
"""What a call of a pipeline returns: PIL images, arrays and tensors, sheets and files."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from support.pipelines import arrays, pipeline
from support.tiny import tiny

from stylegan import Networks, Pipeline, PipelineOutput, UserError, build_generator


def of_channels(channels):
    config = tiny(channels=channels)
    torch.manual_seed(0)
    return Pipeline(Networks(config, {}, G_ema=build_generator(config)))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_type_has_the_same_pictures(channels):
    pipe = of_channels(channels)
    out = {t: pipe(seeds=[1, 2, 3], batch=2, output_type=t) for t in ("pil", "np", "pt")}
    expected = arrays(out["pil"].images).reshape(3, 16, 16, channels)
    values = out["np"].images
    assert isinstance(values, np.ndarray) and values.dtype == np.float32
    assert values.shape == (3, 16, 16, channels) and values.flags.c_contiguous
    assert values.min() >= 0 and values.max() <= 1
    assert np.abs(values * 255 - expected).max() <= 0.51
    tensor = out["pt"].images
    assert tensor.shape == (3, channels, 16, 16) and tensor.dtype == torch.float32
    assert np.abs(tensor.permute(0, 2, 3, 1).numpy() - values).max() == 0
    for other in out.values():
        assert torch.equal(other.ws, out["pil"].ws) and len(other) == 3
        assert np.abs(arrays(other.pil()) - arrays(out["pil"].images)).max() <= 1


@pytest.mark.parametrize("output_type", ["np", "pt"])
def test_what_is_handed_out_is_ordinary(output_type):
    with torch.inference_mode():
        images = pipeline()(seeds=[1, 2], output_type=output_type).images
    before = images[1].copy() if output_type == "np" else images[1].clone()
    images[0] = 0.5  # an inference tensor refuses it
    assert (images[1] == before).all()
    if output_type == "pt":
        assert not images.requires_grad and not images.is_inference()
        images.requires_grad_().sum().backward()


def test_a_network_of_float64_keeps_its_precision():
    pipe = pipeline().to(torch.float64)
    assert pipe(seeds=1, output_type="pt").images.dtype == torch.float64
    assert pipe(seeds=1, output_type="np").images.dtype == np.float32


@pytest.mark.parametrize("wrong", ["numpy", "latent", None, 3])
def test_types_that_do_not_exist(wrong):
    with pytest.raises(UserError, match="^output_type: expected one of pil, np, pt, got "):
        pipeline()(seeds=1, output_type=wrong)


@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
def test_an_output_is_a_sequence_of_images(output_type):
    out = pipeline()(seeds=[5, 6, 7], output_type=output_type)
    assert len(out) == len(list(out)) == 3 and len(out[1:]) == 2
    part = out[1:]
    assert isinstance(part, PipelineOutput) and part.seeds == [6, 7] and len(part.labels) == 2
    assert torch.equal(part.ws, out.ws[1:])
    for ours, theirs in ((out[1], part[0]), (out[-1], part[-1])):
        assert (np.asarray(ours) == np.asarray(theirs)).all()
    with pytest.raises(IndexError):
        out[3]
    for again in (copy.deepcopy(out), pickle.loads(pickle.dumps(out))):
        assert again.seeds == out.seeds and (arrays(again.pil()) == arrays(out.pil())).all()


@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
@pytest.mark.parametrize(
    "count, columns, size", [(5, None, (3, 2)), (3, 2, (2, 2)), (1, 9, (1, 1))]
)
def test_a_sheet(output_type, count, columns, size):
    out = pipeline()(seeds=range(count), output_type=output_type)
    sheet = out.grid() if columns is None else out.grid(columns)
    assert sheet.size == (16 * size[0], 16 * size[1])
    last = sheet.crop((16 * ((count - 1) % size[0]), 16 * (size[1] - 1), sheet.width, sheet.height))
    assert (np.asarray(last)[:16, :16] == np.asarray(out.pil()[-1])).all()


def test_sheets_are_enlarged_and_have_no_empty_cells():
    out = pipeline()(seeds=[1])
    assert out.grid(scale=3).size == (48, 48) and out.grid(scale="auto").size == (128, 128)
    fifteen = PipelineOutput([Image.new("RGB", (16, 16))] * 15, out.ws, [None] * 15)
    assert fifteen.grid().size == (16 * 5, 16 * 3)
    with pytest.raises(UserError, match="^scale: expected a whole number"):
        out.grid(scale=0)


def test_files(tmp_path):
    pipe = pipeline()
    out = pipe(seeds=[3, 12345])
    paths = out.save(tmp_path / "a" / "b")
    assert [path.name for path in paths] == ["seed0003.png", "seed12345.png"]
    assert (arrays(map(Image.open, paths)) == arrays(out.images)).all()
    with pytest.raises(UserError, match="seed12345.png: already exists; overwrite=True replaces"):
        pipe(seeds=[9, 12345]).save(tmp_path / "a" / "b")
    assert not (tmp_path / "a" / "b" / "seed0009.png").exists()
    out.save(tmp_path / "a" / "b", overwrite=True)
    files = [pipe(seeds=[3, 3]), pipe(ws=out.ws, output_type="np")]
    for i, unnamed in enumerate(files):
        names = [path.name for path in unnamed.save(tmp_path / str(i), format="webp")]
        assert names == ["image0000.webp", "image0001.webp"]
    with pytest.raises(UserError, match="^format: expected png or webp, got 'jpg'"):
        out.save(tmp_path, format="jpg")


def test_what_a_notebook_shows():
    pipe = pipeline()
    out = pipe(seeds=range(5))
    with Image.open(io.BytesIO(out._repr_png_())) as sheet:
        assert (np.asarray(sheet) == np.asarray(out.grid())).all()
    html = out._repr_html_()
    assert html.startswith("<div>5 images</div><img width=") and "base64," in html
    many = PipelineOutput(out.images * 20, out.ws.repeat(20, 1, 1), out.labels * 20)
    assert "<div>100 images, the first 64</div>" in many._repr_html_()
    large = PipelineOutput([Image.new("RGB", (1024, 512))] * 2, out.ws[:2], [None] * 2)
    with Image.open(io.BytesIO(large._repr_png_())) as sheet:
        assert sheet.size == (128, 128)
    assert large.images[0].size == (1024, 512)
    assert PipelineOutput([], out.ws[:0], [])._repr_html_() is None


def test_reprs_of_outputs():
    pipe = pipeline()
    assert repr(pipe(seeds=[1, 2])) == "PipelineOutput(2 images, 16x16 RGB, ws [2, 6, 8])"
    text = repr(pipe(seeds=1, output_type="pt"))
    assert text == ("PipelineOutput(1 image, tensor [1, 3, 16, 16] in [0, 1] on cpu, ws [1, 6, 8])")
    assert "array [1, 16, 16, 3] in [0, 1], ws" in repr(pipe(seeds=1, output_type="np"))
    out = PipelineOutput([Image.new("L", (4, 2))] * 9, torch.zeros(9, 2, 3), list(range(9)))
    assert repr(out) == (
        "PipelineOutput(9 images, 4x2 L, ws [9, 2, 3], labels 0, 1, 2, 3, 4, 5, 6, 7, ...)"
    )
    assert repr(pipe.map(seeds=[1, 2])) == "Mapped(ws [2, 6, 8] on cpu)"
