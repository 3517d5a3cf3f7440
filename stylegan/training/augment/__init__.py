# SPDX-License-Identifier: Apache-2.0
"""Augmentation of the images that D sees, so that it cannot learn a small data set by heart.

pipe.py      AugmentPipe and the named pipes      draws.py     what is random
geometry.py  one affine map per image             color.py     one matrix per image
corrupt.py   filter, noise, cutout

Source: Karras et al. 2020 (arXiv:2006.06676), appendix B.
"""

from stylegan.training.augment.pipe import PIPES, AugmentPipe, pipe_of

__all__ = ["PIPES", "AugmentPipe", "pipe_of"]
