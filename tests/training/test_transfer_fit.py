# SPDX-License-Identifier: Apache-2.0
"""What of another network fits a new run: a layer whole or not at all, classes by name."""

import pytest
import torch
from support.tiny import tiny, with_contrast

from stylegan import UserError
from stylegan.models.layers import normalize_2nd_moment
from stylegan.networks import Networks
from stylegan.training.step import TrainingStep
from stylegan.training.transfer import transfer
from stylegan.training.transfer.channels import convert_images
from stylegan.training.transfer.labels import Classes, matches
from stylegan.training.transfer.settings import with_structure_of

CPU = torch.device("cpu")


def step_of(config):
    labels = torch.zeros(1, dtype=torch.long) if config.G.c_dim else None
    return TrainingStep(config, CPU, labels)


def saved(tmp_path, config, class_names=()):
    """(a snapshot of networks that are not fresh, the `TrainingStep` that has them)."""
    model = step_of(config)
    generator = torch.Generator().manual_seed(3)
    for network in (model.G, model.D):
        for p in network.parameters():
            p.data += torch.randn(p.shape, generator=generator) * 0.3
    with_contrast(model.G)
    model.G.mapping.w_avg.copy_(torch.randn(config.G.w_dim, generator=generator))
    model.G_ema.load_state_dict(model.G.state_dict())
    folder = tmp_path / "source"
    folder.mkdir()
    meta = {"dataset": {"class_names": list(class_names)}}
    Networks(config, meta, G_ema=model.G_ema, G=model.G, D=model.D).save(folder)
    return folder, model


def begun(config, folder, class_names=()):
    """(a step that starts with the networks in a folder, the table)."""
    model = step_of(config)
    return model, "\n".join(transfer(model, folder, class_names))


def z_of(config, n=3):
    return torch.randn(n, config.G.z_dim, generator=torch.Generator().manual_seed(1))


def label(number, c_dim, n=3):
    return torch.eye(c_dim)[[number] * n]


def row(table, *name):
    (found,) = (line for line in table.splitlines() if line.split()[:2] == list(name))
    return found


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-4)


def test_label_vectors_of_another_length(tmp_path):
    there, here = (tiny("stylegan2", c_dim=c_dim) for c_dim in (2, 3))
    step = step_of(there)
    nets = Networks(there, {}, step.G_ema, step.G, step.D, label_vectors=torch.rand(4, 2))
    nets.save(tmp_path)
    _, table = begun(here, tmp_path)
    assert "label vectors of 2):" in table
    assert row(table, "D", "mapping").endswith("labels of 2 numbers there, 3 here")


@pytest.mark.parametrize("name", ["stylegan2", "stylegan3-t"])
def test_classes_are_added_and_the_old_images_are_drawn_at_first(tmp_path, name):
    folder, old = saved(tmp_path, tiny(name))
    model, table = begun(tiny(name, c_dim=3, seed=9), folder, ("a", "b", "c"))
    z = z_of(model.config)
    for number in range(3):
        close(model.G_ema(z, label(number, 3), 0.7), old.G_ema(z, None, 0.7))
    assert "labels start anew, without effect at first" in table
    assert "G keeps everything: the first sheet shows its images" in table
    assert not model.G.mapping.fc0.weight[:, 8:].any()
    model.step(torch.zeros(4, 3, 16, 16), torch.eye(3)[[0, 1, 2, 0]])
    assert model.G.mapping.fc0.weight[:, 8:].all()  # labels learn from the first step on


def test_classes_are_left_out_and_their_mean_stays(tmp_path):
    folder, old = saved(tmp_path, tiny(c_dim=2), ("a", "b"))
    model, table = begun(tiny(seed=9), folder)
    z = z_of(model.config)
    # Before the first activation everything is linear.
    a, b = (before_activation(old.G.mapping, z, label(i, 2)) for i in range(2))
    close(before_activation(model.G.mapping, z, None), (a + b) / 2)
    assert not torch.equal(a, b)
    assert row(table, "G", "mapping").endswith("the mean of its labels")


def test_the_mean_of_label_vectors_is_that_of_the_images(tmp_path):
    """One-hot vectors would be labels that the network never saw."""
    folder, old = saved(tmp_path, tiny(c_dim=2))
    vectors = torch.tensor([[0.2, 0.9], [0.7, 0.4], [1.0, 0.1]])
    Networks(tiny(c_dim=2), {}, label_vectors=vectors).save(folder)
    model, _ = begun(tiny(seed=9), folder)
    z = z_of(model.config)
    each = [before_activation(old.G.mapping, z, v[None].expand(3, -1)) for v in vectors]
    close(before_activation(model.G.mapping, z, None), sum(each) / 3)


def before_activation(mapping, z, c):
    x = [normalize_2nd_moment(z)]
    if c is not None:
        x.append(normalize_2nd_moment(mapping.embed(c)))
    weight, bias = mapping.fc0.effective()
    return torch.cat(x, dim=1) @ weight.mT + bias


