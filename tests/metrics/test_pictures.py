# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from support.pictures import encoded, picture
from support.pipelines import arrays, pipeline

from stylegan.data.dataset import ImageDataset
from stylegan.metrics.pictures import of_dataset, of_network, on_white, sample_rng, split


def test_images_of_a_data_set(tmp_path):
    for i in range(5):
        (tmp_path / f"{i}.png").write_bytes(encoded(picture((16, 16), seed=i)))
    stream = of_dataset(ImageDataset(tmp_path), batch=2)
    batches = list(stream.batches)
    assert stream.count == 5 and [len(b) for b in batches] == [2, 2, 1]
    expected = np.stack([np.asarray(picture((16, 16), seed=i)) for i in range(5)])
    assert (torch.cat(batches).permute(0, 2, 3, 1).numpy() == expected).all()


def test_images_of_a_network_are_those_of_the_first_seeds():
    pipe = pipeline()
    pipe.batch = 2
    stream = of_network(pipe, 3, psi=0.7)
    batches = list(stream.batches)
    assert stream.count == 3 and [b.shape for b in batches] == [(2, 3, 16, 16), (1, 3, 16, 16)]
    images = arrays(pipe(range(3), truncation_psi=0.7).images)
    got = torch.cat(batches).permute(0, 2, 3, 1).numpy().astype(int)
    assert np.abs(got - images).max() <= 1


def test_transparent_images_are_composited_on_white():
    rgba = torch.tensor([[100, 0], [0, 0], [255, 0], [255, 0]], dtype=torch.uint8)
    x = on_white(rgba[None, :, :, None])
    expected = torch.tensor([[100, 255], [0, 255], [255, 255]]) / 127.5 - 1
    torch.testing.assert_close(x, expected.double()[None, :, :, None])
    grey = torch.tensor([0, 255], dtype=torch.uint8)[None, None, None]
    assert on_white(grey).flatten().tolist() == [-1, 1]


def test_samples_do_not_depend_on_batches():
    assert [list(part) for part in split(5, 2)] == [[0, 1], [2, 3], [4]]
    draws = {sample_rng(seed, i).standard_normal() for seed in (0, 1) for i in (0, 1)}
    assert len(draws) == 4
    assert sample_rng(1, 2).standard_normal() == pytest.approx(sample_rng(1, 2).standard_normal())
