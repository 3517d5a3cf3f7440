# SPDX-License-Identifier: Apache-2.0
"""Everything static is in pyproject.toml."""

from setuptools import setup

setup()