def test_classes_go_over_by_name(tmp_path):
    folder, old = saved(tmp_path, tiny(c_dim=3), ("cat", "dog", "caf\u00e9"))
    names = ("cow", "cafe\u0301", "dog", "owl")  # here the accent is a character of its own
    model, table = begun(tiny(c_dim=4, seed=9), folder, names)
    z, x = z_of(model.config), torch.randn(3, 3, 16, 16)
    for here, there in ((1, 2), (2, 1)):
        close(model.G_ema(z, label(here, 4)), old.G_ema(z, label(there, 3)))
        close(model.D(x, label(here, 4)), old.D(x, label(there, 3)))
    assert "2 of 4 classes by name, others start as the mean" in row(table, "G", "mapping")
    close(model.G_ema(z, label(0, 4)), model.G_ema(z, label(3, 4)))


@pytest.mark.parametrize(
    "here, there, expected",
    [
        (Classes(2, ("a", "b")), Classes(2, ("b", "a")), [1, 0]),
        (Classes(2, ("a", "b")), Classes(2, ("0", "1")), [0, 1]),
        (Classes(2, ("0", "1")), Classes(3, ("0", "1", "2")), None),
        (Classes(2, ("a", "b")), Classes(2, ("c", "d")), None),
        (Classes(3), Classes(3), [0, 1, 2]),
        (Classes(3), Classes(2), None),
        (Classes(2, ("a", "a")), Classes(1, ("a",)), [0, 0]),
    ],
)
def test_which_class_is_which(here, there, expected):
    assert matches(here, there) == expected


def test_classes_by_number_are_said(tmp_path):
    folder, _ = saved(tmp_path, tiny(c_dim=2), ("0", "1"))
    _, table = begun(tiny(c_dim=2, seed=9), folder, ("a", "b"))
    assert "classes by number: one side has no names" in row(table, "G", "mapping")


def test_other_classes_start_anew_without_effect(tmp_path):
    folder, _ = saved(tmp_path, tiny(c_dim=2), ("a", "b"))
    config = tiny(c_dim=2, seed=9)
    model, table = begun(config, folder, ("c", "d"))
    z = z_of(config)
    close(model.G_ema(z, label(0, 2)), model.G_ema(z, label(1, 2)))
    assert "the mean of its labels; labels start anew" in row(table, "G", "mapping")
    assert row(table, "D", "mapping").endswith("no class of the same name")
    assert "out belongs to the labels" in row(table, "D", "b4")
    assert torch.equal(model.D.b4.out.weight, step_of(config).D.b4.out.weight)


@pytest.mark.parametrize(
    "fields, why, options",
    [
        (dict(mapping_layers=3), "2 layers there, 3 here", "--mapping-layers 2"),
        (dict(z_dim=6), "z_dim is 8 there, 6 here", "--z-dim 8"),
        (dict(w_dim=6), "w_dim is 8 there, 6 here", "--w-dim 8"),
    ],
)
@pytest.mark.parametrize("c_dim", [0, 2])
def test_a_mapping_network_is_never_half_old(tmp_path, fields, why, options, c_dim):
    folder, _ = saved(tmp_path, tiny(c_dim=c_dim))
    config = tiny(c_dim=c_dim, seed=9, **fields)
    model, table = begun(config, folder)
    fresh = step_of(config).G.mapping.state_dict()
    for key, value in model.G.mapping.state_dict().items():
        assert torch.equal(value, fresh[key]), key
    assert why in row(table, "G", "mapping")
    assert "the first sheet shows noise" in table
    assert f"to make more of it fit: {options}" in table


@pytest.mark.parametrize(
    "name, fields",
    [
        ("stylegan2", dict(channel_max=6)),
        ("stylegan2", dict(w_dim=6)),
        ("stylegan2", dict(d_architecture="skip")),
        ("stylegan2", dict(resolution=32)),
        ("stylegan3-t", dict(channel_max=6)),
        ("stylegan3-t", dict(num_layers=6)),
        ("stylegan3-t", dict(w_dim=6)),
    ],
)
def test_a_bias_is_never_kept_without_its_weight(tmp_path, name, fields):
    folder, _ = saved(tmp_path, tiny(name))
    config = tiny(name, seed=9, **fields)
    model, _ = begun(config, folder)
    fresh = step_of(config)
    seen = set()
    for net in ("G", "D"):
        now, then = (getattr(m, net).state_dict() for m in (model, fresh))
        for key in (key for key in now if key.endswith("bias")):
            weight = key.removesuffix("bias") + "weight"
            kept = not torch.equal(now[key], then[key])
            assert kept == (not torch.equal(now[weight], then[weight])), key
            if key.endswith("affine.bias"):  # styles belong to their layer
                layer = key.removesuffix("affine.bias") + "weight"
                assert kept == (not torch.equal(now[layer], then[layer])), key
            seen.add(kept)
    assert seen == {True, False}


