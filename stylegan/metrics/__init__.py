# SPDX-License-Identifier: Apache-2.0
"""Measures of how good a generator is. `registry` lists them and imports no torch."""
