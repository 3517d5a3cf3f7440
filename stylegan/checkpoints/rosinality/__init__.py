# SPDX-License-Identifier: Apache-2.0
"""The .pt of rosinality's stylegan2-pytorch and of what builds on it: reader and writer."""
