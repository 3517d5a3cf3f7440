# SPDX-License-Identifier: Apache-2.0
"""Which augmentation a run has, and what its header says."""

import itertools

import pytest
import torch
from support.tiny import tiny

from stylegan import UserError, preset
from stylegan.config import Config
from stylegan.config.train import AUG_SETTINGS, AUGMENTATIONS
from stylegan.training.augment.choice import describe, with_implied
from stylegan.training.cautions import cautions
from stylegan.training.step import TrainingStep

VALUES = {
    "aug_pipe": "bg",
    "ada_target": 0.5,
    "ada_kimg": 50,
    "ada_max_p": 0.7,
    "aug_p": 0.3,
    "diff_policy": "color",
}
PAIRS = list(itertools.combinations(AUG_SETTINGS, 2))


@pytest.mark.parametrize(
    "name, images, aug",
    [
        ("auto", 500, "ada"),
        ("auto", 29_999, "ada"),
        ("auto", 30_000, "none"),
        ("auto", None, "none"),
        ("small", 500, "ada"),
        ("stylegan3-t", 500, "ada"),
        ("paper256", 500, "ada"),
        ("stylegan2", 500, "none"),
        ("demo", 4000, "none"),
    ],
)
def test_small_sets_are_augmented(name, images, aug):
    assert preset(name).resolved(images=images).train.aug == aug
    assert preset(name, aug="fixed").resolved(images=images).train.aug == "fixed"


def test_fine_tuning_adapts_faster():
    assert preset("auto").resolved().train.ada_kimg == 500
    assert preset("auto", init_from="x").resolved().train.ada_kimg == 100


def test_a_snapshot_from_before_has_no_augmentation():
    old = Config().to_dict()
    for name in ("aug", *AUG_SETTINGS):
        del old["train"][name]
    assert Config.from_dict(old).resolved(images=10).train.aug == "none"


@pytest.mark.parametrize("name", AUG_SETTINGS)
def test_a_setting_asks_for_its_augmentation(name):
    options = with_implied({name: VALUES[name], "kimg": 1})
    assert options == {name: VALUES[name], "kimg": 1, "aug": AUG_SETTINGS[name][0]}


@pytest.mark.parametrize("name", AUG_SETTINGS)
@pytest.mark.parametrize("aug", AUGMENTATIONS)
def test_every_setting_with_every_augmentation(name, aug):
    options = {name: VALUES[name], "aug": aug}
    if aug in AUG_SETTINGS[name]:
        assert with_implied(options) == options
        return
    with pytest.raises(UserError, match=f"{name}: goes with aug .*, not with aug {aug}"):
        with_implied(options)


@pytest.mark.parametrize("first, second", PAIRS)
def test_every_pair_of_settings(first, second):
    options = {name: VALUES[name] for name in (first, second)}
    both = set(AUG_SETTINGS[first]) & set(AUG_SETTINGS[second])
    if both:
        assert with_implied(options)["aug"] in both
        return
    with pytest.raises(UserError, match=f"{second}: goes with .*, not with {first}, which means"):
        with_implied(options)


@pytest.mark.parametrize(
    "fields, images, text",
    [
        (dict(aug="ada"), 500, "adaptive (ADA), pipe bgc, target 0.6, probability up to 0.8; good"),
        (dict(aug="ada"), 40_000, "adaptive (ADA), pipe bgc, target 0.6, probability up to 0.8"),
        (dict(aug="fixed", aug_p=0.3), 500, "pipe bgc with probability 0.3"),
        (dict(aug="diff", diff_policy="color"), 500, "DiffAugment, color"),
        (dict(aug="none"), 500, "none"),
        (
            dict(aug="none"),
            30_000,
            "none; 30,000 images or more need none, --aug ada turns it on",
        ),
    ],
)
def test_the_header_says_what_was_chosen(fields, images, text):
    said = describe(tiny(**fields).train, images)
    assert said.startswith(text) and (text.endswith("good") or said == text)


@pytest.mark.parametrize("images, told", [(999, True), (1000, False)])
def test_few_images_without_augmentation_are_told(images, told):
    lines = cautions(tiny(), images)
    assert any("D soon knows them by heart; --aug ada" in line for line in lines) == told
    assert not any("by heart" in line for line in cautions(tiny(aug="ada"), images))


def test_fine_tuning_without_augmentation_is_told_too():
    lines = cautions(tiny(init_from="x", aug="none"), 999)
    assert any("by heart; --aug ada" in line and "--init-from" not in line for line in lines)
    assert not any("few" in line for line in cautions(tiny(init_from="x", aug="ada"), 999))


@pytest.mark.parametrize("policy", ["", "colour", "color,", "color, cutout"])
def test_wrong_policies(policy):
    with pytest.raises(UserError, match="diff_policy: expected some of color, translation, cutout"):
        tiny(diff_policy=policy)


def test_a_step_without_augmentation_draws_the_same_numbers_as_before():
    m = TrainingStep(tiny(), torch.device("cpu"))
    x = torch.zeros(4, 3, 16, 16)
    assert m.augment(x) is x and m.augment.p is None and m.augment.state_dict() == {}
