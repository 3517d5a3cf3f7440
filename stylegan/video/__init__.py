# SPDX-License-Identifier: Apache-2.0
"""Videos of a network: curves through W, and the files that show them."""
