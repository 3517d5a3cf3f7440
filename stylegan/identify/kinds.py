# SPDX-License-Identifier: Apache-2.0
"""The kinds of files and folders that people give to a command, and what to do with each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Role(Enum):
    """What a kind of file is good for."""

    IMAGES = "images"
    NETWORK = "network"
    NEITHER = "neither"


@dataclass(frozen=True)
class Kind:
    """A kind of file or folder.

    Attributes:
        what: what it is: "a TFRecord file".
        role: what it is good for.
        step: the one thing to do, with `PATH` for its path, `NAME` for its name without suffix and
            `ADDRESS` for what follows the :// of an address. Empty if a command that wants its role
            reads it, or if nothing helps.
    """

    what: str
    role: Role
    step: str = ""


def _script(section: str) -> str:
    return f"make images of it, as docs/other-data.md shows in section {section}"


def _images(what: str, step: str = "") -> Kind:
    return Kind(what, Role.IMAGES, step)


def _tar(program: str) -> Kind:
    step = f"{program} -c PATH > NAME.tar makes a .tar of it"
    return _images("a compressed tar archive", step)


def _network(what: str, step: str = "") -> Kind:
    return Kind(what, Role.NETWORK, step)


def _other(what: str, step: str = "") -> Kind:
    return Kind(what, Role.NEITHER, step)


AGAIN = "download it again"
ORIGINAL = "give the .pkl or .pt that it was made from"
FFMPEG = "mkdir NAME; ffmpeg -i PATH NAME/%06d.png makes images of it"
FOLDER = "give the folder that holds it"
OWN_FOLDER = "give the folder around it"
WEIGHTS = "its weights cannot be read here; " + ORIGINAL

KINDS = {
    # Neither images nor a network: often a download that went wrong.
    "empty": _other("an empty file", AGAIN),
    "lfs": _other("a Git LFS pointer, not the file itself", "`git lfs pull` downloads the file"),
    "html": _other("a web page, not the file itself", AGAIN + ", from the page that it shows"),
    "server error": _other("an error message of a server", AGAIN),
    "partial": _other("a download that is not complete", "wait for it, or " + AGAIN),
    "shortcut": _other("a shortcut of Windows", "give the file or folder that it points to"),
    "torrent": _other("a torrent", "download what it describes, with a torrent program"),
    "split": _other("a part of a split archive", "put the parts together first: 7z x PATH"),
    "report": _other("the report of a run", OWN_FOLDER),
    "xml": _other("an XML text", "give the file or folder that it is about"),
    "url": _other("a web address", "download the file first: curl -L -O PATH"),
    "s3": _other("an address of S3", "download it first: aws s3 cp --recursive PATH NAME"),
    "gs": _other("an address of Google Cloud", "download it first: gcloud storage cp -r PATH ."),
    "hub": _other("an address of Hugging Face", "download it first: hf download ADDRESS"),
    "csv": _other("a table (CSV)", "give the folder of the images, with labels in dataset.json"),
    "labels": _other("a file of labels", FOLDER + ", with the images beside it"),
    "json": _other("a JSON file", "give the folder or file that it describes"),
    "text": _other("a text"),
    "python": _other("a program in Python", "give the file that it writes"),
    "audio": _other("a sound"),
    "executable": _other("a program"),
    # Images.
    "zip": _images("a zip archive"),
    "tar": _images("a tar archive"),
    "tar.gz": _tar("gunzip"),
    "tar.bz2": _tar("bunzip2"),
    "tar.xz": _tar("unxz"),
    "tar.zst": _tar("unzstd"),
    "7z": _images("a 7z archive", "unpack it: 7z x -oNAME PATH"),
    "rar": _images("a RAR archive", "unpack it: unrar x PATH NAME/"),
    "iso": _images("an image of a disk", "unpack it: 7z x -oNAME PATH"),
    "tfrecord": _images("a TFRecord file", _script("TFRecord")),
    "tfrecords": _images("a folder of TFRecord files", _script("TFRecord")),
    "lmdb": _images("an LMDB database", _script("LMDB")),
    "parquet": _images("a Parquet file", _script("Parquet and Arrow")),
    "parquets": _images("a folder of Parquet files", _script("Parquet and Arrow")),
    "arrow": _images("an Arrow file", _script("Parquet and Arrow")),
    "arrows": _images("a data set of Hugging Face (Arrow)", _script("Parquet and Arrow")),
    "hdf5": _images("an HDF5 file", _script("Arrays")),
    "mat": _images("a MATLAB file", _script("Arrays")),
    "npy": _images("a NumPy array", _script("Arrays")),
    "npz": _images("an archive of NumPy arrays", _script("Arrays")),
    "zarr": _images("a Zarr array", _script("Arrays")),
    "cifar": _images("a batch of CIFAR in Python's format", _script("CIFAR and MNIST")),
    "cifars": _images("the folder of CIFAR's batches", _script("CIFAR and MNIST")),
    "mnist": _images("a file of MNIST's format (idx)", _script("CIFAR and MNIST")),
    "mnists": _images("a folder of MNIST's files (idx)", _script("CIFAR and MNIST")),
    "sqlite": _images("an SQLite database", "write its images to a folder first"),
    "webdataset": _images("a folder of tar archives", _script("WebDataset")),
    "beton": _images("a data set of FFCV", "write its images to a folder first"),
    "mds": _images("a data set of MosaicML Streaming", "write its images to a folder first"),
    "recordio": _images("a RecordIO file of MXNet", "write its images to a folder first"),
    "video": _images("a video", FFMPEG),
    "videos": _images("a folder of videos", _script("Videos")),
    "pdf": _images("a PDF", "mkdir NAME; pdftoppm -png PATH NAME/page makes images of its pages"),
    "psd": _images("a Photoshop file", "save it as PNG, and " + FOLDER),
    "postscript": _images("a PostScript or Illustrator file", "save it as PNG, and " + FOLDER),
    "svg": _images("an SVG drawing", "rsvg-convert -w 512 PATH -o NAME.png makes an image of it"),
    "raw": _images("a raw photo of a camera", "save it as PNG or JPEG, and " + FOLDER),
    "heic": _images("a photo in HEIC", FOLDER + " (pip install pillow-heif reads HEIC)"),
    "exr": _images("an EXR image", "save it as 16-bit PNG, and " + FOLDER),
    "dicom": _images("a DICOM image", "dcm2img (of DCMTK) PATH NAME.png makes an image of it"),
    "nifti": _images("a NIfTI volume", "write its slices as images to a folder first"),
    "image": _images("a single image", FOLDER),
    "images": _images("a folder of images"),
    # Networks.
    "nvidia": _network("a network of NVIDIA's programs"),
    "pickle": _network("a pickle"),
    "torch": _network("a file of torch.save"),
    "safetensors": _network("a safetensors file"),
    "torchscript": _network("a TorchScript program", WEIGHTS),
    "pt2": _network("a program of torch.export", WEIGHTS),
    "gzip pickle": _network("a compressed pickle", "unpack it: gunzip -k PATH"),
    "keras": _network("a network of Keras", "only networks of PyTorch and NVIDIA's .pkl are read"),
    "savedmodel": _network("a SavedModel of TensorFlow", ORIGINAL),
    "tfcheckpoint": _network("a checkpoint of TensorFlow", "give NVIDIA's .pkl of it"),
    "tflite": _network("a network of TensorFlow Lite", ORIGINAL),
    "onnx": _network("an ONNX network", WEIGHTS),
    "tensorrt": _network("an engine of TensorRT", WEIGHTS),
    "coreml": _network("a network of Core ML", WEIGHTS),
    "gguf": _network("a language model (GGUF)", "give a StyleGAN network"),
    "flax": _network("weights of Flax", ORIGINAL),
    "paddle": _network("weights of PaddlePaddle", "only networks of PyTorch are read"),
    "diffusers": _network("a pipeline of diffusers, not a GAN", "give a StyleGAN network"),
    "transformers": _network("a model of transformers, not a GAN", "give a StyleGAN network"),
    "own tensors": _network("a file of a snapshot", OWN_FOLDER),
    "own settings": _network("the settings of a snapshot", OWN_FOLDER),
    "own state": _network("the training state of a snapshot", OWN_FOLDER),
    "run.json": _network("the description of a run", OWN_FOLDER),
    "log": _network("the log of a run", OWN_FOLDER),
    "snapshot": _network("a snapshot"),
    "run": _network("a run"),
    "runs": _network("a folder of runs"),
    "new run": _network("a run without a snapshot", "wait for its first snapshot"),
    "checkpoints": _network("a folder of networks", "give one of its files"),
    # Archives whose contents do not show.
    "gzip": _other("a gzip file", "unpack it: gunzip -k PATH"),
    "bzip2": _other("a bzip2 file", "unpack it: bunzip2 -k PATH"),
    "xz": _other("an xz file", "unpack it: unxz -k PATH"),
    "zstd": _other("a Zstandard file", "unpack it: unzstd PATH"),
    "lz4": _other("an LZ4 file", "unpack it: unlz4 PATH"),
    "office": _other("a document", "save its images to a folder first"),
}