@pytest.mark.parametrize("there", [1, 3, 4])
@pytest.mark.parametrize("here", [1, 3, 4])
@pytest.mark.parametrize(
    "name, architecture", [("stylegan2", "skip"), ("stylegan2", "resnet"), ("stylegan3-t", None)]
)
def test_channels_are_converted(tmp_path, here, there, name, architecture):
    fields = dict(conv_clamp=None)
    if architecture:
        fields["g_architecture"] = architecture
    folder, old = saved(tmp_path, tiny(name, channels=there, **fields))
    model, table = begun(tiny(name, channels=here, seed=9, **fields), folder)
    matrix, offset = convert_images(there, here)
    z = z_of(model.config)
    expected = torch.einsum("ds,nshw->ndhw", matrix, old.G_ema(z)) + offset[:, None, None]
    close(model.G_ema(z), expected)
    x = torch.randn(4, here, 16, 16)
    matrix, offset = convert_images(here, there)
    close(model.D(x), old.D(torch.einsum("ds,nshw->ndhw", matrix, x) + offset[:, None, None]))
    assert "G keeps everything" in table and "D keeps everything" in table
    assert (f"made {('', 'grey', '', 'RGB', 'RGBA')[here]} from" in table) == (here != there)


@pytest.mark.parametrize("there, here", [(32, 16), (16, 32)])
def test_another_resolution(tmp_path, there, here):
    folder, old = saved(tmp_path, tiny(resolution=there))
    model, table = begun(tiny(resolution=here, seed=9), folder)
    for name in ("b4", "b8"):
        a, b = (getattr(m.G.synthesis, name).state_dict() for m in (model, old))
        assert all(torch.equal(value, b[key]) for key, value in a.items())
    if here == 32:
        assert "G keeps its layers up to 16 px and learns finer ones anew" in table
    else:
        assert "G keeps its layers up to 16 px: the first sheet shows small" in table
    shared = "b16.conv1.weight"
    assert torch.equal(model.D.state_dict()[shared], old.D.state_dict()[shared])


@pytest.mark.parametrize("there, here", [(32, 16), (16, 32)])
def test_little_of_stylegan3_fits_another_resolution(tmp_path, there, here):
    folder, _ = saved(tmp_path, tiny("stylegan3-t", resolution=there))
    _, table = begun(tiny("stylegan3-t", resolution=here, seed=9), folder)
    assert "too few for StyleGAN3: the first sheet shows noise" in table


def test_layers_with_other_filters_do_not_fit(tmp_path):
    folder, _ = saved(tmp_path, tiny("stylegan3-t"))
    _, table = begun(tiny("stylegan3-t", seed=9, last_stopband_rel=1.3), folder)
    assert "_filter has other taps there" in table
    assert "--last-stopband-rel 1.23" in table


@pytest.mark.parametrize(
    "there, here, options",
    [
        (dict(conv_clamp=256), dict(conv_clamp=None), "--conv-clamp 256"),
        (dict(conv_clamp=None), dict(conv_clamp=64), "--conv-clamp 0"),
        (dict(resample_filter=(1, 2, 1)), dict(), "--resample-filter 1,2,1"),
        (dict(use_noise=True), dict(use_noise=False), "--use-noise"),
    ],
)
def test_filter_and_clamp_are_compared(tmp_path, there, here, options):
    folder, _ = saved(tmp_path, tiny(**there))
    _, table = begun(tiny(seed=9, **here), folder)
    assert f"the weights were trained with {options}: images differ at first" in table
    assert "the first sheet" not in table
    _, table = begun(tiny(seed=9, **there), folder)
    assert "differ at first" not in table


def test_noise_inputs_that_are_not_there(tmp_path):
    folder, old = saved(tmp_path, tiny(use_noise=False))
    model, table = begun(tiny(seed=9), folder)
    z = z_of(model.config)
    close(model.G_ema(z), old.G_ema(z))
    assert "G keeps everything" in table


def test_another_model_gives_its_discriminator(tmp_path):
    folder, _ = saved(tmp_path, tiny("stylegan3-t"))
    _, table = begun(tiny(seed=9), folder)
    assert "G is of another model: the first sheet shows noise" in table
    assert "D keeps everything" in table
    assert "to make more of it fit" not in table


def test_widths_follow_to_another_resolution():
    source = tiny(resolution=32, widths=(8, 6, 6, 4))
    assert with_structure_of(tiny(), source, (16, 16)).G.widths == (8, 6, 6)
    assert with_structure_of(tiny(), source, (64, 64)).D.widths == (8, 6, 6, 4, 2)


def test_nothing_but_misfits(tmp_path):
    folder, _ = saved(tmp_path, tiny("stylegan3-t"))
    (folder / "D.safetensors").unlink()
    model = step_of(tiny(mapping_layers=3))
    why = "nothing of it fits .*: it is StyleGAN3-T, the new one StyleGAN2; leave --cfg out"
    with pytest.raises(UserError, match=why):
        transfer(model, folder)
