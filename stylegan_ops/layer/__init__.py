# SPDX-License-Identifier: Apache-2.0
"""How a modulated layer is computed: the strategies and the fused ops that they use."""
