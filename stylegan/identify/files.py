# SPDX-License-Identifier: Apache-2.0
"""What a file is, from its first bytes, its name and its size."""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path

from stylegan.identify.archives import identify_zip, is_tar, unpacked_start
from stylegan.identify.kinds import KINDS, Kind
from stylegan.identify.pickles import identify_pickle

HEAD = 1 << 16  # bytes that are looked at
SNAPSHOT = ("config.json", "G_ema.safetensors")  # what a snapshot holds at least
OWN_TENSORS = ("G_ema.safetensors", "G.safetensors", "D.safetensors", "labels.safetensors")

# (offset, bytes, kind), in the order in which they are tried.
SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"L\0\0\0\x01\x14\x02\0", "shortcut"),
    (0, b"d8:announce", "torrent"),
    (0, b"PK\x07\x08", "split"),
    (0, b"version https://git-lfs", "lfs"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"Rar!\x1a\x07", "rar"),
    (0, b"PAR1", "parquet"),
    (0, b"ARROW1", "arrow"),
    (0, b"FEA1", "arrow"),
    (0, b"\x89HDF\r\n\x1a\n", "hdf5"),
    (512, b"\x89HDF\r\n\x1a\n", "mat"),
    (0, b"MATLAB ", "mat"),
    (0, b"\x93NUMPY", "npy"),
    (0, b"SQLite format 3\0", "sqlite"),
    (0, b"%PDF", "pdf"),
    (0, b"8BPS", "psd"),
    (0, b"%!PS", "postscript"),
    (0, b"\xc5\xd0\xd3\xc6", "postscript"),
    (0, b"FUJIFILMCCD-RAW", "raw"),
    (8, b"CR\x02\x00", "raw"),
    (0, b"IIRO", "raw"),
    (0, b"IIU\0", "raw"),
    (4, b"ftypcrx ", "raw"),
    (0, b"\x76\x2f\x31\x01", "exr"),
    (128, b"DICM", "dicom"),
    (344, b"n+1\0", "nifti"),
    (0, b"GGUF", "gguf"),
    (4, b"TFL3", "tflite"),
    (0, b"ftrt", "tensorrt"),
    (0, b"ptrt", "tensorrt"),
    (0, b"\x1aE\xdf\xa3", "video"),
    (0, b"FLV\x01", "video"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video"),
    (0, b"\0\0\x01\xba", "video"),
    (0, b"\x89PNG\r\n\x1a\n", "image"),
    (0, b"\xff\xd8\xff", "image"),
    (0, b"GIF8", "image"),
    (0, b"BM", "image"),
    (0, b"II*\0", "image"),
    (0, b"MM\0*", "image"),
    (0, b"\xff\x0a", "image"),
    (0, b"\0\0\0\x0cJXL ", "image"),
    (0, b"\0\0\0\x0cjP  ", "image"),
    (0, b"fLaC", "audio"),
    (0, b"OggS", "audio"),
    (0, b"ID3", "audio"),
    (0, b"\x7fELF", "executable"),
    (0, b"MZ\x90\0", "executable"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "office"),
    (32769, b"CD001", "iso"),
)
PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
PACKED[b"\x04\x22\x4d\x18"] = "lz4"
TARS = {"gzip": "tar.gz", "bzip2": "tar.bz2", "xz": "tar.xz", "zstd": "tar.zst"}
HEIC = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim", b"heis")
RIFF = {b"AVI ": "video", b"WEBP": "image", b"WAVE": "audio"}

# By the end of the name, for kinds that have no first bytes of their own.
SUFFIXES = {
    "nef cr2 cr3 arw dng orf rw2 raf pef srw x3f": "raw",
    "tfrecord tfrecords tfrec": "tfrecord",
    "beton": "beton",
    "mds": "mds",
    "rec": "recordio",
    "arrow feather": "arrow",
    "ai eps ps": "postscript",
    "mp4 mov m4v avi mkv webm wmv mpg mpeg ts m2ts 3gp flv": "video",
    "csv tsv": "csv",
    "onnx": "onnx",
    "engine plan trt": "tensorrt",
    "mlmodel": "coreml",
    "msgpack": "flax",
    "pdparams pdiparams": "paddle",
    "pb": "savedmodel",
    "index": "tfcheckpoint",
    "meta": "tfcheckpoint",
    "py ipynb": "python",
    "svg": "svg",
}
BY_SUFFIX = {f".{end}": kind for ends, kind in SUFFIXES.items() for end in ends.split()}
BY_NAME = (
    (r".*\.(crdownload|part|partial|download|aria2|!ut)", "partial"),
    (r".*\.(z\d\d|(zip|7z|tar|rar|gz)\.\d{3}|part\d+\.rar)", "split"),
    (r"report\.html", "report"),
    (r"training_state\.pt", "own state"),
    (r".*tfrecords?-\d+-of-\d+", "tfrecord"),
    (r".*\.data-\d+-of-\d+|checkpoint", "tfcheckpoint"),
    (r"(train_|test_|val_)?data_batch_\d+|test_batch|batches\.meta", "cifar"),
    (r"config\.json", "own settings"),
    (r"run\.json", "run.json"),
    (r"log\.jsonl", "log"),
    (r"dataset\.json|labels?\.(json|csv|txt)", "labels"),
)


def identify_file(path: Path) -> Kind | None:
    """What a file is; None if it is unknown. Raises: OSError if it cannot be read."""
    size = path.stat().st_size
    with open(path, "rb") as f:
        head = f.read(HEAD)
    return identify_bytes(path, head, size)


