# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

here = Path(__file__).parent
sys.path[:0] = [str(here), str(here / "ops")]  # pictures.py; checks.py and naive.py
