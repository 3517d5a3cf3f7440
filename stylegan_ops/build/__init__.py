# SPDX-License-Identifier: Apache-2.0
"""Builds, caches and loads the compiled extensions; imported only when one is needed."""
