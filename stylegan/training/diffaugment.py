# SPDX-License-Identifier: Apache-2.0
"""placeholder until the real one is merged"""

import torch


class DiffAugment:
    def __init__(self, policy: str, generator: torch.Generator | None = None) -> None:
        raise NotImplementedError
