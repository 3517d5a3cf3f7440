# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's TensorFlow pickles: reader."""
