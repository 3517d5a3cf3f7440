# SPDX-License-Identifier: Apache-2.0
"""Sheets of training can be drawn again: they are of seeds that `generate` knows."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from support.pictures import encoded, picture
from support.runs import trainer

from stylegan.inference.pipeline import Pipeline
from stylegan.networks import Networks, load_networks
from stylegan.runs.report.sheets import sheets_of


def folder_with(tmp_path, labels):
    """A folder of images of 16 px with these labels in dataset.json."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(len(labels)):
        (folder / f"{i}.png").write_bytes(encoded(picture((16, 16), seed=i)))
    rows = [[f"{i}.png", label] for i, label in enumerate(labels)]
    (folder / "dataset.json").write_text(json.dumps({"labels": rows}))
    return folder


def cell(sheet, row, column):
    """An image of 16 px, which the sheet shows eight times as large."""
    box = (128 * column, 128 * row, 128 * column + 128, 128 * row + 128)
    large = np.asarray(sheet.crop(box), dtype=int)
    small = large[::8, ::8]
    assert (small.repeat(8, 0).repeat(8, 1) == large).all()
    return small


def last_sheet(run_dir):
    return Image.open(sorted((run_dir / "samples").glob("0*.png"))[-1])


def same(image, wanted):
    return np.abs(np.asarray(image, dtype=int) - wanted).max() <= 1


def test_a_sheet_is_drawn_again_by_its_seeds(images, tmp_path):
    t = trainer(images, tmp_path / "run")
    t.run()
    sheet = last_sheet(t.run_dir)
    assert sheet.text == {"seeds": "0-95", "columns": "12", "scale": "8"}
    pipe = Pipeline.from_pretrained(t.run_dir, "cpu")
    for row, column in [(0, 0), (1, 2), (7, 11)]:
        (image,) = pipe([row * 12 + column]).images
        assert same(image, cell(sheet, row, column))


def test_a_row_shows_a_class(images, tmp_path):
    t = trainer(images, tmp_path / "run", cond=True)
    t.run()
    sheet = last_sheet(t.run_dir)
    assert json.loads(sheet.text["classes"]) == ["even", "odd"] * 4
    pipe = Pipeline.from_pretrained(t.run_dir, "cpu")
    for row, name in [(2, "even"), (3, "odd")]:
        (image,) = pipe([row * 12 + 5], label=name).images
        assert same(image, cell(sheet, row, 5))
    (shown,), reals = sheets_of(t.run_dir)[0][-1:], sheets_of(t.run_dir)[1]
    assert (shown.columns, shown.rows, shown.classes) == (12, 8, ("even", "odd") * 4)
    assert reals.columns == 0
    assert (shown.width, shown.height) == (12 * 16, 8 * 16)  # the page has no enlarged pixels


def test_few_real_images_leave_no_black_cells(tmp_path):
    t = trainer(folder_with(tmp_path, [0] * 5), tmp_path / "run")
    sheet = Image.open(t.samples.save_reals(tmp_path / "samples" / "reals.png"))
    assert sheet.size == (3 * 128, 2 * 128) and sheet.text == {"scale": "8"}
    assert sheet.crop((256, 128, 384, 256)).getcolors() == [(128 * 128, (140,) * 3)]


def test_classes_without_images_are_not_on_the_sheet(tmp_path):
    t = trainer(folder_with(tmp_path, [1, 3, 3, 1]), tmp_path / "run", cond=True)
    assert t.samples.classes == ["1", "3"] * 4
    assert sorted(set(t.samples.c.argmax(dim=1).tolist())) == [1, 3]


