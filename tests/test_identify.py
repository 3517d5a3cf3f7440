# SPDX-License-Identifier: Apache-2.0
"""What files and folders are said to be, and what to do with them."""

import bz2
import gzip
import io
import lzma
import os
import pickle
import random
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

import stylegan
from stylegan.data.source import open_source
from stylegan.data.survey import images_in
from stylegan.errors import UserError
from stylegan.identify import KINDS, identify, not_a_network, not_images
from stylegan.identify.files import crc32c
from stylegan.identify.kinds import Role

FIXTURES = Path(__file__).parent / "fixtures"


def png():
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


def tar(mode="w", **files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, data in (files or {"a.png": png()}).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def old_tar():
    """As before POSIX, with a checksum and no mark."""
    block = bytearray(tar())
    block[257:265] = bytes(8)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    return bytes(block)


def zipped(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def numpy_bytes(write, *args, **arrays):
    buffer = io.BytesIO()
    write(buffer, *args, **arrays)
    return buffer.getvalue()


def torch_bytes(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def tfrecord(data=b"\x0a\x05image"):
    length = struct.pack("<Q", len(data))
    crc = crc32c(length)
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return length + struct.pack("<I", masked) + data + bytes(4)


IDX = b"\0\0\x08\x03" + struct.pack(">3I", 2, 4, 4) + bytes(32)
LMDB = bytes(16) + struct.pack("<2I", 0xBEEFC0DE, 1) + bytes(4096)
# Keys of a batch of CIFAR-10 and CIFAR-100, as Python 2 wrote them.
CIFAR10 = b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x15training batch 1 of 5q\x03u."
CIFAR100 = b"\x80\x02}q\x01(U\tfilenamesq\x02]q\x03U\x0bx.pngq\x04au."
HDF = b"\x89HDF\r\n\x1a\n"
SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 9\n"
ERROR = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'

# (name, bytes, kind, words of what is said of it as a data set)
SOURCES = [
    ("a.tar", tar(**{"a.txt": b"1"}), "tar", "holds no images that can be opened"),
    ("old", old_tar(), "tar", "holds no images that can be opened"),
    ("a b.tar.gz", tar("w:gz"), "tar.gz", "gunzip -c 'a b.tar.gz' > 'a b'.tar makes a .tar of it"),
    ("no suffix", tar("w:gz"), "tar.gz", "a compressed tar archive"),
    ("a.tgz", b"\x1f\x8b\x08", "tar.gz", "gunzip -c a.tgz > a.tar"),
    ("a.tbz2", tar("w:bz2"), "tar.bz2", "bunzip2 -c a.tbz2 > a.tar"),
    ("a.tar.xz", tar("w:xz"), "tar.xz", "unxz -c a.tar.xz > a.tar"),
    ("a.tar.zst", b"\x28\xb5\x2f\xfd1", "tar.zst", "unzstd -c a.tar.zst > a.tar"),
    ("a.gz", gzip.compress(png()), "gzip", "gunzip -k a.gz"),
    ("a.bz2", bz2.compress(b"hello"), "bzip2", "bunzip2 -k a.bz2"),
    ("a.xz", lzma.compress(b"hello"), "xz", "unxz -k a.xz"),
    ("a.zst", b"\x28\xb5\x2f\xfd1", "zstd", "unzstd a.zst"),
    ("a.7z", b"7z\xbc\xaf\x27\x1c\0", "7z", "7z x -oa a.7z"),
    ("a.rar", b"Rar!\x1a\x07\1\0", "rar", "unrar x a.rar a/"),
    ("train.tfrecords", tfrecord(), "tfrecord", "section TFRecord"),
    ("shard-00000-of-00010", tfrecord(), "tfrecord", "a TFRecord file"),
    ("faces-r08.tfrecords", tfrecord(bytes(3 * 64)), "tfrecord", "a TFRecord file"),
    ("data.mdb", LMDB, "lmdb", "section LMDB"),
    ("a.parquet", b"PAR1\x15\4", "parquet", "section Parquet and Arrow"),
    ("a.arrow", b"ARROW1\0\0", "arrow", "section Parquet and Arrow"),
    ("stream.arrow", b"\xff\xff\xff\xff\x10\0\0\0", "arrow", "section Parquet and Arrow"),
    ("a.feather", b"FEA1", "arrow", "an Arrow file"),
    ("a.h5", HDF + bytes(99), "hdf5", "section Arrays"),
    ("a.npy", numpy_bytes(np.save, np.zeros((2, 4, 4))), "npy", "section Arrays"),
    ("a.npz", numpy_bytes(np.savez, x=np.zeros(3)), "npz", "section Arrays"),
    ("v5.mat", b"MATLAB 5.0 MAT-file" + bytes(99), "mat", "a MATLAB file"),
    ("v7.mat", b"MATLAB 7.3 MAT-file" + bytes(493) + HDF, "mat", "a MATLAB file"),
    ("data_batch_1", CIFAR10, "cifar", "section CIFAR and MNIST"),
    ("train", CIFAR100, "cifar", "section CIFAR and MNIST"),
    ("train-images-idx3-ubyte", IDX, "mnist", "section CIFAR and MNIST"),
    ("train-images.idx.gz", gzip.compress(IDX), "mnist", "section CIFAR and MNIST"),
    ("a.db", b"SQLite format 3\0", "sqlite", "an SQLite database"),
    ("a.mp4", b"\0\0\0\x20ftypisom", "video", "ffmpeg -i a.mp4 a/%06d.png"),
    ("a.mov", b"\0\0\0\x14ftypqt  ", "video", "a video"),
    ("a.avi", b"RIFF\0\0\0\0AVI LIST", "video", "a video"),
    ("a.webm", b"\x1aE\xdf\xa3", "video", "a video"),
    ("a.mkv", b"\x1aE\xdf\xa3", "video", "a video"),
    ("a.gif", b"GIF89a", "image", "give the folder that holds it"),
    ("a.png", png(), "image", "give the folder that holds it"),
    ("a.pdf", b"%PDF-1.7", "pdf", "pdftoppm -png a.pdf a/page"),
    ("a.ai", b"%!PS-Adobe-3.0", "postscript", "save it as PNG"),
    ("a.psd", b"8BPS\0\1", "psd", "save it as PNG"),
    ("a.nef", b"MM\0*\0\0\0\x08", "raw", "a raw photo of a camera"),
    ("a.cr3", b"\0\0\0\x18ftypcrx ", "raw", "a raw photo of a camera"),
    ("a.heic", b"\0\0\0\x18ftypheic", "heic", "pip install pillow-heif"),
    ("a.svg", SVG, "svg", "rsvg-convert -w 512 a.svg -o a.png"),
    ("a.exr", b"\x76\x2f\x31\x01", "exr", "save it as 16-bit PNG"),
    ("a.dcm", bytes(128) + b"DICM", "dicom", "a DICOM image"),
    ("a.nii", bytes(344) + b"n+1\0", "nifti", "a NIfTI volume"),
    ("a.beton", bytes(9), "beton", "a data set of FFCV"),
    ("train.rec", b"\x0a\x23\xd7\xce", "recordio", "a RecordIO file of MXNet"),
    ("a.zip", b"", "empty", "is an empty file; download it again"),
    ("lfs.zip", LFS, "lfs", "a Git LFS pointer, not the file itself; `git lfs pull` downloads"),
    ("html.zip", b"<!DOCTYPE html>\n<html>", "html", "a web page, not the file itself"),
    ("xml.zip", ERROR, "server error", "an error message of a server; download it again"),
    ("a.xml", b"<?xml version='1.0'?><a/>", "xml", "an XML text"),
    ("a.zip.crdownload", b"PK\3\4", "partial", "a download that is not complete"),
    ("a.zip.001", b"PK\3\4", "split", "put the parts together first: 7z x a.zip.001"),
    ("a.z01", b"PK\7\x08PK\3\4", "split", "a part of a split archive"),
    ("a.lnk", b"L\0\0\0\x01\x14\x02\0", "shortcut", "a shortcut of Windows"),
    ("a.torrent", b"d8:announce3:url", "torrent", "a torrent"),
    ("a.csv", b"name,label\na.png,3\nb.png,4\n", "csv", "give the folder of the images"),
    ("labels.csv", b"name,label\na.png,3\n", "labels", "give the folder that holds it"),
    ("dataset.json", b'{"labels": null}', "labels", "give the folder that holds it"),
    ("coco.json", b'{"images": []}', "json", "a JSON file"),
    ("list.txt", b"a.png\nb.png\n", "text", "a text; expected a folder or a zip archive of images"),
    ("a.docx", zipped(**{"[Content_Types].xml": b""}), "office", "a document"),
    (
        "zeros",
        bytes(1000),
        None,
        "of an unknown kind; expected a folder or a zip",
    ),
]

SAFETENSORS = save({"a": torch.zeros(2)})
SCRIPT = zipped(**{"m/data.pkl": b"\x80\2N.", "m/code/__torch__.py": b"", "m/constants.pkl": b""})
PT2 = zipped(**{"m/archive_format": b"pt2", "m/models/model.json": b"{}"})
KERAS = zipped(**{"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": HDF})
ONLY = "expected the folder of a run or of a snapshot, or a network file"

# (name, bytes, kind, words of what is said of it as a network; None: it is opened)
NETWORKS = [
    ("a.pt", torch_bytes([1]), "torch", None),
    ("legacy.pt", torch_bytes([1], _use_new_zipfile_serialization=False), "torch", None),
    *((f"{p}.pkl", pickle.dumps({"a": 1}, p), "pickle", None) for p in range(6)),
    ("list.pkl", pickle.dumps([1, 2], 0), "pickle", None),
    ("object.pkl", pickle.dumps(Path("a"), 0), "pickle", None),
    ("a.safetensors", SAFETENSORS, "safetensors", None),
    ("a.pkl.gz", gzip.compress(pickle.dumps([1])), "gzip pickle", "gunzip -k a.pkl.gz"),
    ("script.pt", SCRIPT, "torchscript", "a TorchScript program"),
    ("a.pt2", PT2, "pt2", "a program of torch.export"),
    ("a.h5", HDF + b"model_weights layer_names", "keras", "a network of Keras"),
    ("a.keras", KERAS, "keras", "a network of Keras"),
    ("saved_model.pb", b"\x08\1", "savedmodel", "a SavedModel of TensorFlow"),
    ("model.ckpt-9.index", bytes(9), "tfcheckpoint", "a checkpoint of TensorFlow"),
    ("model.ckpt.data-00000-of-00001", bytes(9), "tfcheckpoint", "a checkpoint of TensorFlow"),
    ("a.tflite", b"\x1c\0\0\0TFL3", "tflite", "a network of TensorFlow Lite"),
    ("a.onnx", b"\x08\x07\x12\x07pytorch", "onnx", "give the .pkl or .pt that it was made from"),
    ("a.engine", b"ftrt", "tensorrt", "an engine of TensorRT"),
    ("a.mlmodel", b"\x08\4", "coreml", "a network of Core ML"),
    ("a.gguf", b"GGUF\3\0\0\0", "gguf", "a language model (GGUF)"),
    ("a.msgpack", b"\x81\xa6params", "flax", "weights of Flax"),
    ("a.pdparams", b"\0\1\2", "paddle", "weights of PaddlePaddle"),
    ("empty.pkl", b"", "empty", "is an empty file; download it again"),
    ("lfs.pkl", LFS, "lfs", "`git lfs pull` downloads the file"),
    (
        "page.pt",
        b"\n <!doctype html><title>Drive</title>",
        "html",
        "a web page, not the file",
    ),
    ("a.npz", numpy_bytes(np.savez, w=np.zeros(3)), "npz", f"not a network; {ONLY}"),
    ("photos.zip", zipped(**{"a.png": png()}), "zip", f"a zip archive, not a network; {ONLY}"),
    ("photo.png", png(), "image", f"a single image, not a network; {ONLY}"),
    ("run.json", b"{}", "run.json", "the description of a run; give the folder around it"),
    ("notes.txt", b"hello", "text", f"is a text; {ONLY}"),
    ("program.py", b"import os", "python", "a program in Python"),
]


def place(folder, name, data):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def refusal(function, path):
    with pytest.raises(UserError) as caught:
        function(path)
    assert str(caught.value.subject) == str(path) and "\n" not in str(caught.value)
    return caught.value.why


@pytest.mark.parametrize("name, data, kind, words", SOURCES, ids=[row[0] for row in SOURCES])
def test_files_that_are_given_as_data(name, data, kind, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = place(Path(), name, data)
    assert identify(path) is (KINDS[kind] if kind else None)
    assert words in not_images(path)
    if name != "old":  # which holds an image
        assert refusal(lambda p: images_in(open_source(p)), path).startswith(not_images(path))
    why = refusal(stylegan.load_networks, path)
    assert "not a network" in why or kind is None or KINDS[kind].role is Role.NEITHER


@pytest.mark.parametrize("name, data, kind, words", NETWORKS, ids=[row[0] for row in NETWORKS])
def test_files_that_are_given_as_networks(name, data, kind, words, tmp_path):
    path = place(tmp_path, name, data)
    assert identify(path) is KINDS[kind]
    if words is not None:
        assert words.replace("a.pkl.gz", str(path)) in refusal(stylegan.load_networks, path)
    if KINDS[kind].role is Role.NETWORK:
        why = refusal(lambda p: images_in(open_source(p)), path)
        assert f"is {KINDS[kind].what}, not images; " in why


FOLDERS = [
    (["data.mdb", "lock.mdb"], "lmdb", "section LMDB"),
    (["a-00000-of-00002.tfrecord"], "tfrecords", "a folder of TFRecord files"),
    (["faces/faces-r07.tfrecords"], "tfrecords", "a folder of TFRecord files"),
    (["data/train-0.parquet", "README.md"], "parquets", "a folder of Parquet files"),
    (["data-00000-of-00001.arrow", "state.json"], "arrows", "a data set of Hugging Face (Arrow)"),
    (["data_batch_1", "test_batch"], "cifars", "section CIFAR and MNIST"),
    (["data_batch_1.bin"], "cifars", "section CIFAR and MNIST"),
    (["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte"], "mnists", "section CIFAR and MNIST"),
    (["000000.tar", "000001.tar"], "webdataset", "section WebDataset"),
    (["clips/a.mp4"], "videos", "section Videos"),
    ([".zarray", "0.0"], "zarr", "a Zarr array"),
    (["index.json", "shard.00000.mds"], "mds", "a data set of MosaicML Streaming"),
    (["saved_model.pb", "variables/x"], "savedmodel", "a SavedModel of TensorFlow, not images"),
    (["model_index.json", "unet/a.bin"], "diffusers", "a pipeline of diffusers, not a GAN, not"),
    (["config.json", "model.safetensors"], "transformers", "a model of transformers, not a GAN"),
    (["config.json", "G_ema.safetensors"], "snapshot", "a snapshot, not images"),
    (
        ["run.json", "samples/a.png"],
        "new run",
        "a run without a snapshot, not images; expected",
    ),
    (["00000-a-32x32/run.json"], "runs", "a folder of runs, not images; train --init-from takes"),
    (["fakes.png", "network-snapshot-1.pkl"], "checkpoints", "a folder of networks"),
    (["a/1.png"], "images", "no images that"),
    (["readme.md"], None, "holds no images that can be opened"),
]


@pytest.mark.parametrize("names, kind, words", FOLDERS, ids=[row[0][0] for row in FOLDERS])
def test_folders(names, kind, words, tmp_path):
    path = tmp_path / "it"
    for name in names:
        place(path, name, b"x")
    found = identify(path)
    assert found == (KINDS[kind] if kind else None) or found.what == KINDS[kind].what
    assert words in not_images(path)
    if not any(name.endswith(".png") for name in names) or kind in ("new run", "runs"):
        assert refusal(lambda p: images_in(open_source(p)), path).startswith(not_images(path))
    if kind != "snapshot":
        why = refusal(stylegan.load_networks, path)
        what = "holds no snapshot" if kind in (None, "images") else KINDS[kind].what
        assert why == not_a_network(path) and what in why


def test_a_folder_of_runs_that_have_just_begun(tmp_path):
    place(tmp_path, "00000-a-32x32/run.json", b"x")
    assert "writes the first about a minute after" in not_a_network(tmp_path)


def test_a_folder_of_networks_names_the_newest(tmp_path):
    for i, name in enumerate(("b.pkl", "a.pkl", "old/z.pt")):
        os.utime(place(tmp_path, name, b"x"), (i, i))
    assert not_a_network(tmp_path).endswith(f"give one of its files, such as {tmp_path / 'a.pkl'}")


ADDRESSES = [
    ("https://example.org/a.zip", "a web address; download the file first: curl -L -O"),
    ("http:/example.org/a.pkl", "curl -L -O http://example.org/a.pkl"),
    ("s3://bucket/faces", "aws s3 cp --recursive s3://bucket/faces"),
    ("gs://bucket/faces", "gcloud storage cp -r gs://bucket/faces ."),
    ("hf://somebody/faces", "hf download somebody/faces"),
]


@pytest.mark.parametrize("address, words", ADDRESSES)
def test_addresses(address, words):
    assert words in refusal(open_source, address) and words in not_a_network(address)
    with pytest.raises(UserError, match="is a"):
        stylegan.load_networks(address)


@pytest.mark.parametrize(
    "name, words",
    [
        ("photos", "did you mean photos.zip?"),
        ("photo.zip", "did you mean photos.zip?"),
        ("PHOTOS.ZIP", "did you mean photos.zip?"),
        ("~/photos", "leave ~ outside of quotes"),
        ("somebody/faces", "hf download somebody/faces"),
        ("other.zip", "there is no such folder or zip; expected a folder or a zip archive"),
    ],
)
def test_names_that_do_not_exist(name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place(tmp_path, "photos.zip", zipped(**{"a.png": png()}))
    assert words in refusal(open_source, name) and "there is no such folder" in not_images(name)


def test_the_sum_of_a_tfrecord_is_that_of_the_standard():
    assert crc32c(b"123456789") == 0xE3069283 and crc32c(bytes(32)) == 0x8A9136AA


def test_parts_of_a_snapshot_name_its_folder(tmp_path):
    nets = stylegan.load_networks(FIXTURES / "sg2-32.pkl")
    nets.save(tmp_path)
    place(tmp_path, "training_state.pt", torch_bytes([1]))
    for name in ("G.safetensors", "training_state.pt", "D.safetensors"):
        why = refusal(stylegan.load_networks, tmp_path / name)
        assert why.endswith("of a snapshot; give the folder around it"), why
    for name in ("config.json", "G_ema.safetensors"):
        assert stylegan.load_networks(tmp_path / name).folder == tmp_path
        assert "not images" in refusal(open_source, tmp_path / name)


def test_a_folder_without_images_says_what_it_holds(tmp_path):
    for name in ("a.txt", "b.TXT", "c.zip", "sub/d.txt", "README", "e.log"):
        place(tmp_path, name, b"x")
    why = refusal(lambda p: images_in(open_source(p)), tmp_path)
    assert why.startswith("holds no images that can be opened; it holds 3 .txt, 1 ")


def test_the_report_of_a_run(tmp_path):
    report = place(tmp_path, "report.html", b"<!doctype html>")
    assert "a web page" in not_a_network(report)
    place(tmp_path, "run.json", b"{}")
    assert not_a_network(report) == "is the report of a run; give the folder around it"


def test_what_cannot_be_read_is_not_called_unknown(tmp_path, monkeypatch):
    def denied(*args, **options):
        raise PermissionError(13, "Permission denied", str(args[0]))

    path = place(tmp_path, "a.pkl", b"x")
    monkeypatch.setattr("builtins.open", denied)
    assert not_images(path) == not_a_network(path) == "cannot be read (Permission denied)"


def test_every_sentence_is_short_and_has_a_step():
    for kind in KINDS.values():
        assert not kind.what.endswith(".") and len(kind.what) < 60 and len(kind.step) < 100
        assert kind.what.split()[0] in ("a", "an", "the", "weights"), kind


def test_damaged_beginnings_give_a_sentence(tmp_path):
    """Bytes changed, cut and put together, under names of all kinds, never raise."""
    rng = random.Random(0)
    rows = [*SOURCES, *NETWORKS]
    for _ in range(600):
        (name, *_), (_, data, *_), (_, other, *_) = rng.choices(rows, k=3)
        data = bytearray(data[: rng.randrange(len(data) + 1)] + other[rng.randrange(9) :])
        for _ in range(rng.randrange(4) if data else 0):
            data[rng.randrange(min(len(data), 64))] = rng.choice((0, 1, 127, 128, 255))
        path = place(tmp_path, name, bytes(data))
        for sentence in (not_images(path), not_a_network(path)):
            assert sentence and "\n" not in sentence
        path.unlink()
