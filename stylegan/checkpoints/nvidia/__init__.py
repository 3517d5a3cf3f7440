# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's PyTorch pickles: reader, and a writer of the same layout without code."""
