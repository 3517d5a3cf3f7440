# SPDX-License-Identifier: Apache-2.0
"""Files of a data set in a folder, zip or tar, by names that compare."""
