# SPDX-License-Identifier: Apache-2.0
"""--balance-classes of `train`."""

import json

import pytest
from support.pictures import encoded, picture

TINY = "--channel-base 128 --channel-max 8 --kimg 0.008 --batch 4 --device cpu".split()


@pytest.fixture
def photos(tmp_path):
    """22 images of cats and 2 of dogs."""
    for name, count in (("cat", 22), ("dog", 2)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(count):
            (tmp_path / "photos" / name / f"{i}.png").write_bytes(encoded(picture(seed=i)))
    return tmp_path / "photos"


def test_the_header_says_how_often_the_rarest_class_is_shown(run, photos):
    code, out, err = run("train", "--data", photos, "--cond", "--balance-classes", *TINY)
    assert code == 0, err
    line = "2 classes, used; balanced: class dog has 2 of 24 images and is shown 6.0 times as often"
    assert line in out + err and "--balance-classes shows" not in out + err
    (settings,) = photos.parent.glob("runs/*/run.json")
    assert json.loads(settings.read_text("utf-8"))["config"]["data"]["balance_classes"] is True


def test_a_warning_of_very_unequal_classes(run, photos):
    line = "warning class dog has 2 images, class cat 22; --balance-classes shows every class"
    code, out, err = run("train", "--data", photos, "--cond", *TINY, "--dry-run")
    assert code == 0 and line in out + err
    code, out, err = run("train", "--data", photos, *TINY, "--dry-run")
    assert code == 0 and line not in out + err  # labels do not matter without --cond


def test_label_vectors_are_refused_in_one_line(run, photos):
    code, out, err = run("train", "--data", "faces", "--cond", "--balance-classes", *TINY)
    assert code == 2 and err.count("\n") == 1
    assert "its labels are lists of numbers, and --balance-classes needs classes" in err
