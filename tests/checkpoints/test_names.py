# SPDX-License-Identifier: Apache-2.0
"""Which names may stand for themselves."""

import sys

import pytest

from stylegan.checkpoints.pickle.allowed import ALLOWED
from stylegan.checkpoints.pickle.refused import STANDARD, may_stand

CLASSES = """pg_modules.discriminator.ProjectedDiscriminator timm.models.vit.VisionTransformer
omegaconf.dictconfig.DictConfig easydict.EasyDict fork.systems.gan.System lib.system.GanSystem
lib.gan.Pickle fork.config.Options.Inner __main__.Options torch.optim.adam.Adam
torch.nn.parallel.distributed.DistributedDataParallel torch._dynamo.eval_frame.OptimizedModule
torch.nn.functional.relu numpy.random._pickle.__randomstate_ctor numpy.float32 numpy.str_
pandas._libs.internals._unpickle_block datetime.datetime collections.deque torch.float8_e5m2
pytorch_lightning.utilities.parsing.AttributeDict yacs.config.CfgNode lib.types.Kind
training.augment.AugmentPipe torch.nn.utils.spectral_norm.SpectralNorm _fork._Thing""".split()


@pytest.mark.parametrize("path", CLASSES)
def test_stand_for_themselves(path):
    module, _, name = path.rpartition(".")
    if path == "fork.config.Options.Inner":
        module, name = "fork.config", "Options.Inner"
    found = ALLOWED.find(module, name)
    assert found is not None and found.reduce is None and found.value is None
    assert found.unknown or type(found.new()).__name__ == "Node"


def test_the_standard_library_is_refused():
    """All of it, but for names of data."""
    for module in sys.stdlib_module_names:
        for name in ("system", "Thing", "run", "load"):
            assert not may_stand(module, name), (module, name)
            assert not may_stand(f"{module}.sub", name)
            assert not may_stand(module.upper(), name)
    kept = {(module, name) for module, names in STANDARD.items() for name in names}
    assert len(kept) < 70 and not {name for _, name in kept} & {"map", "eval", "getattr", "open"}


@pytest.mark.parametrize(
    "name", ["", ".", "a.", ".a", "a..b", "a b", "a\n", "1a", "a-b", "x" * 250]
)
def test_what_is_no_name_is_refused(name):
    assert not may_stand("fork", name) and not may_stand(name, "Thing")
