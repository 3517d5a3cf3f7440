# SPDX-License-Identifier: Apache-2.0
"""The reader of pickles that runs nothing, and a writer.

Imports go one way: source, arrays, numpy_state and nodes, names and budget, machine, unpickle,
torchfile, allowed, container. The machine is given the table of allowed globals.
"""
