# SPDX-License-Identifier: Apache-2.0
"""Which of several equivalent ways computes an op fastest, by shape and device.

Every rule states the measurement it rests on; `benchmarks/bench_modconv.py` repeats it.
"""


def modconv_strategy(x, weight):
    """ "weights" (scale the weights, one grouped convolution) or "sandwich" (scale x, plain
    convolution with shared weights, scale y) for `modulated_conv2d`.

    At batch 1 the grouped convolution is a plain one and scaling the weights spares two passes over
    the image. From batch 2 on, N sets of weights cost more than those passes: two CPU cores, 256 px
    generator, float32: 145 and 147 ms an image at batch 1, 430 and 233 ms at batch 8 ("weights" and
    "sandwich").
    """
    return "weights" if x.shape[0] == 1 else "sandwich"
