# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

here = Path(__file__).parent
# Helpers and tests that other tests import, and that are not in support/ yet.
sys.path[:0] = [str(here / folder) for folder in ("ops", "interop", "training")]
