# SPDX-License-Identifier: Apache-2.0
"""Files that try to run something, and the text that must be in their refusal.

`ATTACKS` is {name: function that makes an `Attack`}. hostile_files.py adds damaged files, and
hostile_sizes.py files that try to take time or memory.
"""

import pickle
from dataclasses import dataclass
from pathlib import Path

from checkpoints.crafted import (
    MAGIC,
    PROTO,
    SYSTEM,
    Raw,
    array,
    call,
    dump,
    generator,
    legacy,
    long_text,
    module,
    named,
    pickled,
    saved,
    storage_id,
    tensor,
    torch_zip,
)

FIXTURES = Path(__file__).parents[1] / "fixtures"
CANARY = "canary"  # the file that appears in the working directory if anything is run
COMMAND = f"echo ran > {CANARY}"
SYSTEM_CALL = call("os", "system", COMMAND)


@dataclass(frozen=True)
class Attack:
    """A file and its refusal.

    Attributes:
        data: the file.
        message: a part of the refusal.
        at: the offset that the refusal names.
        nested: whether that is an offset in bytes that are decoded or copied from the file.
    """

    data: bytes
    message: str
    at: int | None = None
    nested: bool = False


ATTACKS = {}


def attack(name, message, needle=None, shift=0, nested=None):
    """Register a function that makes a file.

    Args:
        name, message: of the attack.
        needle, shift: the refusal names the offset `shift` bytes after the start of `needle`.
        nested: makes the bytes in which that offset is; by default the file.
    """

    def register(build):
        assert name not in ATTACKS, name

        def made():
            data = build()
            where = nested() if nested else data
            at = None if needle is None else where.index(needle) + shift
            return Attack(data, message, at, nested is not None)

        ATTACKS[name] = made
        return build

    return register


def given(name, message, data, needle=None, shift=0, nested=None):
    """Register a file. Args: as of `attack`, but with bytes in place of functions."""
    attack(name, message, needle, shift, nested and (lambda: nested))(lambda: data)


def stacked(module, name, command=COMMAND, start=b"\x80\x04"):
    """A call through STACK_GLOBAL."""
    return start + dump(module) + dump(name) + b"\x93" + dump((command,)) + b"R."


def in_network(payload):
    """A real checkpoint that begins with opcodes whose value is dropped."""
    data = (FIXTURES / "sg2-32.pkl").read_bytes()
    head = 2 + 9 * (data[2:3] == pickle.FRAME)
    return data[:head] + payload + b"0" + data[head:]


# Globals that run something, by every opcode that looks up or calls a global

OS = b"cos\nsystem\n"
for protocol in (2, 3, 4, 5):
    start = bytes([0x80, protocol])
    given(f"os.system by GLOBAL, protocol {protocol}", "os.system", start + SYSTEM_CALL + b".", OS)
for protocol in (2, 4, 5):
    data = stacked("os", "system", start=bytes([0x80, protocol]))
    given(f"os.system by STACK_GLOBAL, protocol {protocol}", "os.system", data, b"\x93")
given("os.system before a network", "os.system", in_network(SYSTEM_CALL), OS)
given("a global without a call", "os.system", pickled(named("os", "system")), OS)
given("the memo names the module", "posix.system", PROTO + dump("posix") + b"q\x000" + b"h\x00"
      + dump("system") + b"\x93" + dump((COMMAND,)) + b"R.", b"\x93")  # fmt: skip
given("INST", "INST of the global os.system", PROTO + b"(" + dump(COMMAND) + b"ios\nsystem\n.",
      b"ios\n")  # fmt: skip
given("OBJ", "os.system", PROTO + b"(" + OS + dump(COMMAND) + b"o.", OS)
given("OBJ of a known class", "opcode OBJ", PROTO + b"(" + named("collections", "OrderedDict")
      + b"o.", b"o.")  # fmt: skip
given("NEWOBJ", "subprocess.Popen", PROTO + b"csubprocess\nPopen\n" + dump((COMMAND,)) + b"\x81.",
      b"csub")  # fmt: skip
given("NEWOBJ with arguments", "refuses to create collections.OrderedDict", PROTO
      + named("collections", "OrderedDict") + dump(([],)) + b"\x81.", b"\x81.")  # fmt: skip
given("NEWOBJ of a function", "torch._utils._rebuild_tensor_v2", PROTO
      + named("torch._utils", "_rebuild_tensor_v2") + b")\x81.", b"\x81.")  # fmt: skip
given("NEWOBJ_EX", "opcode NEWOBJ_EX", PROTO + named("collections", "OrderedDict") + b")}\x92.",
      b"\x92")  # fmt: skip
for code, size in (("82", 1), ("83", 2), ("84", 4)):
    opcode = bytes.fromhex(code)
    given(f"EXT{size}", f"opcode EXT{size}", PROTO + opcode + bytes([1] * size) + b".", opcode)
