# SPDX-License-Identifier: Apache-2.0
"""State dicts alone: tensors by name, without the settings of their networks."""
