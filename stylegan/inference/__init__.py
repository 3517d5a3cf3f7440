# SPDX-License-Identifier: Apache-2.0
"""Pictures from a network: the `Pipeline` and what makes it fast."""
