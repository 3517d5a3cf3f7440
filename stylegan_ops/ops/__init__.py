# SPDX-License-Identifier: Apache-2.0
"""The public ops, one in each file: the function, its reference, its registration."""