def test_label_vectors_are_those_of_the_snapshot(tmp_path):
    labels = [[0.25, 1, 0], [0.5, 0, 1], [0.75, 1, 1], [1, 0, 0], [0, 0.125, 0]]
    t = trainer(folder_with(tmp_path, labels), tmp_path / "run", cond=True, kimg=0.008)
    t.run()
    nets = load_networks(t.run_dir, "cpu")
    assert sorted(nets.label_vectors.tolist()) == sorted(labels)
    assert nets.class_counts == ()
    sheet = last_sheet(t.run_dir)
    pipe = Pipeline.from_pretrained(t.run_dir, "cpu")
    label = nets.label_vectors[17 % 5]
    assert same(pipe([17], label=label).images[0], cell(sheet, 1, 5))


def test_of_many_label_vectors_some_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("stylegan.runs.training_labels.MAX_VECTORS", 3)
    labels = [[i / 8, 0.5] for i in range(8)]
    t = trainer(folder_with(tmp_path, labels), tmp_path / "run", cond=True, kimg=0.008)
    kept = load_networks(t.run(), "cpu").label_vectors
    assert kept.shape == (3, 2) and all(row in labels for row in kept.tolist())
    monkeypatch.setattr("stylegan.runs.training_labels.MAX_BYTES", 16)
    again = trainer(tmp_path / "images", tmp_path / "run2", cond=True, kimg=0.008)
    assert torch.equal(load_networks(again.run(), "cpu").label_vectors, kept[:2])


def test_the_images_of_each_class_are_counted(tmp_path):
    t = trainer(folder_with(tmp_path, [1, 3, 3, 1, 1]), tmp_path / "run", cond=True, kimg=0.008)
    nets = load_networks(t.run(), "cpu")
    assert nets.class_counts == (0, 3, 0, 2)
    assert nets.label_vectors is None


def test_an_unconditional_run_keeps_no_labels(tmp_path):
    labels = [[0.25, 1], [0.5, 0], [0.75, 1], [1, 0]]
    t = trainer(folder_with(tmp_path, labels), tmp_path / "run", kimg=0.008)
    snapshot = t.run()
    assert not (snapshot / "labels.safetensors").exists()
    assert load_networks(snapshot, "cpu").label_vectors is None


@pytest.mark.parametrize(
    "content, why", [(b"x", "damaged"), (None, r"\[1, 3\], expected \[K, 2\]")]
)
def test_damaged_label_vectors(tmp_path, content, why):
    labels = [[0.25, 1], [0.5, 0], [0.75, 1], [1, 0]]
    t = trainer(folder_with(tmp_path, labels), tmp_path / "run", cond=True, kimg=0.008)
    snapshot = t.run()
    if content is None:
        Networks(t.config, {}, label_vectors=torch.zeros(1, 3)).save(snapshot)
    else:
        (snapshot / "labels.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=why):
        _ = load_networks(snapshot, "cpu").label_vectors


@pytest.mark.parametrize(
    "text",
    [
        {},
        {"seeds": "0-95"},
        {"seeds": "5", "columns": "12"},
        {"seeds": "0-95", "columns": "0"},
        {"seeds": "0-95", "columns": "x"},
        {"seeds": "0-9999999", "columns": "1"},
    ],
)
def test_sheets_of_other_versions_and_programs(images, tmp_path, text):
    from stylegan.imaging import save_image

    (tmp_path / "samples").mkdir()
    save_image(Image.new("RGB", (48, 32)), tmp_path / "samples" / "000001.000.png", text)
    assert [s.columns for s in sheets_of(tmp_path)[0]] == [0]


@pytest.mark.parametrize("classes", ["[", "[" * 10000, "{}", '["a"]', "3"])
def test_classes_of_a_sheet_that_do_not_fit(tmp_path, classes):
    from stylegan.imaging import save_image

    (tmp_path / "samples").mkdir()
    text = {"seeds": "0-5", "columns": "3", "classes": classes}
    save_image(Image.new("RGB", (48, 32)), tmp_path / "samples" / "000001.000.png", text)
    (sheet,) = sheets_of(tmp_path)[0]
    assert (sheet.columns, sheet.rows, sheet.classes) == (3, 2, ())
