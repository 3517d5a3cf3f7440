# SPDX-License-Identifier: Apache-2.0
"""Files of other programs: NVIDIA's .pkl (PyTorch and TensorFlow), rosinality's .pt.

open.py opens any of them. A folder is a format: its reader.py gives a `Checkpoint`, its writer.py
writes networks.
"""
