# SPDX-License-Identifier: Apache-2.0
"""Label vectors of another network, which go over by the names of their numbers."""

import pytest
import torch
from support.tiny import tiny

from stylegan.networks import Networks
from stylegan.training.step import TrainingStep
from stylegan.training.transfer import transfer

CPU = torch.device("cpu")
VECTORS = torch.tensor([[1.0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
THERE = ("smile", "hat", "beard")


def started(folder, here, there=THERE, c_dim=3):
    """(the source, a step with labels named `here`, the rows of the mapping networks)."""
    old = TrainingStep(tiny(c_dim=len(VECTORS[0])), CPU, VECTORS)
    for network in (old.G, old.D):
        for p in network.parameters():
            p.data += 0.3 * torch.randn_like(p)
    old.G_ema.load_state_dict(old.G.state_dict())
    folder.mkdir(exist_ok=True)
    meta = {"dataset": {"label_names": list(there)}}
    Networks(old.config, meta, old.G_ema, old.G, old.D, label_vectors=VECTORS).save(folder)
    new = TrainingStep(tiny(c_dim=c_dim, seed=9), CPU, torch.rand(4, c_dim))
    rows = [r for r in transfer(new, folder, (), here) if " mapping " in r]
    return old, new, rows


def images_equal(old, new, c_old, c_new):
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    c_old, c_new = (torch.tensor([c]).expand(3, -1) for c in (c_old, c_new))
    pairs = [(old.G_ema(z, c_old), new.G_ema(z, c_new)), (old.D(x, c_old), new.D(x, c_new))]
    return all(torch.allclose(a, b, rtol=1e-3, atol=2e-4) for a, b in pairs)


def test_another_order_of_the_same_labels(tmp_path):
    old, new, rows = started(tmp_path, ("beard", "smile", "hat"))
    assert images_equal(old, new, [1.0, 0.0, 0.5], [0.5, 1.0, 0.0])
    assert not images_equal(old, new, [1.0, 0.0, 0.5], [1.0, 0.0, 0.5])
    assert all(row.endswith("3 of 3 labels by name") for row in rows)


def test_new_labels_have_no_effect_and_those_left_out_stay_at_their_mean(tmp_path):
    old, new, rows = started(tmp_path, ("glasses", "beard", "hat", "coat"), c_dim=4)
    smile = VECTORS[:, 0].mean().item()
    for glasses, coat in ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)):
        assert images_equal(old, new, [smile, 1.0, 0.3], [glasses, 0.3, 1.0, coat])
    assert "2 of 4 labels by name, others have no effect at first" in rows[0]
    c = torch.tensor([[1.0, 0, 1, 1]] * 4)
    new.step(torch.rand(4, 3, 16, 16), c)
    before = new.G.mapping.embed.weight.clone()
    new.labels = c
    new.step(torch.rand(4, 3, 16, 16), c)
    assert (new.G.mapping.embed.weight != before)[:, [0, 3]].any()  # they learn


@pytest.mark.parametrize(
    ("here", "there", "text"),
    [
        (("a", "b", "c"), THERE, "no label of the same name"),
        ((), THERE, "classes by number: one side has no names"),
        (THERE, (), "labels by number: one side has no names"),
        (THERE, THERE, None),
    ],
)
def test_what_the_table_says(tmp_path, here, there, text):
    _, _, rows = started(tmp_path, here, there)
    row = rows[-1]  # D's
    assert row.endswith(text) if text else row.split()[-3:] == row.split()[2:5]
