# SPDX-License-Identifier: Apache-2.0
"""What any file, folder or address is, from its first bytes and its name, and the one thing to do
if a command cannot use it. Nothing is decoded or run."""

from __future__ import annotations

from stylegan.identify.folders import is_network_folder
from stylegan.identify.identify import (
    identify,
    is_address,
    not_a_network,
    not_an_image,
    not_images,
    refuse_address,
    shown_address,
)
from stylegan.identify.kinds import KINDS, Kind, Role
from stylegan.identify.pickles import begins_old

__all__ = [
    "KINDS",
    "Kind",
    "Role",
    "begins_old",
    "identify",
    "is_address",
    "is_network_folder",
    "not_a_network",
    "not_an_image",
    "not_images",
    "refuse_address",
    "shown_address",
]