def identify_bytes(path: Path, head: bytes, size: int) -> Kind | None:
    """What a file is; None if it is unknown.

    Args: path: of the file, or its name in an archive; head: its first bytes; size: in bytes.
    """
    if not size:
        return KINDS["empty"]
    name = _by_name(path, head) or _by_bytes(path, head, size)
    name = name or BY_SUFFIX.get(path.suffix.lower()) or _by_text(head)
    return KINDS[name] if name else None


def _by_name(path: Path, head: bytes) -> str | None:
    """The kind of a file whose name tells it, as long as its contents do not tell another."""
    if path.name in OWN_TENSORS and _is_safetensors(head):
        beside = all((path.parent / name).is_file() for name in SNAPSHOT)
        return "own tensors" if beside else "safetensors"
    if head.startswith((b"\x89", b"\xff", b"version https://git-lfs")):
        return None
    needed = {"own state": "G_ema.safetensors", "own settings": SNAPSHOT[1], "report": "run.json"}
    for pattern, name in BY_NAME:
        if re.fullmatch(pattern, path.name, re.I):
            if name not in needed or (path.parent / needed[name]).is_file():
                return name
    return None


def _by_bytes(path: Path, head: bytes, size: int) -> str | None:
    if head.startswith(b"PK\x03\x04") or head.startswith(b"PK\x05\x06"):
        return identify_zip(path, head)
    for magic, name in PACKED.items():
        if head.startswith(magic):
            return _packed(path, head, name)
    for offset, magic, name in SIGNATURES:
        if head.startswith(magic, offset):
            return _refined(name, path, head)
    if head[4:8] == b"ftyp":
        return "heic" if head[8:12] in HEIC else "image" if head[8:12] == b"avif" else "video"
    if head[:4] == b"RIFF":
        return RIFF.get(head[8:12])
    if struct.pack("<I", 0xBEEFC0DE) in (head[16:20], head[12:16]):
        return "lmdb"
    if head[:4] == struct.pack("<I", 0xCED7230A):
        return "recordio"
    if is_tar(head):
        return "tar"
    if is_idx(head):
        return "mnist"
    if _is_safetensors(head):
        return "safetensors"
    if is_tfrecord(head, size):
        return "tfrecord"
    return identify_pickle(head)


def _refined(name: str, path: Path, head: bytes) -> str:
    """The kind of a file whose first bytes have several meanings."""
    if name == "hdf5" and (path.suffix == ".keras" or re.search(rb"keras|layer_names", head)):
        return "keras"
    if name == "image" and BY_SUFFIX.get(path.suffix.lower()) == "raw":
        return "raw"
    return name


def _packed(path: Path, head: bytes, name: str) -> str:
    """The kind of a compressed file, from what it begins with unpacked."""
    start = unpacked_start(head, name)
    named = re.search(r"\.(tar\.\w+|tgz|tbz2?|txz|tzst)$", path.name, re.I)
    if name in TARS and (named or is_tar(start)):
        return TARS[name]
    if is_idx(start):
        return "mnist"
    return "gzip pickle" if name == "gzip" and identify_pickle(start) else name


def _is_safetensors(head: bytes) -> bool:
    length = int.from_bytes(head[:8], "little")
    return len(head) > 9 and length < 1 << 32 and head[8:10] in (b'{"', b"{ ", b"{}")


def is_idx(head: bytes) -> bool:
    """Whether this begins a file of MNIST's format: 0, 0, type, number of axes, their sizes."""
    if len(head) < 8 or head[:2] != b"\0\0" or head[2] not in (8, 9, 11, 12, 13, 14):
        return False
    axes = head[3]
    if not 1 <= axes <= 4 or len(head) < 4 + 4 * axes:
        return False
    sizes = struct.unpack_from(f">{axes}I", head, 4)
    return 0 < math.prod(sizes) < 1 << 40 and max(sizes) < 1 << 28


def is_tfrecord(head: bytes, size: int) -> bool:
    """Whether this begins a TFRecord: a length of 8 bytes, and the masked CRC-32C of it."""
    if len(head) < 16:
        return False
    crc = crc32c(head[:8])
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    length, stored = struct.unpack_from("<QI", head)
    return stored == masked and length + 16 <= size


def crc32c(data: bytes) -> int:
    """The CRC-32C of a few bytes. Source: RFC 3720, section 12.1."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _by_text(head: bytes) -> str | None:
    """The kind of a text, or None if this is no text."""
    start = head[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = start[:256].lower()
    if lower.startswith((b"<!doctype html", b"<html", b"<head", b"<!-- ")):
        return "html"
    if lower.startswith((b"<?xml", b"<error>")) and b"<error>" in lower:
        return "server error"
    if lower.startswith((b"<?xml", b"<svg", b"<!doctype svg")):
        return "svg" if b"<svg" in start else "xml"
    if b"\0" in start or not start:
        return None
    try:
        text = start[: 4096 - 4].decode("utf-8", "strict" if len(start) < 4000 else "ignore")
    except UnicodeDecodeError:
        return None
    if text[0] in "{[":
        return "json"
    lines = text.splitlines()[:3]
    columns = {line.count(",") for line in lines if line} | {0}
    return "csv" if len(lines) > 1 and len(columns - {0}) == 1 and min(columns - {0}) else "text"
