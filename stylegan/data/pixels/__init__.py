# SPDX-License-Identifier: Apache-2.0
"""Pixel values: colour profiles, more than 8 bits, formats of image files."""