given("REDUCE of a string", "refuses to call a value of type str", PROTO
      + dump("os.system") + b")R.", b"R.")  # fmt: skip
given("REDUCE of None", "refuses to call a value of type NoneType", PROTO + b"N)R.", b"R.")
given("REDUCE of a name alone", "refuses to call torch.FloatStorage", PROTO
      + named("torch", "FloatStorage") + b")R.", b"R.")  # fmt: skip
given("REDUCE of a class of modules", "refuses to call training.networks.Generator", PROTO
      + named("training.networks", "Generator") + b")R.", b"R.")  # fmt: skip
given("REDUCE of an object", "refuses to call an object of Generator", PROTO + module() + b")R.",
      b")R.", 1)  # fmt: skip
given("REDUCE with a list", "arguments that are not a tuple", PROTO + named("torch", "Size")
      + b"]R.", b"R.")  # fmt: skip
given("BUILD with __setstate__", "builtins.eval", PROTO + named("training.networks", "Generator")
      + b")\x81" + dump({"__setstate__": named("builtins", "eval")}) + b"b" + dump(COMMAND) + b"b.",
      b"cbuiltins")  # fmt: skip
given("BUILD with a known __setstate__", "set the state of an object of training.networks.G", PROTO
      + named("training.networks", "G") + b")\x81"
      + dump({"__setstate__": named("collections", "OrderedDict")}) + b"b" + dump(COMMAND) + b"b.",
      b"b.")  # fmt: skip
given("BUILD of a list", "set the state of a value of type list", PROTO + b"]}b.", b"b.")
given("BUILD of a global", "set the state of collections.OrderedDict", PROTO
      + named("collections", "OrderedDict") + b"}b.", b"b.")  # fmt: skip
given("BUILD with slots", "set the state of an object of Generator", PROTO + module()
      + dump(({}, {})) + b"b.", dump(({}, {})) + b"b.", 6)  # fmt: skip
given("BUILD of a tensor", "set the state of a value of type Array", PROTO + tensor()
      + b"}b.", b"}b.", 1)  # fmt: skip
given("PERSID", "opcode PERSID", PROTO + b"Pos.system\n.", b"Pos")
given("BINPERSID", "persistent id", PROTO + dump("os.system") + b"Q.", b"Q.")
given("protocol 0", "os.system", b"cos\nsystem\n(V" + COMMAND.encode() + b"\ntR.", OS)
given("protocol 1", "os.system", b"cos\nsystem\n(" + dump(COMMAND) + b"tR.", OS)
given("protocol 0 behind PROTO", "os.system", PROTO + b"cos\nsystem\n(V1\ntR.", OS)
for protocol in (0, 1, 6, 255):
    data = bytes([0x80, protocol]) + SYSTEM_CALL + b"."
    given(f"protocol byte {protocol}", "not a pickle of protocol 2 to 5", data, b"\x80")

# Other names, and paths from known modules to unknown names

for origin, name in (
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("builtins", "__import__"),
    ("__builtin__", "eval"),
    ("posix", "system"),
    ("nt", "system"),
    ("subprocess", "check_output"),
    ("runpy", "run_path"),
    ("importlib", "import_module"),
    ("operator", "attrgetter"),
    ("functools", "partial"),
    ("types", "CodeType"),
    ("marshal", "loads"),
    ("pickle", "loads"),
    ("_pickle", "loads"),
    ("pathlib", "Path.touch"),
    ("shutil", "rmtree"),
    ("socket", "create_connection"),
    ("webbrowser", "open"),
    ("copyreg", "_reconstructor"),
    ("dill._dill", "_create_function"),
    ("dill._dill", "_load_type"),
    ("cloudpickle.cloudpickle", "_make_function"),
    ("cloudpickle", "_builtin_type"),
    ("torch", "load"),
    ("torch", "storage.os.system"),
    ("torch", "os.system"),
    ("torch.hub", "load"),
    ("torch.serialization", "load"),
    ("torch.jit._script", "RecursiveScriptModule"),
    ("torch.storage", "pickle.loads"),
    ("torch._utils", "__dict__"),
    ("torch._utils", "sys.modules"),
    ("torch._utils", "_rebuild_parameter.__globals__"),
    ("torch._utils", "_rebuild_wrapper_subclass"),
    ("torch.nn.modules.linear", "os"),
    ("torch.nn.modules.linear", "Linear.__init__"),
    ("torch.nn.modules..linear", "Linear"),
    ("numpy", "core.os.system"),
    ("numpy", "load"),
    ("numpy", "ndarray.tofile"),
    ("numpy.core.multiarray", "_reconstruct.__self__"),
    ("numpy.testing._private.utils", "runstring"),
    ("collections", "OrderedDict.__class__"),
    ("collections", "_sys.modules"),
    ("argparse", "_sys"),
    ("argparse", "FileType"),
    ("_codecs", "lookup"),
    ("dnnlib.util", "construct_class_by_name"),
    ("dnnlib.tflib.network", "Network.__setstate__"),
    ("torch_utils.persistence", "_src_to_module"),
    ("torch_utils.persistence", "_reconstruct_persistent_obj.__globals__"),
    ("training.networks", "os"),
    ("training.networks.os", "System"),
    ("training.networks", "Generator.__init__"),
    ("R3GAN.", "Networks"),
    ("__main__", "payload"),
    ("OS", "System"),
    ("os ", "system"),
    ("", "os.system"),
):
    data = stacked(origin, name)
    given(f"{origin or 'no module'}: {name}", f"{origin}.{name}", data, b"\x93")
