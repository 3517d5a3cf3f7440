# SPDX-License-Identifier: Apache-2.0
"""The names under which programs keep networks in their files."""

from __future__ import annotations

import functools
import re

ROLES = ("G_ema", "G", "D")
GENERATORS = frozenset({"g", "gen", "generator"})
DISCRIMINATORS = frozenset({"d", "dis", "disc", "discriminator"})
AVERAGED = frozenset({"ema", "smooth", "running", "avg", "average", "averaged"})
# Names that tell no role by their words.
SPECIAL = {"decoder": "G_ema", "params": "G"}
# Words that are written as one.
JOINED = {"gs": ("g", "ema"), "gema": ("g", "ema"), "netg": ("g",), "netd": ("d",)}
# Words beside them that tell nothing: netG, model_G, G_state_dict.
NEUTRAL = frozenset("net network model module state dict weights params".split())
# Keys that may hold the only network of a file, or a dictionary of networks.
UNNAMED = ("model", "state_dict", "network", "net", "module", "weights", "state", "ema_state_dict")
# Names of the only child: of DataParallel, torch.compile, Lightning Fabric and FSDP.
WRAPPERS = ("module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module")
MODELS = ("model", "net", "network")  # names of a generator in the module around it
MAX_NAME = 40  # characters


def role_of(key: object) -> str | None:
    """The role of a network that is kept under this key: "G_ema", "G", "D" or None."""
    return _role_and_rank(key)[0] if type(key) is str and len(key) < MAX_NAME else None


def rank_of(key: object) -> int:
    """A number that is smaller for a name that tells more, if several have the same role."""
    return _role_and_rank(key)[1] if type(key) is str and len(key) < MAX_NAME else 99


@functools.lru_cache(maxsize=4096)
def _role_and_rank(key: str) -> tuple[str | None, int]:
    lower = key.lower()
    if lower in SPECIAL:
        return SPECIAL[lower], 9
    if lower in UNNAMED:
        return None, 99
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower()  # netG_ema: net, g, ema
    given = [word for part in spaced.split("_") for word in JOINED.get(part, (part,))]
    words = [word for word in given if word not in NEUTRAL]
    kinds, rank = set(words), len(given) - len(words)
    if words == ["ema"]:
        return "G_ema", 4 + rank
    if len(words) == 1 and kinds <= GENERATORS | DISCRIMINATORS:
        return "G" if kinds <= GENERATORS else "D", rank
    if len(words) == 2 and kinds & GENERATORS and kinds & AVERAGED:
        return "G_ema", rank
    return None, 99
