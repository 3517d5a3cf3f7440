# SPDX-License-Identifier: Apache-2.0
"""Images from networks: `Pipeline`, and what makes it fast and fit into memory."""
