# SPDX-License-Identifier: Apache-2.0
"""How a result was made, for the file that holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stylegan.networks import Networks

AVERAGED = "G_ema.safetensors"  # the file that stands for a snapshot


def made_by(
    command: str, network: str, networks: Networks, options: Mapping[str, Any]
) -> dict[str, Any]:
    """{name: value} of what decides a result: the network and the options.

    Args:
        command: as "generate".
        network: as the user named it.
        networks: that it holds.
        options: those that are None or "" are left out.
    """
    from stylegan import __version__
    from stylegan.checkpoints.open import sha256

    path = networks.folder / AVERAGED if networks.folder else networks.path
    return {
        "command": command,
        "network": str(network),
        **({"sha256": sha256(path)} if path and path.is_file() else {}),
        **({"kimg": networks.meta["kimg"]} if "kimg" in networks.meta else {}),
        **{name: value for name, value in options.items() if value not in (None, "")},
        "version": __version__,
    }