given("getattr of a module", "builtins.getattr", pickled(call("builtins", "getattr",
      named("torch", "storage"), "os")), b"cbuiltins")  # fmt: skip
given("a name over two lines", "os\\n.system", stacked("os\n", "system"), b"\x93")
given("a name with a colour", "\\x1b[31mos.system", stacked("\x1b[31mos", "system"), b"\x93")
given("a name of a megabyte", "whose name is not a string", b"\x80\x04" + long_text(b"a" * 1000000)
      + dump("b") + b"\x93.", b"\x93.")  # fmt: skip
given("a name without an end", "without an end", PROTO + b"c" + b"o" * 600, b"co")
given("a name that is no UTF-8", "damaged", PROTO + b"co\xff\nsystem\n.", b"co\xff")
given("a name of a surrogate", "refuses the global os\\ud800.system",
      b"\x80\x04X\x05\x00\x00\x00os\xed\xa0\x80" + dump("system") + b"\x93.", b"\x93.")  # fmt: skip
given("a name that is long when it is shown", "\\U0001f600", stacked("\U0001f600" * 200, "system"),
      b"\x93")  # fmt: skip
given("a name that is a number", "whose name is not a string", PROTO + b"K\x01K\x02\x93.", b"\x93")

# The same inside the contents of a checkpoint

LONG = "x" * 5000  # long enough for a byte string to stay in the file
BLOB = legacy(SYSTEM_CALL)
given("in the state of a module", "os.system", pickled({"G_ema": module(x=SYSTEM_CALL)}), OS)
given("in _init_kwargs", "os.system", generator({"mapping_kwargs": SYSTEM_CALL}), OS)
given("in training_set_kwargs", "os.system", pickled({"training_set_kwargs": SYSTEM_CALL}), OS)
given("in a tensor's bytes", "os.system", pickled(tensor(blob=BLOB)), OS)
given("in a tensor's bytes that stay in the file", "os.system",
      pickled(tensor(blob=legacy(Raw(dump(LONG) + b"0" + SYSTEM_CALL)))), OS)  # fmt: skip
given("in a tensor's text", "os.system", pickled(tensor(blob=call("_codecs", "encode",
      BLOB.decode("latin1"), "latin1"))), OS, nested=BLOB)  # fmt: skip
FAR = legacy(Raw(dump("x" * 70000) + b"0" + SYSTEM_CALL))
given("in a tensor's text that stays in the file", "os.system", pickled(tensor(blob=call("_codecs",
      "encode", FAR.decode("latin1"), "latin1"))), OS, nested=FAR)  # fmt: skip
given("in the keys of a tensor's bytes", "os.system", pickled(tensor(blob=legacy(None,
      keys=(SYSTEM_CALL,)))), OS)  # fmt: skip
for i, part in enumerate(("magic number", "version", "description of the machine")):
    values = [MAGIC, 1001, SYSTEM][:i] + [SYSTEM_CALL]
    given(f"in the {part} of a tensor's bytes", "os.system", pickled(tensor(blob=saved(*values))),
          OS)  # fmt: skip
given("in a legacy .pt", "os.system", BLOB, OS)
given("in the keys of a legacy .pt", "os.system", legacy(None, keys=(SYSTEM_CALL,)), OS)
given("in a storage's type", "invalid storage id", saved(MAGIC, 1001, SYSTEM, Raw(dump(("storage",
      named("collections", "OrderedDict"), "0", "cpu", 4, None)) + b"Q")), b"Q.")  # fmt: skip
given("in a zip", "os.system", torch_zip(SYSTEM_CALL), OS)
given("in a storage of a zip", "os.system", torch_zip(call("torch.storage", "_load_from_bytes",
      BLOB)), OS)  # fmt: skip
given("another kind of persistent id", "invalid storage id", torch_zip(Raw(dump(("module", 1, "0",
      "cpu", 4)) + b"Q")), b"Q.")  # fmt: skip
given("a persistent id in a tensor's keys", "persistent id", pickled(tensor(blob=legacy(None,
      keys=(storage_id(5),)))), b"K\x05tQ".replace(b"K", b"\x8a\x01"), 4)  # fmt: skip
given("in an array of objects", "os.system", pickled(array(dtype="O8", contents=[SYSTEM_CALL])),
      OS)  # fmt: skip
given("an object with a class that is no name", "class_name", pickled(module("os;system")))
