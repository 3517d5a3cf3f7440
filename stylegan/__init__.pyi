# SPDX-License-Identifier: Apache-2.0
# The names of __init__.py, which imports them at first use, for editors and type checkers.
from stylegan import data as data
from stylegan.builders import build_discriminator as build_discriminator
from stylegan.builders import build_generator as build_generator
from stylegan.config import Config as Config
from stylegan.config import preset as preset
from stylegan.errors import CheckpointError as CheckpointError
from stylegan.errors import UserError as UserError
from stylegan.inference.output import PipelineOutput as PipelineOutput
from stylegan.inference.pipeline import Pipeline as Pipeline
from stylegan.networks import Networks as Networks
from stylegan.networks import load_networks as load_networks
from stylegan.threads import tune_threads as tune_threads
from stylegan.training.api import train as train

__version__: str
