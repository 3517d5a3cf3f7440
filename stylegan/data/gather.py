# SPDX-License-Identifier: Apache-2.0
"""Which files of a source are images, with their labels, and what is wrong with the others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from stylegan.data.label_file import read_labels
from stylegan.data.labels import Labels, empty_classes, stray_images
from stylegan.data.source import Problem, Source
from stylegan.data.survey import images_in, other_files
from stylegan.errors import UserError


@dataclass
class Gathered:
    """The files of a source."""

    images: list[str]
    labels: Labels | None = None
    failures: list[Problem] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    bad_labels: Problem | None = None  # why the labels cannot be used, one of the failures


def gather(source: Source, with_labels: bool) -> Gathered:
    """Images and labels of a source, and what else is in it.

    Raises: UserError if it has no images; LabelError for labels that cannot be used.
    """
    found = Gathered(images_in(source), failures=list(source.problems), notes=list(source.notes))
    others = other_files(source, found.images)
    found.failures += others.archives
    found.ignored = others.endings
    if not with_labels:
        return found
    read = read_labels(source, found.images)
    found.labels = read.labels
    found.notes += read.notes
    empty = read.labels and empty_classes(read.labels)
    found.notes += [empty] if empty else []
    found.failures += [Problem(name, "has a label, but does not exist") for name in read.missing]
    found.failures += [Problem(name, "has no label in dataset.json") for name in read.unlabelled]
    without = set(read.unlabelled)
    found.images = [name for name in found.images if name not in without]
    if not found.labels:
        why = "lies beside the folders, so that they are not classes (it is used)"
        found.failures += [Problem(name, why) for name in stray_images(found.images)]
    return found


def gather_all(source: Source) -> Gathered:
    """As `gather`, to describe a source: labels that cannot be used are a problem among others.

    Raises: UserError if it has no images.
    """
    try:
        return gather(source, with_labels=True)
    except UserError as e:
        found = gather(source, with_labels=False)
        found.bad_labels = Problem(str(e.subject), e.why)
        found.failures.append(found.bad_labels)
        return found
